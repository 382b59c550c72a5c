"""Model states of one rank: the base weights, the adapter, and how many parameters it trains."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.training.layers import layer_parameters
from planner.estimate.weights import weights_by_rank
from planner.resolve.tables import Tables

FP32: Final = 4.0
LAYOUT: Final = ("tensor_parallel_size", "pipeline_parallel_size", "expert_parallel_size")
UPCAST_GROUPS: Final = ("embedding", "lm_head", "norm", "rest")
SHARDS_OPTIMIZER: Final = ("zero1", "zero2", "zero3", "fsdp", "hsdp")
SHARDS_GRADIENTS: Final = ("zero2", "zero3", "fsdp", "hsdp")


RANK_KEYS: Final = ("model", "weight_format", *LAYOUT)


def rank_weights(settled: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Weights of the most loaded rank of the distinct layouts: a table to join on RANK_KEYS."""
    layouts = settled.select(RANK_KEYS).unique()
    return weights_by_rank(tables, layouts).drop("vocab_padding", strict=False)


def with_states(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Adds parameters and bytes of the model states on the most loaded rank, before sharding.

    `cells` has the columns of `rank_weights` and the adapter sums. Adds `base_bytes`,
    `trained_parameters`, `head_parameters`, `embedding_on_rank` (elements on the rank),
    `adapter_count`, `largest_layer_parameters`, `layer_stored_bytes`, `largest_layer_trained`,
    `largest_tensor_parameters`.
    """
    sizes = tables.models.select(
        "model",
        "hidden_size",
        "vocab_size",
        "tied_embeddings",
        "logit_softcap",
        "parameters",
        "num_hidden_layers",
        "embedding_parameters",
        "lm_head_parameters",
        "active_parameters",
        lookup_parameters=pl.when("tied_embeddings").then(0).otherwise("embedding_parameters"),
    )
    return (
        cells.join(sizes, on="model", how="left")
        .join(layer_parameters(tables), on="model", how="left")
        .with_columns(_rank_parameters())
        .with_columns(_base_bytes())
        .with_columns(_trained())
    )


def _rank_parameters() -> list[pl.Expr]:
    tp = pl.col("tensor_parallel_size").cast(pl.Float64)
    head = pl.when("tied_embeddings").then("embedding_parameters").otherwise("lm_head_parameters")
    counted = pl.coalesce(
        pl.col("adapter_parameters").cast(pl.Float64),
        pl.col("adapter_in_out") * pl.col("lora_rank"),
        pl.lit(0.0),
    )
    magnitudes = pl.when(pl.col("method") == "dora").then("adapter_rows").otherwise(0.0)
    cut = tp * pl.col("pipeline_parallel_size")
    return [
        (head / tp).alias("head_parameters"),
        (pl.col("embedding_parameters") / tp).alias("embedding_on_rank"),
        (pl.col("vocab_size") / tp).alias("rank_vocabulary"),
        pl.when("is_full")
        .then(0.0)
        .otherwise(counted + magnitudes.fill_null(0.0))
        .alias("adapter_count"),
        cut.alias("model_shards"),
    ]


def _base_bytes() -> list[pl.Expr]:
    """Weights of the base; under k-bit training what is not quantised may be cast to fp32.

    Embedding, norms, router and an untied head follow `kbit_upcast`
    (prepare_model_for_kbit_training of peft casts every parameter that is not quantised).
    """
    plain = pl.sum_horizontal(f"{group}_weights_bytes" for group in UPCAST_GROUPS)
    upcast = pl.when("kbit_upcast").then(plain * (FP32 / 2.0 - 1.0)).otherwise(0.0)
    trained = pl.col("weight_element_bytes") / pl.col("stored_element_bytes")
    layer_share = pl.col("largest_layer_parameters") / pl.col("stack_parameters")
    in_layers = pl.col("quantised_weights_bytes") + pl.col("experts_weights_bytes")
    return [
        ((pl.col("weights_bytes") + upcast) * trained).alias("base_bytes"),
        (in_layers * layer_share * pl.col("pipeline_parallel_size")).alias("layer_stored_bytes"),
    ]


def _trained() -> list[pl.Expr]:
    on_rank = pl.col("base_bytes") / pl.col("weight_element_bytes")
    adapter = pl.col("adapter_count") / pl.col("model_shards")
    full_layer = pl.col("largest_layer_parameters") / pl.col("tensor_parallel_size")
    adapter_layer = adapter / (pl.col("num_hidden_layers") / pl.col("pipeline_parallel_size"))
    return [
        pl.when("is_full").then(on_rank).otherwise(adapter).alias("trained_parameters"),
        pl.when("is_full")
        .then("weight_element_bytes")
        .otherwise("adapter_element_bytes")
        .alias("trained_element_bytes"),
        pl.when("is_full").then(full_layer).otherwise(adapter_layer).alias("largest_layer_trained"),
        pl.max_horizontal(
            "head_parameters", pl.when("is_full").then(full_layer).otherwise(adapter_layer)
        ).alias("largest_tensor_parameters"),
    ]
