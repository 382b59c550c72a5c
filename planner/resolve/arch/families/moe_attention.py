"""Mixtures of experts with attention of their own: heads by layer, experts in it, convolutions."""

from __future__ import annotations

from planner.resolve.arch.attention import head_dim, heads, kv_heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import Family
from planner.resolve.arch.layers import all_moe, by_layer, depth, layer_types, one_dense, windowed
from planner.resolve.arch.mlp import gated, moe, write_experts
from planner.resolve.arch.sheet import Plan, Sheet


def _laguna_plan(config: Config) -> list[Plan]:
    counts = config.get("num_attention_heads_per_layer") or [heads(config)] * depth(config)
    plans = windowed(one_dense)(config)
    return [plan._replace(tag=int(count)) for plan, count in zip(plans, counts, strict=True)]


def _own_heads(config: Config, plan: Plan, sheet: Sheet, *, gate: int) -> None:
    """Attention with the query heads that the plan names, and a gate of a width per head."""
    s = sheet.at("self_attn", "attention")
    h, q, g, d = config.hidden_size, plan.tag, kv_heads(config), head_dim(config)
    b = bool(config.get("attention_bias"))
    s.linear("q_proj", h, q * d, bias=b)
    s.linear("k_proj", h, g * d, bias=b, split="kv")
    s.linear("v_proj", h, g * d, bias=b, split="kv")
    s.linear("o_proj", q * d, h, bias=b, split="row")
    s.norm("q_norm", d)
    s.norm("k_norm", d)
    s.linear("g_proj", h, q * gate)
    note_attention(sheet, plan, q=q, kv=g, dim=d, qk_norm=True, attention_bias=b)


def _laguna_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    gating = config._values.get("gating", True)
    per_head = gating is True or gating == "per-head"
    _own_heads(config, plan, sheet, gate=1 if per_head else head_dim(config))


def _mimo_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Sliding layers have twice the key-value heads, and sinks."""
    local = plan.mixer == "sliding"
    s = sheet.at("self_attn", "attention")
    h, q, d, v = config.hidden_size, heads(config), head_dim(config), int(config.v_head_dim)
    g, b = kv_heads(config) * (2 if local else 1), bool(config.get("attention_bias"))
    s.linear("q_proj", h, q * d, bias=b)
    s.linear("k_proj", h, g * d, bias=b, split="kv")
    s.linear("v_proj", h, g * v, bias=b, split="kv")
    s.linear("o_proj", q * v, h, split="row")
    if local:
        s.param("sinks", q, split="column")
    note_attention(sheet, plan, q=q, kv=g, dim=d, v_dim=v, attention_bias=b)


def _mimo_types(config: Config) -> list[str]:
    return layer_types(
        config, lambda i: "full_attention" if i == 0 or (i + 1) % 6 == 0 else "sliding_attention"
    )


def _mimo_window(config: Config) -> int | None:
    given = config.get("sliding_window_size")
    return int(given) + 1 if given is not None else config.get("sliding_window")


def _step_plan(config: Config) -> list[Plan]:
    n = depth(config)
    listed = config.get("mlp_layer_types")
    if listed is None:
        spelled = config.get("moe_layers_enum")
        items = spelled.split(",") if isinstance(spelled, str) else spelled
        sparse = set(range(3, n)) if items is None else {int(i) for i in items if str(i).strip()}
        listed = ["sparse" if i in sparse else "dense" for i in range(n)]
    own = config.get("attention_other_setting", {})
    local = config.get("num_sliding_attention_heads")
    local = int(local if local is not None else own.get("num_attention_heads", heads(config)))
    plans = windowed(lambda _: ["moe" if kind == "sparse" else "dense" for kind in listed[:n]])
    types = layer_types(config)
    return [
        plan._replace(tag=local if kind == "sliding_attention" else heads(config))
        for plan, kind in zip(plans(config), types, strict=True)
    ]


def _step_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Step's attention: sliding layers with a head count of their own, a gate per head."""
    _own_heads(config, plan, sheet, gate=1)


def _jetmoe_experts(s: Sheet, config: Config, wide: int, n_out: int) -> None:
    h, e = config.hidden_size, config.num_local_experts
    s.param("bias", h, kind="bias")
    for name, shape in (("input_linear", (e, wide, h)), ("output_linear", (e, h, n_out))):
        s.param(f"{name}.weight", *shape, kind="experts", role="routed_experts", split="experts")
    s.linear("router.layer", h, e, role="router", split="replicated")


def _jetmoe_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Experts over query and output projections, one shared key-value projection."""
    s = sheet.at("self_attention", "attention")
    kv = config.kv_channels * config.num_key_value_heads
    _jetmoe_experts(s.at("experts"), config, kv, kv)
    s.linear("kv_proj", config.hidden_size, 2 * kv, split="kv")
    note_attention(
        sheet,
        plan,
        q=config.num_key_value_heads * config.num_experts_per_tok,
        kv=config.num_key_value_heads,
        dim=config.kv_channels,
    )


def _jetmoe_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = config.intermediate_size
    _jetmoe_experts(sheet.at("mlp", "mlp"), config, 2 * width, width)
    sheet.layer.update(
        mlp="moe",
        num_experts=config.num_local_experts,
        num_experts_per_tok=config.num_experts_per_tok,
        moe_intermediate_size=width,
    )


def _zaya_plan(config: Config) -> list[Plan]:
    types = config.get("layer_types") or ["hybrid"] * depth(config)
    plans = []
    for i, kind in enumerate(types[: depth(config)]):
        span = config.get("sliding_window") if kind == "hybrid_sliding" else None
        plans.append(Plan("sliding" if span else "full", span, "moe", i == 0))
    return plans


def _zaya_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Compressed convolutional attention: convolved queries and keys, half-delayed values."""
    s = sheet.at("self_attn", "attention")
    h, q, g, d = config.hidden_size, heads(config), kv_heads(config), head_dim(config)
    b = bool(config.get("attention_bias"))
    s.linear("o_proj", q * d, h, bias=b, split="row")
    x, wide = s.at("qkv_proj"), (q + g) * d
    x.linear("q_proj", h, q * d, bias=b)
    x.linear("k_proj", h, g * d, bias=b, split="kv")
    x.linear("v_proj_current", h, g * d // 2, bias=b, split="kv")
    x.linear("v_proj_delayed", h, g * d // 2, bias=b, split="kv")
    x.conv("conv_qk_depthwise", wide, 1, config.cca_time0)
    x.conv("conv_qk_grouped", wide, wide // (q + g), config.cca_time1)
    s.param("qk_norm.temp", g, role="norm")
    note_attention(sheet, plan, q=q, kv=g, dim=d, qk_norm=True, attention_bias=b)


def _zaya_mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    """A router that is a small MLP, over experts and one class of none."""
    h, r, e = config.hidden_size, config.router_hidden_size, config.num_experts
    g = sheet.at("mlp.gate", "router")
    g.linear("down_proj", h, r, bias=True, split="replicated")
    if not plan.tag:
        g.param("router_states_scale", r)
    m = g.at("router_mlp")
    m.norm("norm", r, role="router")
    m.linear("fc1", r, r, bias=True, split="replicated")
    m.linear("fc2", r, r, bias=True, split="replicated")
    m.linear("out_proj", r, e + 1, split="replicated")
    width = int(config.moe_intermediate_size)
    write_experts(sheet.at("mlp.experts"), e, h, width)
    for name in ("post_attention_residual_scale", "post_mlp_residual_scale"):
        s = sheet.at(name, "attention" if "attention" in name else "mlp")
        for part in ("hidden_states", "residual"):
            s.param(f"{part}_scale", h)
            s.param(f"{part}_bias", h, kind="bias")
    sheet.layer.update(
        mlp="moe",
        num_experts=e,
        num_experts_per_tok=config.num_experts_per_tok,
        moe_intermediate_size=width,
    )


def _zaya_extra(config: Config, _: Plan, s: Sheet) -> None:
    s.param("input_hidden_states_scale", config.hidden_size, role="other")
    s.param("input_hidden_states_bias", config.hidden_size, role="other")


FAMILIES = (
    Family(
        types=("laguna",),
        attention=_laguna_attention,
        mlp={
            "dense": gated(),
            "moe": moe(
                extra=lambda config, _, s: s.param(
                    "gate.e_score_correction_bias", config.num_experts, role="router"
                ),
                shared="shared_expert_intermediate_size",
            ),
        },
        plan=_laguna_plan,
    ),
    Family(
        types=("mimo_v2_flash",),
        attention=_mimo_attention,
        mlp={"dense": gated(), "moe": moe()},
        plan=windowed(one_dense, types=_mimo_types, window=_mimo_window),
    ),
    Family(
        types=("step3p5",),
        attention=_step_attention,
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared="share_expert_dim", shared_bias="mlp_bias"),
        },
        plan=_step_plan,
    ),
    Family(
        types=("jetmoe",),
        attention=_jetmoe_attention,
        mlp=_jetmoe_mlp,
        plan=by_layer(all_moe),
    ),
    Family(
        types=("zaya",),
        attention=_zaya_attention,
        mlp=_zaya_mlp,
        plan=_zaya_plan,
        extra=_zaya_extra,
        head_bias="lm_head_bias",
    ),
)
