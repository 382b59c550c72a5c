"""Mixtures of experts, and decoders with latent attention."""

from __future__ import annotations

from planner.resolve.arch.attention import gqa, mla
from planner.resolve.arch.family import (
    Family,
    after_dense,
    all_moe,
    by_layer,
    same_window,
    sparse_steps,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe, shared_total

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
)
