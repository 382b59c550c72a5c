"""Mixtures of experts in the layers that a step, a range or a list of the config picks."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.layers import (
    after_dense,
    all_moe,
    by_layer,
    depth,
    layer_types,
    one_dense,
    sparse_steps,
    window_in_use,
    windowed,
)
from planner.resolve.arch.mlp import QWEN_SHARED, gated, moe, write_experts, write_gated
from planner.resolve.arch.sheet import Plan, Sheet


def _qwen2_moe_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(
        config,
        lambda i: "sliding_attention" if (i + 1) % 2 and i < first else "full_attention",
    )


def _ernie_mlps(config: Config) -> list[str]:
    end = config.moe_layer_end_index
    last = depth(config) - 1 if end == -1 else end
    return [
        "moe"
        if (i + 1) % config.moe_layer_interval == 0 and config.moe_layer_start_index <= i <= last
        else "dense"
        for i in range(depth(config))
    ]


def _ernie_vl_experts(config: Config, plan: Plan, sheet: Sheet) -> None:
    """Two mixtures side by side: text tokens go to one, image tokens to the other."""
    s = sheet.at("mlp", "mlp")
    widths = config.get("moe_intermediate_size") or [1536, 512]
    counts = config.moe_num_experts
    counts = counts if isinstance(counts, list) else [counts, counts]
    h = config.hidden_size
    for name, width, e in zip(("text_moe", "vision_moe"), widths, counts, strict=False):
        x = s.at(name)
        x.param("gate.weight", e, h, role="router")
        x.param("gate.moe_statics.e_score_correction_bias", 1, e, role="router")
        write_experts(x.at("experts"), e, h, width)
    shared = int(config.moe_num_shared_experts) * int(widths[0])
    if shared:
        bias = bool(config.get("use_bias"))
        write_gated(s.at("shared_experts", "shared_experts"), h, shared, bias=bias)
    sheet.layer.update(
        mlp="moe",
        num_experts=counts[0],
        num_experts_per_tok=config.moe_k,
        moe_intermediate_size=widths[0],
        shared_intermediate_size=shared,
    )


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


def _flint_types(config: Config) -> list[str]:
    last = depth(config) - 1
    return layer_types(
        config,
        lambda i: "full_attention" if i < 2 or i % 4 == 1 or i == last else "sliding_attention",
    )


def _flint_mlps(config: Config) -> list[str]:
    dense = config.get("mlp_only_layers")
    dense = {0, 1} if dense is None else set(dense)
    step = int(config.decoder_sparse_step)
    return ["dense" if i in dense or (i + 1) % step else "moe" for i in range(depth(config))]


FAMILIES = (
    Family(
        types=("qwen2_moe",),
        attention=gqa(bias="qkv_bias", out_bias=False),
        mlp={"dense": gated(), "moe": QWEN_SHARED},
        plan=windowed(
            sparse_steps,
            types=_qwen2_moe_types,
            window=window_in_use,
        ),
    ),
    Family(
        types=("qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text"),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe()},
        plan=windowed(
            sparse_steps,
            types=lambda config: ["sliding_attention"] * config.num_hidden_layers,
            window=window_in_use,
        ),
    ),
    Family(
        types=("ernie4_5_moe",),
        attention=gqa(bias="use_bias"),
        mlp={
            "dense": gated(bias="use_bias"),
            "moe": moe(
                extra=lambda config, _, s: s.param(
                    "gate.moe_statics.e_score_correction_bias",
                    1,
                    config.moe_num_experts,
                    role="router",
                ),
                shared=lambda config: int(
                    config.moe_num_shared_experts * config.moe_intermediate_size
                ),
                shared_bias="use_bias",
            ),
        },
        plan=by_layer(_ernie_mlps),
        head_bias="use_bias",
    ),
    Family(
        types=("ernie4_5_vl_moe_text",),
        attention=gqa(bias="use_bias"),
        mlp={"dense": gated(bias="use_bias"), "moe": _ernie_vl_experts},
        plan=by_layer(one_dense),
        norms=PRE_NORM,
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
        types=("flint",),
        attention=gqa(bias="attention_bias", qk_norm="head", sinks=True),
        mlp={
            "dense": gated(),
            "moe": moe(shared="shared_expert_intermediate_size", shared_scope="shared_expert"),
        },
        plan=windowed(_flint_mlps, types=_flint_types),
    ),
)
