"""Money in sentences."""

from __future__ import annotations

import polars as pl


def usd_text(amount: pl.Expr) -> pl.Expr:
    """Dollars with both digits of the cents: `1.80`."""
    cents = (amount * 100).round(0).cast(pl.Int64)
    return pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
