"""Bytes that a feed-forward block saves for the backward pass and needs while it runs, per token.

Columns: `inner` (intermediate width on the rank), `activation` (bytes an element), `train`,
`product_shared` (1.0 where an adapter in the compute dtype keeps the last linear's input).
"""

from __future__ import annotations

import polars as pl

COMPOSED_STEPS = 4
"""Tensors of the inner width that gelu_new keeps: x, tanh, 0.5 x and 1 + tanh."""


def product_kept() -> pl.Expr:
    """1.0 where the input of the last linear is kept: it trains, or a 16-bit adapter shares it."""
    return pl.max_horizontal("train", "product_shared")


def saved_mlp() -> pl.Expr:
    """Gated: gate, activation, up and, where kept, their product; plain: input, then the product.

    Source: LlamaMLP, GPT2MLP of transformers; checked against the training oracle to the byte.
    """
    width = pl.col("activation") * pl.col("inner")
    steps = pl.when("composed_activation").then(float(COMPOSED_STEPS)).otherwise(1.0)
    tensors = pl.when(pl.col("mlp") == "gated").then(3.0).otherwise(steps)
    return pl.when(pl.col("inner") > 0).then(width * (tensors + product_kept())).otherwise(0.0)


def mlp_backward() -> pl.Expr:
    """Live bytes beyond the saved ones when the gated product is differentiated.

    The gradient of the product and of both factors, while the product itself is freed.
    """
    width = pl.col("activation") * pl.col("inner")
    return width * (3.0 - product_kept())


def saved_dropout() -> pl.Expr:
    """Masks of residual dropout, one byte an element, after attention and after the MLP."""
    return pl.when("residual_dropout").then(2.0 * pl.col("hidden")).otherwise(0.0)
