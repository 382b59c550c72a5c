"""From how many hours a month a committed purchase beats paying by the hour."""

from __future__ import annotations

import polars as pl

from planner.estimate.cost import break_even_hours, is_committed
from planner.units import HOURS_PER_YEAR

_MONTH_HOURS = HOURS_PER_YEAR / 12


def break_even(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Per case, way of committing and way of paying by the hour: where they cost the same.

    Compares the cheapest eligible cell of each. Needs the columns of `with_choice`. Gives
    case_index, committed and hourly (purchases), committed_cell and hourly_cell (cell_index),
    committed_usd_per_month, hourly_usd_per_hour, `break_even_hours_per_month`,
    `break_even_share` of all hours, paid_hours_per_month of the hourly one, `committed_wins`, and
    `break_even_months`: after which a bought machine has paid for itself (null: rented, or never).
    """
    eligible = cells.filter("is_eligible").sort(
        "case_index", "purchase", "rank_cost_usd", "cell_index", nulls_last=True
    )
    best = eligible.unique(["case_index", "purchase"], keep="first", maintain_order=True)
    bought = _or_null(best, ("purchase_usd", "running_usd_per_hour"))
    committed = bought.filter(is_committed()).select(
        "case_index",
        committed="purchase",
        committed_cell="cell_index",
        committed_usd_per_month=pl.col("usd_per_hour") * _MONTH_HOURS,
        _price=pl.col("purchase_usd") * pl.col("instances"),
        _running=pl.col("running_usd_per_hour") * pl.col("instances") * _MONTH_HOURS,
    )
    hourly = best.filter(~is_committed()).select(
        "case_index",
        "paid_hours_per_month",
        hourly="purchase",
        hourly_cell="cell_index",
        hourly_usd_per_hour="usd_per_hour",
    )
    hours = break_even_hours(pl.col("committed_usd_per_month"), pl.col("hourly_usd_per_hour"))
    rent = pl.col("hourly_usd_per_hour") * pl.col("paid_hours_per_month")
    saved = rent - pl.col("_running")
    return (
        committed.join(hourly, on="case_index", how="inner")
        .with_columns(break_even_hours_per_month=hours)
        .with_columns(
            break_even_share=pl.col("break_even_hours_per_month") / _MONTH_HOURS,
            committed_wins=pl.col("break_even_hours_per_month") < pl.col("paid_hours_per_month"),
            break_even_months=pl.when(saved > 0).then(pl.col("_price") / saved),
        )
        .sort("case_index", "committed", "hourly")
        .drop("_price", "_running")
    )


def _or_null(cells: pl.LazyFrame, names: tuple[str, ...]) -> pl.LazyFrame:
    present = cells.collect_schema().names()
    return cells.with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in names if name not in present
    )
