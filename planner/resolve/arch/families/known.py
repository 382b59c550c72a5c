"""Every family of text models, by model type."""

from __future__ import annotations

from functools import cache

from planner.resolve.arch.families import (
    bloom_falcon,
    cohere,
    deepseek_v4,
    dense,
    dense_fused,
    dense_norms,
    dense_plain,
    encoder,
    gemma,
    glm,
    gpt,
    kimi,
    linear_attention,
    mamba,
    mla,
    moe,
    moe_attention,
    moe_dense_first,
    moe_latent,
    moe_spaced,
    ngram,
    opt,
    per_layer,
    rwkv_xlstm,
    seq2seq,
    short_conv,
    sparse_attention,
    zamba,
)
from planner.resolve.arch.family import Family

MODULES = (
    bloom_falcon,
    cohere,
    deepseek_v4,
    dense,
    dense_fused,
    dense_norms,
    dense_plain,
    encoder,
    gemma,
    glm,
    gpt,
    kimi,
    linear_attention,
    mamba,
    mla,
    moe,
    moe_attention,
    moe_dense_first,
    moe_latent,
    moe_spaced,
    ngram,
    opt,
    per_layer,
    rwkv_xlstm,
    seq2seq,
    short_conv,
    sparse_attention,
    zamba,
)


@cache
def families() -> dict[str, Family]:
    """Family by model type."""
    return {name: family for m in MODULES for family in m.FAMILIES for name in family.types}
