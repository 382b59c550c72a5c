"""Money in sentences."""

from __future__ import annotations

import polars as pl


def usd_text(amount: pl.Expr) -> pl.Expr:
    """Dollars with both digits of the cents: `1.80`."""
    return amount.round(2).cast(pl.Decimal(38, 2)).cast(pl.String)
