"""BLOOM, Falcon and MPT: fused projections and plain MLPs."""

from __future__ import annotations

from planner.resolve.arch.attention import fused_qkv, heads
from planner.resolve.arch.config import Config
from planner.resolve.arch.family import PRE_NORM, Family
from planner.resolve.arch.mlp import plain
from planner.resolve.arch.sheet import Plan


def _falcon_kv(config: Config) -> int:
    if config.new_decoder_architecture:
        return int(config.get("num_kv_heads") or heads(config))
    return 1 if config.multi_query else heads(config)


def _falcon_norms(config: Config, _: Plan) -> tuple[str, ...]:
    two = config.get("num_ln_in_parallel_attn")
    if two is None and config.new_decoder_architecture:
        two = 2
    if config.new_decoder_architecture and two == 2:
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",) if config.parallel_attn else PRE_NORM


FAMILIES = (
    Family(
        types=("bloom",),
        attention=fused_qkv(scope="self_attention", qkv="query_key_value", out="dense"),
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: 4 * int(config.hidden_size),
            bias=True,
        ),
        norm_kind="layer",
        root="transformer",
        embed="word_embeddings",
        stack="h",
        last_norm="ln_f",
        extra=lambda config, _, s: s.norm("word_embeddings_layernorm", config.hidden_size),
    ),
    Family(
        types=("falcon",),
        attention=fused_qkv(
            scope="self_attention", qkv="query_key_value", out="dense", bias="bias", kv=_falcon_kv
        ),
        mlp=plain(
            "dense_h_to_4h",
            "dense_4h_to_h",
            inner=lambda config: int(config.get("ffn_hidden_size") or 4 * config.hidden_size),
            bias="bias",
        ),
        norms=_falcon_norms,
        norm_kind="layer",
        root="transformer",
        embed="word_embeddings",
        stack="h",
        last_norm="ln_f",
        parallel="parallel_attn",
    ),
    Family(
        types=("mpt",),
        attention=fused_qkv(scope="attn", qkv="Wqkv", out="out_proj", bias=False),
        mlp=plain(scope="ffn", inner=lambda config: 4 * int(config.hidden_size)),
        norms=("norm_1", "norm_2"),
        norm_kind="layer_nobias",
        root="transformer",
        embed="wte",
        stack="blocks",
        last_norm="norm_f",
    ),
)
