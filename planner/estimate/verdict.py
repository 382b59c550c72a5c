"""From bytes to a verdict: does the peak stay below what the card may give?"""

from __future__ import annotations

import polars as pl

from planner.units import BYTES_PER_GIB


def with_verdict(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Add `verdict`, `memory_reason` and `utilization` (expected total over usable memory).

    `fits` (high <= budget), `tight` (expected <= budget < high), `exceeds` (expected > budget),
    `impossible` and `unsupported` where a reason says so. Needs total_low_bytes, total_bytes,
    total_high_bytes, budget_bytes, usable_bytes, unsupported_reason, impossible_reason.
    """
    total, high, budget = pl.col("total_bytes"), pl.col("total_high_bytes"), pl.col("budget_bytes")
    verdict = (
        pl.when(pl.col("impossible_reason").is_not_null())
        .then(pl.lit("impossible"))
        .when(pl.col("unsupported_reason").is_not_null())
        .then(pl.lit("unsupported"))
        .when(total.is_null() | total.is_nan() | budget.is_null())
        .then(pl.lit("unsupported"))
        .when(high <= budget)
        .then(pl.lit("fits"))
        .when(total <= budget)
        .then(pl.lit("tight"))
        .otherwise(pl.lit("exceeds"))
    )
    return cells.with_columns(
        verdict=verdict, utilization=total / pl.col("usable_bytes")
    ).with_columns(memory_reason=_memory_reason())


def _memory_reason() -> pl.Expr:
    verdict = pl.col("verdict")
    over_gib = (pl.col("total_bytes") - pl.col("budget_bytes")) / BYTES_PER_GIB
    high_gib = (pl.col("total_high_bytes") - pl.col("budget_bytes")) / BYTES_PER_GIB
    needs = pl.col("total_bytes") / pl.col("budget_bytes")
    return (
        pl.when(verdict == "impossible")
        .then(pl.col("impossible_reason"))
        .when(verdict == "unsupported")
        .then(pl.coalesce("unsupported_reason", pl.lit("no estimate for this combination")))
        .when(verdict == "exceeds")
        .then(
            pl.format(
                "{} GiB above the budget: needs {}x",
                over_gib.round(2),
                ((needs * 100).ceil() / 100).round(2),
            )
        )
        .when(verdict == "tight")
        .then(pl.format("fits as expected, but up to {} GiB short", high_gib.round(2)))
    )
