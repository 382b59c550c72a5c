"""What the layers keep for the backward pass under each mode of activation checkpointing."""

from __future__ import annotations

import polars as pl


def kept_bytes(whole: pl.Expr, boundary: pl.Expr) -> pl.Expr:
    """Bytes of the micro-batch that one layer keeps.

    `whole` is everything that the layer saves without checkpointing, in bytes; `boundary` the
    residual stream between layers, in bytes a token. Full checkpointing keeps the boundary alone
    (exact on every checkpointed run of the training oracle).
    """
    tokens = pl.col("rank_tokens")
    mode = pl.col("gradient_checkpointing")
    selective = selective_saved() * tokens + pl.col("adapted_expert_bytes")
    return (
        pl.when(mode == "full")
        .then(boundary * tokens)
        .when(mode == "selective")
        .then(pl.min_horizontal(selective, whole))
        .otherwise(whole)
    )


def selective_saved() -> pl.Expr:
    """Selective checkpointing keeps matmul and attention outputs and recomputes what is cheap.

    Norm inputs and activation functions are recomputed; the outputs of every other linear are
    kept. Source: torchtitan's per-operator policy (every second matmul is saved).
    """
    linear = pl.col("compute") * (
        pl.col("query_width")
        + pl.col("key_width")
        + pl.col("value_width")
        + 2 * pl.col("inner")
        + pl.col("hidden")
    )
    kept = pl.col("stream") * pl.col("hidden") + 0.5 * linear
    flash = pl.col("compute") * pl.col("output_width") + 4.0 * pl.col("heads")
    return kept + flash
