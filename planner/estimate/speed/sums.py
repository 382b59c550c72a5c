"""Per model and weight format: the few sums that speed depends on, so that no cell sees a layer."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.weights import stored_tensors
from planner.resolve.tables import Tables

SPARSE_ATTENTION_TOKENS: Final = 2048
"""Tokens that an indexed sparse attention reads per query (DeepSeek sparse attention's default)."""
_STATE_BYTES: Final = 4.0
_CONV_BYTES: Final = 2.0
_RECURRENT: Final = ("mamba1", "mamba2", "gated_delta", "linear", "conv", "rglru")
_PLAIN_ATTENTION: Final = ("full", "sliding", "chunked", "cross")
_OUTSIDE: Final = ("routed_experts", "embedding", "lm_head", "multimodal", "norm")


def model_sums(tables: Tables, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """One row a (model, weight_format) of `pairs`.

    Adds `linear_parameters` (attention, mixers, dense and shared MLPs, routers: what every token
    meets), `routed_parameters`, `head_parameters`, their `*_bytes` in the storage format and their
    `*_compute` dtype (`fp4`, `fp8`, `int8` or `16bit`), `num_experts`, `num_experts_per_tok`, and
    the sums over layers of `layer_sums`.
    """
    return (
        pairs.join(_stored(tables, pairs), on=["model", "weight_format"], how="left")
        .join(_parameters(tables), on="model", how="left")
        .join(layer_sums(tables.layers), on="model", how="left")
        .with_columns(
            head_bytes=pl.when("tied_embeddings").then("embedding_bytes").otherwise("head_bytes"),
            linear_compute=_narrow("linear"),
            routed_compute=_narrow("routed"),
        )
        .drop("embedding_bytes", "tied_embeddings")
    )


def _narrow(group: str) -> pl.Expr:
    """Compute dtype of a group; groups that a format leaves at 16 bits compute in 16 bits."""
    bits = pl.col(f"{group}_bytes") * 8 / pl.col(f"{group}_parameters")
    return (
        pl.when(bits >= 12)
        .then(pl.lit("16bit"))
        .otherwise(pl.col(f"{group}_compute").fill_null("16bit"))
    )


def _stored(tables: Tables, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Bytes by group, and the dtype that most of a group computes in."""
    role = pl.col("role")
    groups = {
        "linear": ~role.is_in(_OUTSIDE),
        "routed": role == "routed_experts",
        "head": role == "lm_head",
        "embedding": role == "embedding",
    }
    size = pl.col("bytes") * pl.col("count")
    return (
        stored_tensors(tables, pairs)
        .filter(~pl.col("tied"))
        .join(_compute_dtypes(tables), on="stored_format", how="left")
        .with_columns(size=size)
        .group_by("model", "weight_format")
        .agg(
            *(
                pl.col("size").filter(of).sum().alias(f"{name}_bytes")
                for name, of in groups.items()
            ),
            *(
                pl.col("computes")
                .filter(groups[name])
                .sort_by(pl.col("size").filter(groups[name]), descending=True)
                .first()
                .alias(f"{name}_compute")
                for name in ("linear", "routed")
            ),
        )
    )


def _compute_dtypes(tables: Tables) -> pl.LazyFrame:
    """Storage format to the dtype of its matrix products; weight-only formats use 16 bits."""
    family = pl.col("family")
    floats = family.is_in(["fp8", "fp4"]) & (pl.col("weight_format") != "fp4-bnb")
    return tables.formats.select(
        stored_format="weight_format",
        computes=pl.when(floats)
        .then(family)
        .when(pl.col("compute_dtype") == "int8")
        .then(pl.lit("int8"))
        .otherwise(pl.lit("16bit")),
    )


def _parameters(tables: Tables) -> pl.LazyFrame:
    outside = [pl.col(f"{role}_parameters") for role in _OUTSIDE]
    return tables.models.select(
        "model",
        "hidden_size",
        "num_hidden_layers",
        "tied_embeddings",
        linear_parameters=(pl.col("parameters") - pl.sum_horizontal(outside)).cast(pl.Float64),
        routed_parameters=pl.col("routed_experts_parameters").cast(pl.Float64),
        head_parameters=(pl.col("hidden_size") * pl.col("vocab_size")).cast(pl.Float64),
    )


def layer_sums(layers: pl.LazyFrame) -> pl.LazyFrame:
    """Sums over the decoder layers of each model.

    `global_cache_elements`, `local_cache_elements` per token (K and V heads, split by tensor
    parallelism) and `latent_cache_elements` (MLA and indexer keys, on every rank);
    `local_window_tokens`; `state_bytes` per sequence; `attention_pair_flops_global`,
    `..._local`: FLOPs of one query meeting one key over all layers, `latent_pair_flops` the same
    in the absorbed form of MLA; layer counts `attention_layers`, `latent_layers`,
    `recurrent_layers`, `indexed_layers`, `expert_layers`, `dense_layers`.
    """
    mixer, elements = pl.col("mixer"), pl.col("kv_elements_per_token")
    local = pl.col("window_tokens").is_not_null()
    latent = mixer == "mla"
    heads = pl.col("num_attention_heads")
    pair = 2.0 * heads * (pl.col("head_dim") + pl.col("v_head_dim"))
    absorbed = 2.0 * heads * (2 * pl.col("kv_lora_rank") + pl.col("qk_rope_head_dim"))
    state = 2.0 * (
        pl.col("ssm_state_elements") * _STATE_BYTES + pl.col("conv_state_elements") * _CONV_BYTES
    )
    experts = pl.col("num_experts") > 0
    held = elements * ~pl.col("kv_shared")
    return layers.group_by("model").agg(
        held.filter(~local & ~latent).sum().cast(pl.Float64).alias("global_cache_elements"),
        held.filter(local & ~latent).sum().cast(pl.Float64).alias("local_cache_elements"),
        held.filter(latent).sum().cast(pl.Float64).alias("latent_cache_elements"),
        pl.col("indexer_elements_per_token").sum().cast(pl.Float64).alias("indexer_elements"),
        pl.col("window_tokens").filter(held > 0).mean().fill_null(0.0).alias("local_window_tokens"),
        pl.col("num_key_value_heads")
        .filter((elements > 0) & ~latent)
        .min()
        .fill_null(1)
        .alias("key_value_heads"),
        state.sum().alias("state_bytes"),
        pair.filter(~local).sum().alias("attention_pair_flops_global"),
        pair.filter(local).sum().alias("attention_pair_flops_local"),
        absorbed.filter(latent).sum().alias("latent_pair_flops"),
        mixer.is_in(_PLAIN_ATTENTION).sum().cast(pl.Float64).alias("attention_layers"),
        latent.sum().cast(pl.Float64).alias("latent_layers"),
        (
            mixer.is_in(_RECURRENT)
            | ((pl.col("ssm_state_elements") > 0) & mixer.is_in(_PLAIN_ATTENTION))
        )
        .sum()
        .cast(pl.Float64)
        .alias("recurrent_layers"),
        (pl.col("indexer_elements_per_token") > 0).sum().cast(pl.Float64).alias("indexed_layers"),
        experts.sum().cast(pl.Float64).alias("expert_layers"),
        (~experts & (pl.col("mlp") != "none")).sum().cast(pl.Float64).alias("dense_layers"),
        pl.col("num_experts").filter(experts).mean().fill_null(1.0).alias("num_experts"),
        pl.col("num_experts_per_tok").filter(experts).mean().fill_null(1.0),
    )
