"""Mixtures of experts behind a few dense layers, most of them with shared experts."""

from __future__ import annotations

from planner.resolve.arch.attention import (
    even_head_dim,
    fused_qkv,
    gqa,
    head_dim,
    kv_heads,
    output_gate,
)
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import (
    PRE_NORM,
    Family,
    after_dense,
    by_layer,
    depth,
    every,
    layer_types,
    one_dense,
    spaced_mlps,
    windowed,
)
from planner.resolve.arch.mlp import gated, moe, shared_total


def shared_if_any(config: Config) -> int:
    return int(config.get("num_shared_experts", 0)) * int(
        config.get("moe_intermediate_size") or config.intermediate_size
    )


def _shared_experts(config: Config) -> int:
    return int(config.num_shared_experts * config.moe_intermediate_size)


def _ling_shared(config: Config) -> int:
    width = config.first("moe_shared_expert_intermediate_size", "moe_intermediate_size")
    return int(config.get("num_shared_experts") or 0) * int(width)


def exaone_types(config: Config) -> list[str]:
    """EXAONE's pattern of sliding and full layers, a number or a string of letters."""
    pattern = config.get("sliding_window_pattern", 4)
    if isinstance(pattern, str):
        last = depth(config) - 1
        return layer_types(
            config,
            lambda i: (
                "full_attention"
                if i == last or pattern[i % len(pattern)] == "G"
                else "sliding_attention"
            ),
        )
    return layer_types(config, every(int(pattern or 1)))


def exaone_window(config: Config) -> int | None:
    """The span of EXAONE's sliding layers."""
    return config.get("sliding_window") if config.get("sliding_window_pattern", 4) else None


FAMILIES = (
    Family(
        types=("deepseek",),
        attention=gqa(bias="attention_bias"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4_moe",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4v_moe_text",),
        attention=gqa(bias="attention_bias", out_bias=False),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("solar_open",),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("dots1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": moe(shared=shared_total)},
        plan=windowed(after_dense()),
    ),
    Family(
        types=("afmoe",),
        attention=gqa(bias="attention_bias", qk_norm="head", extra=output_gate),
        mlp={
            "dense": gated(),
            "moe": moe(
                router="router.gate",
                router_linear=True,
                correction="expert_bias",
                shared=lambda config: int(config.num_shared_experts * config.moe_intermediate_size),
            ),
        },
        plan=windowed(
            after_dense("num_dense_layers"),
            types=lambda config: layer_types(
                config, every(int(config.get("global_attn_every_n_layers", 4)))
            ),
        ),
        norms=(*PRE_NORM, "pre_mlp_layernorm", "post_mlp_layernorm"),
    ),
    Family(
        types=("exaone_moe",),
        attention=gqa(qk_norm="head"),
        mlp={"dense": gated(), "moe": moe(shared=_shared_experts)},
        plan=windowed(after_dense(), types=exaone_types, window=exaone_window),
    ),
    Family(
        types=("hy_v3",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=shared_if_any, shared_bias="mlp_bias"),
        },
        plan=by_layer(one_dense),
    ),
    Family(
        types=("bailing_moe", "bailing_moe_v2"),
        attention=fused_qkv(
            scope="attention",
            qkv="query_key_value",
            out="dense",
            bias="use_qkv_bias",
            out_bias="use_bias",
            dims=head_dim,
            kv=kv_heads,
            qk_norm="head",
            qk_names=("query_layernorm", "key_layernorm"),
            norm_if="use_qk_norm",
        ),
        mlp={
            "dense": gated(bias="use_bias"),
            "moe": moe(shared=_ling_shared, shared_bias="use_bias"),
        },
        plan=by_layer(after_dense()),
        embed="word_embeddings",
    ),
    Family(
        types=("unlimited_ocr_text",),
        attention=gqa(bias="attention_bias", dims=even_head_dim),
        mlp={
            "dense": gated(bias="mlp_bias"),
            "moe": moe(shared=shared_total, shared_bias="mlp_bias"),
        },
        plan=by_layer(spaced_mlps),
    ),
)
