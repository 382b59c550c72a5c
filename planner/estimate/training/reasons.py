"""Why a training cell can't be: layouts that don't exist and methods the estimator lacks."""

from __future__ import annotations

import polars as pl

METHODS = ("full", "lora", "dora", "qlora")


def reason_columns() -> list[pl.Expr]:
    """`unsupported_reason`, `impossible_reason` and `note`, null where there is nothing to say."""
    return [_unsupported(), _impossible(), _note()]


def _unsupported() -> pl.Expr:
    method = pl.col("method")
    quantised = pl.col("weight_format").is_in(["fp32", "bf16", "fp16", "checkpoint"]).not_()
    return (
        pl.when(~method.is_in(METHODS))
        .then(pl.format("training method {} is not estimated", method))
        .when(pl.col("optimizer_implementation").is_null())
        .then(pl.format("framework {} has no preset", pl.col("framework")))
        .when(pl.col("full_states").is_null())
        .then(pl.format("optimizer {} is not in the catalog", pl.col("optimizer")))
        .when((method == "full") & quantised)
        .then(pl.format("weights in {} cannot be trained in full", pl.col("weight_format")))
        .when(pl.col("layers_saved_bytes").is_null())
        .then(pl.lit("the model is unknown"))
        .when((pl.col("attention") == "flash") & pl.col("lacks_flash"))
        .then(pl.lit("flash attention needs compute capability 8.0: use sdpa or eager"))
        .when((method != "full") & (pl.col("adapter_count") <= 0))
        .then(pl.lit("no linear layer of the model has a LoRA target's name, or the rank is 0"))
        .otherwise(None)
        .cast(pl.String)
        .alias("unsupported_reason")
    )


def _impossible() -> pl.Expr:
    ranks = (
        pl.col("tensor_parallel_size")
        * pl.col("pipeline_parallel_size")
        * pl.col("data_parallel_size")
        * pl.col("context_parallel_size")
    )
    return (
        pl.when(pl.col("pipeline_parallel_size") > pl.col("num_hidden_layers"))
        .then(pl.lit("more pipeline stages than layers"))
        .when(pl.col("largest_heads") % pl.col("tensor_parallel_size") != 0)
        .then(pl.lit("the attention heads are not divisible by the tensor-parallel size"))
        .when(pl.col("sequence_tokens") % pl.col("context_parallel_size") != 0)
        .then(pl.lit("the sequence is not divisible by the context-parallel size"))
        .when(ranks > pl.col("gpu_count"))
        .then(pl.lit("the parallel layout needs more GPUs than the configuration has"))
        .otherwise(None)
        .cast(pl.String)
        .alias("impossible_reason")
    )


def _note() -> pl.Expr:
    unmeasured = (
        (pl.col("tensor_parallel_size") > 1)
        | (pl.col("pipeline_parallel_size") > 1)
        | pl.col("sharding").is_in(["zero1", "zero2", "zero3"])
        | (pl.col("method") == "dora")
    )
    return (
        pl.when(unmeasured)
        .then(pl.lit("no public measurement covers this layout or method: a derived estimate"))
        .otherwise(None)
        .cast(pl.String)
        .alias("note")
    )
