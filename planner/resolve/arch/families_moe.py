"""Mixtures of experts, and decoders with latent attention."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, mla
from planner.resolve.arch.family import (
    SANDWICH,
    Family,
    after_dense,
    all_moe,
    by_layer,
    every,
    layer_types,
    same_window,
    sparse_steps,
    windowed,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.mlp import gated, moe, shared_total
from planner.resolve.arch.sheet import Plan, Sheet

def _qwen2_moe_types(config: Config) -> list[str]:
    first = int(config.get("max_window_layers", 0))
    return layer_types(
        config,
        lambda i: "sliding_attention" if (i + 1) % 2 and i < first else "full_attention",
    )


def granite_shared(config: Config, _: Plan, sheet: Sheet) -> None:
    """Granite's shared MLP beside the experts, with gate and up in one matrix."""
    width = int(config.get("shared_intermediate_size", 0))
    if width:
        s = sheet.at("shared_mlp", "shared_experts")
        s.linear("input_linear", config.hidden_size, 2 * width)
        s.linear("output_linear", width, config.hidden_size, split="row")
        sheet.layer["shared_intermediate_size"] = width


QWEN_SHARED = moe(
    shared="shared_expert_intermediate_size",
    shared_scope="shared_expert",
    shared_gate="shared_expert_gate",
)

FAMILIES = (
    Family(
        types=("mixtral",),
        attention=gqa(),
        mlp=moe(inner="intermediate_size"),
        plan=same_window(all_moe),
    ),
    Family(
        types=("qwen3_moe",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe()},
        plan=windowed(
            sparse_steps,
            types=lambda config: ["sliding_attention"] * config.num_hidden_layers,
            window=lambda config: (
                config.get("sliding_window") if config.get("use_sliding_window") else None
            ),
        ),
    ),
    Family(
        types=("deepseek_v2", "deepseek_v3"),
        attention=mla(),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("qwen2_moe",),
        attention=gqa(bias="qkv_bias", out_bias=False),
        mlp={"dense": gated(), "moe": QWEN_SHARED},
        plan=windowed(
            sparse_steps,
            types=_qwen2_moe_types,
            window=lambda config: (
                config.get("sliding_window") if config.get("use_sliding_window") else None
            ),
        ),
    ),
    Family(
        types=("phimoe",),
        attention=gqa(bias="attention_bias"),
        mlp=moe(router="router", router_linear=True, inner="intermediate_size"),
        plan=same_window(all_moe),
        norm_kind="layer",
        head_bias="lm_head_bias",
    ),
    Family(
        types=("gpt_oss",),
        attention=gqa(bias="attention_bias", sinks=True),
        mlp=moe(
            router="router",
            router_bias=True,
            inner="intermediate_size",
            flipped=True,
            expert_bias=True,
        ),
        plan=windowed(all_moe, types=lambda config: layer_types(config, every(2))),
    ),
    Family(
        types=("olmoe",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        plan=by_layer(all_moe),
    ),
    Family(
        types=("flex_olmo",),
        attention=gqa(bias="attention_bias", qk_norm="full"),
        mlp=moe(inner="intermediate_size"),
        norms=SANDWICH[1::2],
        plan=by_layer(all_moe),
    ),
    Family(
        types=("granitemoe", "granitemoeshared"),
        attention=gqa(bias="attention_bias"),
        mlp=moe(scope="block_sparse_moe", router="router", inner="intermediate_size"),
        plan=by_layer(all_moe),
        around=granite_shared,
    ),
    Family(
        types=("glm4_moe",),
        attention=gqa(
            bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"
        ),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4_moe_lite",),
        attention=mla(),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("dots1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=windowed(after_dense()),
    ),
)
