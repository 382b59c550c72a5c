"""How well estimates agree with measurements, by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

ROW_COLUMNS: Final = ("id", "component", "measured", "low", "expected", "high", "unit", "reason")


def summary(rows: pl.DataFrame, by: Sequence[str] = ("engine", "component")) -> pl.DataFrame:
    """One line a group over the rows that have an estimate and are to be scored.

    `rows` has id, component, measured, low, expected, high, unit, reason, scored, card_gib and the
    columns of `by`. Adds: rows, unestimated, median / p95 / worst relative error, bias (median
    signed error), p95 absolute error (`p95_absolute`, in the unit), inside (share of rows in
    low..high), width (median of (high - low) / card, for GiB).
    """
    error = pl.col("expected") / pl.col("measured") - 1
    known = pl.col("expected").is_not_null()
    inside = pl.col("measured").is_between("low", "high")
    difference = (pl.col("expected") - pl.col("measured")).abs()
    return (
        rows.filter("scored")
        .with_columns(error=pl.when(pl.col("measured") != 0).then(error))
        .group_by(*by, maintain_order=True)
        .agg(
            known.sum().alias("rows"),
            (~known).sum().alias("unestimated"),
            pl.col("error").abs().median().alias("median_error"),
            pl.col("error").abs().quantile(0.95, "linear").alias("p95_error"),
            pl.col("error").abs().max().alias("worst_error"),
            pl.col("error").median().alias("bias"),
            difference.quantile(0.95, "linear").alias("p95_absolute"),
            inside.filter(known).mean().alias("inside"),
            ((pl.col("high") - pl.col("low")) / pl.col("card_gib"))
            .filter(pl.col("unit") == "gib")
            .median()
            .alias("width"),
        )
        .sort(*by)
    )


def confusion(rows: pl.DataFrame) -> dict[str, int]:
    """Verdicts on measured totals: what was said about the card, and that the run did run.

    A measured run ran, so `exceeds` is wrong for it; `fits` is wrong where the measured total lies
    above the card.
    """
    totals = rows.filter(
        pl.col("scored")
        & pl.col("component").is_in(["total_gib", "allocated", "reserved", "process", "device"])
        & pl.col("expected").is_not_null()
        & pl.col("card_gib").is_not_null()
    )
    fits = pl.col("high") <= pl.col("card_gib")
    exceeds = pl.col("expected") > pl.col("card_gib")
    ran = pl.col("measured") <= pl.col("card_gib")
    counts = totals.select(
        (fits & ran).sum().alias("fits_and_ran"),
        (~fits & ~exceeds & ran).sum().alias("tight_and_ran"),
        (exceeds & ran).sum().alias("exceeds_but_ran"),
        (fits & ~ran).sum().alias("fits_but_above_card"),
        (~fits & ~ran).sum().alias("warned_and_above_card"),
    )
    return {name: int(counts[name][0]) for name in counts.columns}


_HEADINGS: Final = {
    "rows": "rows",
    "unestimated": "none",
    "median_error": "median",
    "p95_error": "p95",
    "worst_error": "worst",
    "bias": "bias",
    "inside": "in range",
    "width": "width/card",
}


def summary_text(lines: pl.DataFrame, by: Sequence[str]) -> list[str]:
    """A summary as aligned text: one line a group, shares in percent."""
    table = [[*by, *_HEADINGS.values()]]
    for line in lines.to_dicts():
        counts = [str(line["rows"]), str(line["unestimated"])]
        shares = [_percent(line[name]) for name in _HEADINGS if name not in ("rows", "unestimated")]
        table.append([*(str(line[name] or "-") for name in by), *counts, *shares])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    names = len(by)
    return [
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"
