"""What can't be run at all, as reasons: a card without the format, a method without a base.

A reason is text in `unsupported_reason` (the hardware or the estimator lacks something) or
`impossible_reason` (the layout can't exist). Cells with one are listed, never dropped.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.resolve.tables import Tables

FLOAT_FAMILY: Final = "float"


def with_support(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Put what every estimator would refuse before an estimator's own reasons.

    Needs `unsupported_reason` and `impossible_reason` (text or null) as the estimator left them,
    method, weight_format, model, gpu, layout_reason, pipeline_parallel_size and
    expert_parallel_size; tables.formats, tables.gpu_formats and tables.models.
    """
    formats = tables.formats.select(
        "weight_format", _family=pl.col("family"), _trainable=pl.col("trainable_base")
    )
    models = tables.models.select(
        "model",
        _layers=pl.col("num_hidden_layers"),
        _stored=pl.col("quantization_method"),
        _checkpoint=pl.col("checkpoint_weight_format"),
        _experts=pl.col("routed_experts_parameters") > 0,
    )
    experts = tables.layers.group_by("model").agg(_most_experts=pl.col("num_experts").max())
    joined = (
        cells.join(formats, on="weight_format", how="left")
        .join(models, on="model", how="left")
        .join(experts, on="model", how="left")
    )
    if tables.gpu_formats is not None:
        lacking = tables.gpu_formats.select(
            "gpu", _real_format="weight_format", _support="support", _lacks="reason"
        )
        real = pl.when(pl.col("weight_format") == "checkpoint").then("_checkpoint")
        joined = joined.with_columns(_real_format=real.otherwise("weight_format")).join(
            lacking, on=["gpu", "_real_format"], how="left"
        )
    else:
        joined = joined.with_columns(
            _support=pl.lit("native"),
            _lacks=pl.lit(None, pl.String),
            _real_format=pl.col("weight_format"),
        )
    joined = joined.with_columns(
        unsupported_reason=pl.coalesce(
            gpu_lacks_format(), method_lacks_base(), "unsupported_reason"
        ),
        impossible_reason=pl.coalesce(
            "layout_reason",
            too_many_stages(),
            no_experts_to_split(),
            too_few_experts(),
            more_than_the_engine_takes(),
            "impossible_reason",
        ),
    )
    helpers = (
        "_family",
        "_trainable",
        "_layers",
        "_stored",
        "_experts",
        "_support",
        "_lacks",
        "_most_experts",
        "_checkpoint",
        "_real_format",
    )
    return joined.drop(helpers)


def gpu_lacks_format() -> pl.Expr:
    """The card can't compute in the format, neither natively nor emulated."""
    stored = pl.when(pl.col("weight_format") == "checkpoint").then(
        pl.format("the checkpoint's {}", pl.col("_real_format"))
    )
    cell = pl.format("{} can't run {}", pl.col("gpu"), stored.otherwise(pl.col("weight_format")))
    why = pl.when(pl.col("_lacks").is_not_null()).then(pl.format(": {}", pl.col("_lacks")))
    return pl.when(pl.col("_support") == "unsupported").then(
        pl.concat_str(cell, why, ignore_nulls=True)
    )


def method_lacks_base() -> pl.Expr:
    """The method and the storage of the base weights don't go together."""
    method, stored = pl.col("method"), pl.col("weight_format")
    is_float = (pl.col("_family") == FLOAT_FAMILY) | (
        (stored == "checkpoint") & (pl.col("_stored").fill_null("") == "")
    )
    trainable = pl.col("_trainable").fill_null(False)
    return (
        pl.when((method == "full") & ~is_float)
        .then(pl.format("full fine-tuning can't train weights stored as {}", stored))
        .when(method.is_in(["lora", "dora"]) & ~is_float)
        .then(pl.format("{} needs a 16- or 32-bit base, and {} is none: see qlora", method, stored))
        .when((method == "qlora") & is_float)
        .then(pl.format("qlora needs a quantised base, and {} is none", stored))
        .when((method == "qlora") & (stored != "checkpoint") & ~trainable)
        .then(pl.format("no training framework takes a base in {}", stored))
    )


def more_than_the_engine_takes() -> pl.Expr:
    """Sequences in flight above max_num_seqs wait instead of holding memory."""
    in_flight, limit = pl.col("concurrent_sequences"), pl.col("max_num_seqs")
    return pl.when(in_flight > limit).then(
        pl.format("{} sequences in flight are above max_num_seqs {}", in_flight, limit)
    )


def too_many_stages() -> pl.Expr:
    """A pipeline stage needs at least one decoder layer."""
    stages, layers = pl.col("pipeline_parallel_size"), pl.col("_layers")
    return pl.when(stages > layers).then(
        pl.format("{} pipeline stages for {} layers", stages, layers)
    )


def no_experts_to_split() -> pl.Expr:
    """Expert parallelism needs experts."""
    return pl.when((pl.col("expert_parallel_size") > 1) & ~pl.col("_experts")).then(
        pl.lit("expert parallelism: the model has no routed experts")
    )


def too_few_experts() -> pl.Expr:
    """Every rank of expert parallelism needs an expert."""
    size, experts = pl.col("expert_parallel_size"), pl.col("_most_experts")
    return pl.when((size > 1) & (size > experts)).then(
        pl.format("expert parallelism {} is above the model's {} experts", size, experts)
    )
