"""Gradients of one rank, by the moment of the step at which they are counted.

Columns: `trained_parameters` (on the rank before data-parallel sharding), `gradient_shards`
(ranks that share them), `gradient_element_bytes`.
"""

from __future__ import annotations

import polars as pl


def kept_gradients() -> pl.Expr:
    """All gradients, as they are kept between backward pass and step.

    An optimizer that steps inside the backward pass keeps none.
    """
    kept = (
        pl.col("trained_parameters") / pl.col("gradient_shards") * pl.col("gradient_element_bytes")
    )
    return pl.when("optimizer_in_backward").then(0.0).otherwise(kept)


def unsharded_gradients() -> pl.Expr:
    """Gradients of the layer being differentiated before they are reduced onto their shards."""
    layer = pl.col("largest_layer_trained") * pl.col("gradient_element_bytes")
    shared = (pl.col("gradient_shards") > 1) | pl.col("optimizer_in_backward")
    return pl.when(shared).then(layer).otherwise(0.0)


def alive_from_start() -> pl.Expr:
    """Gradients that exist while the loss is computed: those of earlier micro-batches."""
    return pl.when(pl.col("gradient_accumulation_steps") > 1).then("gradients_kept").otherwise(0.0)


def head_gradient() -> pl.Expr:
    """Gradient of the head's weight, the first one that the backward pass makes."""
    head = pl.col("head_parameters") * pl.col("gradient_element_bytes")
    share = (
        pl.when(pl.col("gradient_shards") > 1).then(1.0 / pl.col("gradient_shards")).otherwise(1.0)
    )
    return (
        pl.when(pl.col("is_full") & ~pl.col("optimizer_in_backward"))
        .then(head * share)
        .otherwise(0.0)
    )
