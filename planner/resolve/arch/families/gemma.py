"""Gemma: norms round both halves, shared caches, per-layer inputs, recurrence."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, heads, kv_heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import SANDWICH, Family
from planner.resolve.arch.layers import depth, every, layer_types, windowed
from planner.resolve.arch.mlp import gated, write_experts, write_gated
from planner.resolve.arch.recurrent import rglru
from planner.resolve.arch.sheet import Plan, Sheet


def _gemma3_types(config: Config) -> list[str]:
    return layer_types(config, every(int(config.get("sliding_window_pattern", 6))))


_NAMES = {"full_attention": "full", "sliding_attention": "sliding"}


def _plans(config: Config, types: list[str], widths: list[int]) -> list[Plan]:
    """Layers with `(shares a cache, MLP width)` as their tag."""
    first_shared = depth(config) - int(config.get("num_kv_shared_layers", 0))
    plans = []
    for i, kind in enumerate(types):
        if kind not in _NAMES:
            raise config.problem(f"unknown layer type '{kind}'")
        span = config.sliding_window if kind == "sliding_attention" else None
        plans.append(Plan(_NAMES[kind], span, "dense", (i >= first_shared, widths[i])))
    return plans


def _gemma3n_plan(config: Config) -> list[Plan]:
    types = layer_types(config, every(5))
    width = config.intermediate_size
    widths = width if isinstance(width, list) else [width] * depth(config)
    if len(widths) != depth(config):
        raise config.problem(f"intermediate_size lists {len(widths)} layers, not {depth(config)}")
    return _plans(config, types, [int(w) for w in widths])


def _gemma4_plan(config: Config) -> list[Plan]:
    types = layer_types(config, every(6))
    if types:
        types[-1] = "full_attention"
    first_shared = depth(config) - int(config.get("num_kv_shared_layers", 0))
    wide = 2 if config.get("use_double_wide_mlp") else 1
    width = int(config.intermediate_size)
    widths = [width * (wide if i >= first_shared else 1) for i in range(depth(config))]
    return _plans(config, types, widths)


def _attention(
    config: Config, plan: Plan, sheet: Sheet, *, kv: int, dim: int, value: bool = True
) -> None:
    shared = bool(plan.tag[0])
    s = sheet.at("self_attn", "attention")
    h, q, b = config.hidden_size, heads(config), bool(config.get("attention_bias"))
    s.linear("q_proj", h, q * dim, bias=b)
    s.norm("q_norm", dim)
    if not shared:
        s.linear("k_proj", h, kv * dim, bias=b, split="kv")
        if value:
            s.linear("v_proj", h, kv * dim, bias=b, split="kv")
        s.norm("k_norm", dim)
    s.linear("o_proj", q * dim, h, bias=b, split="row")
    note_attention(
        sheet,
        plan,
        q=q,
        kv=kv,
        dim=dim,
        cached=0 if shared else kv * 2 * dim,
        kv_shared=shared,
        qk_norm=True,
        attention_bias=b,
    )


def _gemma3n_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    _attention(config, plan, sheet, kv=kv_heads(config), dim=int(config.head_dim))


def _gemma4_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Full layers have their own head width, and may use keys as values."""
    kv, dim, same = kv_heads(config), int(config.head_dim), False
    if plan.mixer == "full":
        same = bool(config.get("attention_k_eq_v", False))
        per_layer = config.get("per_layer_config")
        if per_layer:
            own = next(iter(per_layer.values()))
            kv, dim = int(own.get("num_key_value_heads", kv)), int(own.get("head_dim", dim))
        else:
            dim = int(config.get("global_head_dim", 512))
            if same and config.get("num_global_key_value_heads"):
                kv = int(config.num_global_key_value_heads)
    _attention(config, plan, sheet, kv=kv, dim=dim, value=not same)


def _mlp(config: Config, plan: Plan, sheet: Sheet) -> None:
    width = plan.tag[1]
    write_gated(sheet.at("mlp", "mlp"), config.hidden_size, width)
    sheet.layer.update(mlp="gated", intermediate_size=width)


def _per_layer_input(config: Config, sheet: Sheet) -> None:
    h, p = config.hidden_size, int(config.get("hidden_size_per_layer_input", 0))
    if p:
        sheet.linear("per_layer_input_gate", h, p, role="mlp", split="replicated")
        sheet.linear("per_layer_projection", p, h, role="mlp", split="replicated")
        sheet.norm("post_per_layer_input_norm", h)


def _gemma3n_around(config: Config, _: Plan, sheet: Sheet) -> None:
    h, n, r = config.hidden_size, config.altup_num_inputs, config.laurel_rank
    a = sheet.at("altup", "other")
    a.param("correct_output_scale", h)
    a.linear("correction_coefs", n, n, split="replicated")
    a.linear("prediction_coefs", n, n * n, split="replicated")
    a.linear("modality_router", h, n, split="replicated", role="router")
    a.norm("router_norm", h, role="router")
    lo = sheet.at("laurel", "other")
    lo.linear("linear_left", h, r, split="replicated")
    lo.linear("linear_right", r, h, split="replicated")
    lo.norm("post_laurel_norm", h)
    _per_layer_input(config, sheet)


def _per_layer_tables(config: Config, _: Plan, s: Sheet) -> None:
    p = int(config.get("hidden_size_per_layer_input", 0))
    if p:
        wide = p * depth(config)
        s.embedding("embed_tokens_per_layer", config.vocab_size_per_layer_input, wide)
        s.linear(
            "per_layer_model_projection", config.hidden_size, wide, role="mlp", split="replicated"
        )
        s.norm("per_layer_projection_norm", p)


def _gemma3n_tables(config: Config, plan: Plan, s: Sheet) -> None:
    _per_layer_tables(config, plan, s)
    h = config.hidden_size
    for name in ("altup_projections", "altup_unembed_projections"):
        for j in range(config.altup_num_inputs - 1):
            s.linear(f"{name}.{j}", h, h, role="other", split="replicated")


def _gemma4_around(config: Config, _: Plan, sheet: Sheet) -> None:
    """Experts beside the dense MLP, and the per-layer input."""
    h = config.hidden_size
    if config.get("enable_moe_block"):
        e, width = int(config.num_experts), int(config.moe_intermediate_size)
        r = sheet.at("router", "router")
        r.linear("proj", h, e, split="replicated")
        r.param("scale", h)
        r.param("per_expert_scale", e)
        write_experts(sheet.at("experts"), e, h, width)
        for name in (
            "post_feedforward_layernorm_1",
            "post_feedforward_layernorm_2",
            "pre_feedforward_layernorm_2",
        ):
            sheet.norm(name, h)
        sheet.layer.update(
            num_experts=e,
            num_experts_per_tok=int(config.top_k_experts),
            moe_intermediate_size=width,
            norms=7,
        )
    _per_layer_input(config, sheet)


FAMILIES = (
    Family(types=("gemma",), norm_fp32=True, attention=gqa(bias="attention_bias"), mlp=gated()),
    Family(
        types=("gemma2",),
        norm_fp32=True,
        attention=gqa(bias="attention_bias", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("gemma3_text",),
        norm_fp32=True,
        attention=gqa(bias="attention_bias", qk_norm="head", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=SANDWICH,
        plan=windowed(types=_gemma3_types),
    ),
    Family(
        types=("vaultgemma",),
        norm_fp32=True,
        attention=gqa(bias="attention_bias", softcap="attn_logit_softcapping"),
        mlp=gated(),
        norms=("input_layernorm", "pre_feedforward_layernorm"),
        plan=windowed(types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("gemma3n_text",),
        norm_fp32=True,
        attention=_gemma3n_attention,
        mlp=_mlp,
        plan=_gemma3n_plan,
        norms=SANDWICH,
        around=_gemma3n_around,
        extra=_gemma3n_tables,
    ),
    Family(
        types=("gemma4_text", "gemma4_unified_text"),
        norm_fp32=True,
        attention=_gemma4_attention,
        mlp=_mlp,
        plan=_gemma4_plan,
        norms=SANDWICH,
        around=_gemma4_around,
        extra=_per_layer_tables,
    ),
    Family(
        types=("recurrent_gemma",),
        norm_fp32=True,
        attention={
            "sliding": gqa(scope="temporal_block", bias="attention_bias", out_bias=True),
            "linear": rglru(),
        },
        mlp=gated(
            scope="mlp_block", inner=lambda config: int(config.intermediate_size) // 2, bias=True
        ),
        plan=windowed(
            types=lambda config: (list(config.block_types) * depth(config))[: depth(config)],
            window=lambda config: config.attention_window_size,
            mixers={"recurrent": "linear", "attention": "sliding"},
        ),
        norms=("temporal_pre_norm", "channel_pre_norm"),
        last_norm="final_norm",
    ),
)
