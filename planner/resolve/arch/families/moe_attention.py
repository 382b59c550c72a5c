"""More mixtures of experts: layer-dependent heads, gates and windows."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, head_dim, heads, kv_heads, note_attention
from planner.resolve.arch.config import Config
from planner.resolve.arch.families.dense import exaone_types, exaone_window
from planner.resolve.arch.families.mla import one_dense
from planner.resolve.arch.family import (
    Family,
    after_dense,
    all_moe,
    by_layer,
    depth,
    layer_types,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe, shared_total
from planner.resolve.arch.sheet import Plan, Sheet


def _shared(config: Config) -> int:
    return int(config.num_shared_experts * config.moe_intermediate_size)


def _laguna_plan(config: Config) -> list[Plan]:
    counts = config.get("num_attention_heads_per_layer") or [heads(config)] * depth(config)
    plans = windowed(one_dense)(config)
    return [plan._replace(tag=int(count)) for plan, count in zip(plans, counts, strict=True)]


def _laguna_attention(config: Config, plan: Plan, sheet: Sheet) -> None:
    s = sheet.at("self_attn", "attention")
    h, q, g, d = config.hidden_size, plan.tag, kv_heads(config), head_dim(config)
    b = bool(config.get("attention_bias"))
    s.linear("q_proj", h, q * d, bias=b)
    s.linear("k_proj", h, g * d, bias=b, split="kv")
    s.linear("v_proj", h, g * d, bias=b, split="kv")
    s.linear("o_proj", q * d, h, bias=b, split="row")
    s.norm("q_norm", d)
    s.norm("k_norm", d)
    gating = config._values.get("gating", True)
    s.linear("g_proj", h, q if gating is True or gating == "per-head" else q * d)
    note_attention(sheet, plan, q=q, kv=g, dim=d, qk_norm=True, attention_bias=b)


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


def _llama4_plan(config: Config) -> list[Plan]:
    sparse = config.get("moe_layers")
    if sparse is None:
        step = int(config.interleave_moe_layer_step)
        sparse = list(range(step - 1, depth(config), step))
    rotary = config.get("no_rope_layers") or None
    step = int(config.get("no_rope_layer_interval", 4))
    types = layer_types(
        config,
        lambda i: (
            "chunked_attention" if (rotary[i] if rotary else (i + 1) % step) else "full_attention"
        ),
    )
    chunk = int(config.attention_chunk_size)
    return [
        Plan(
            "chunked" if kind == "chunked_attention" else "full",
            chunk if kind == "chunked_attention" else None,
            "moe" if i in sparse else "dense",
        )
        for i, kind in enumerate(types)
    ]


def _m3_index(config: Config, plan: Plan, s: Sheet) -> None:
    if plan.tag == "indexed":
        x = s.at("indexer")
        h, d = config.hidden_size, config.index_head_dim
        x.linear("q_proj", h, config.index_n_heads * d, split="replicated")
        x.linear("k_proj", h, d, split="replicated")
        x.norm("q_norm", d)
        x.norm("k_norm", d)
        s.layer["indexer_elements_per_token"] = d


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
    s = sheet.at("self_attn", "attention")
    h, q, g, d = config.hidden_size, plan.tag, kv_heads(config), head_dim(config)
    b = bool(config.get("attention_bias"))
    s.linear("q_proj", h, q * d, bias=b)
    s.linear("k_proj", h, g * d, bias=b, split="kv")
    s.linear("v_proj", h, g * d, bias=b, split="kv")
    s.linear("o_proj", q * d, h, bias=b, split="row")
    s.norm("q_norm", d)
    s.norm("k_norm", d)
    s.linear("g_proj", h, q)
    note_attention(sheet, plan, q=q, kv=g, dim=d, qk_norm=True, attention_bias=b)


FAMILIES = (
    Family(
        types=("exaone_moe",),
        attention=gqa(qk_norm="head"),
        mlp={"dense": gated(), "moe": moe(shared=_shared)},
        plan=windowed(after_dense(), types=exaone_types, window=exaone_window),
    ),
    Family(
        types=("solar_open",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
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
        types=("minimax_m2",),
        attention=gqa(qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("mellum",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe()},
        plan=windowed(
            lambda config: (
                after_dense()(config)
                if config.get("mlp_layer_types") is not None
                else all_moe(config)
            )
        ),
    ),
    Family(
        types=("llama4_text",),
        attention=gqa(bias="attention_bias"),
        mlp={
            "dense": gated(scope="feed_forward", inner="intermediate_size_mlp"),
            "moe": moe(
                scope="feed_forward",
                router="router",
                router_linear=True,
                inner="intermediate_size",
                flipped=True,
                shared="intermediate_size",
                shared_scope="shared_expert",
            ),
        },
        plan=_llama4_plan,
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
)
