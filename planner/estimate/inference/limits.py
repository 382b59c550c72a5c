"""Why a cell can't be estimated or can't exist, and what its reader should know."""

from __future__ import annotations

import polars as pl


def _first(*reasons: tuple[pl.Expr, pl.Expr]) -> pl.Expr:
    return pl.coalesce(pl.when(wrong).then(text).otherwise(None) for wrong, text in reasons)


def unsupported_reason() -> pl.Expr:
    """What the estimator lacks for this cell, null where nothing."""
    return _first(
        (pl.col("hidden_size").is_null(), pl.format("the model {} is not known", "model")),
        (
            pl.col("is_pooled").is_null(),
            pl.format("no profile for the engine {}", pl.col("engine").fill_null("(none)")),
        ),
        (
            pl.col("rank_weights_bytes").is_null(),
            pl.format(
                "the weight format {} is not known", pl.col("weight_format").fill_null("(none)")
            ),
        ),
        (
            ~pl.col("runs_format"),
            pl.format("{} does not run {} weights", "engine", "weight_format"),
        ),
        (
            pl.col("draft_model").is_not_null() & pl.col("draft_weights_bytes").is_null(),
            pl.format("the draft model {} is not known", pl.col("draft_model").fill_null("")),
        ),
        (
            pl.col("gpu_layers").is_not_null() & (pl.col("places_layers_by_count") == 0),
            pl.format("{} does not place layers by gpu_layers; use cpu_offload_gib", "engine"),
        ),
        (
            pl.col("cache_element_bytes").is_null(),
            pl.format("the KV cache type {} is not known", pl.col("kv_cache_dtype").fill_null("")),
        ),
    ).alias("unsupported_reason")


def impossible_reason() -> pl.Expr:
    """Why the layout can't exist, null where it can."""
    tp, pp = pl.col("tensor_parallel_size"), pl.col("pipeline_parallel_size")
    heads, layers = pl.col("most_heads"), pl.col("num_hidden_layers")
    return _first(
        (
            (heads > 0) & (heads % tp != 0),
            pl.format("{} attention heads are not divisible by tensor parallelism {}", heads, tp),
        ),
        (layers < pp, pl.format("{} layers are fewer than {} pipeline stages", layers, pp)),
    ).alias("impossible_reason")


def notes() -> pl.Expr:
    """The engine profile's note and what exceeds the model."""
    limit = pl.col("max_position_embeddings")
    beyond = pl.when(pl.col("context_tokens") > limit).then(
        pl.format("context beyond the model's {} positions", limit)
    )
    texts = pl.concat_list(pl.col("engine_note"), beyond.otherwise(None)).list.drop_nulls()
    return pl.when(texts.list.len() > 0).then(texts.list.join("; ")).otherwise(None).alias("note")
