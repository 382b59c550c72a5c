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
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.layers import (
    after_dense,
    by_layer,
    every,
    exaone_types,
    exaone_window,
    layer_types,
    one_dense,
    spaced_mlps,
    windowed,
)
from planner.resolve.arch.mlp import EXPERTS, gated, moe, shared_if_any, shared_total


def _shared_experts(config: Config) -> int:
    return int(config.num_shared_experts * config.moe_intermediate_size)


def _ling_shared(config: Config) -> int:
    width = config.first("moe_shared_expert_intermediate_size", "moe_intermediate_size")
    return int(config.get("num_shared_experts") or 0) * int(width)


FAMILIES = (
    Family(
        types=("deepseek",),
        attention=gqa(bias="attention_bias"),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4_moe", "solar_open"),
        attention=gqa(bias="attention_bias", out_bias=False, qk_norm="head", norm_if="use_qk_norm"),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("glm4v_moe_text",),
        attention=gqa(bias="attention_bias", out_bias=False),
        mlp={"dense": gated(), "moe": EXPERTS},
        plan=by_layer(after_dense()),
    ),
    Family(
        types=("dots1",),
        attention=gqa(bias="attention_bias", qk_norm="head"),
        mlp={"dense": gated(), "moe": EXPERTS},
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
                shared=_shared_experts,
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
