"""From instance prices to what a cell costs: per hour, month, year and million tokens."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.offers import instances, with_host_needs, with_offers
from planner.units import HOURS_PER_YEAR, MONTHS_PER_YEAR, SECONDS_PER_HOUR

COMMITTED: Final = ("reserved-1y", "reserved-3y", "owned")
"""Ways of buying that are paid whether used or not."""
MILLION: Final = 1e6
_HOURS_OF_A_MONTH: Final = HOURS_PER_YEAR / MONTHS_PER_YEAR
"""What runs around the clock, or is paid whether used or not, takes of a month."""
_SERVING_INPUTS: Final = (
    "requests_per_second",
    "input_tokens_mean",
    "output_tokens_mean",
    "prefill_tokens_per_second",
    "prefix_cache_share",
    "pipeline_parallel_size",
    "data_parallel_size",
)


def with_cost(cells: pl.LazyFrame, *, hours_per_month: float) -> pl.LazyFrame:
    """Add hours paid, cost per month, year and million tokens.

    `paid_hours_per_month`, `usd_per_month`, `usd_per_year` (twelve months);
    `usd_per_million_tokens`: per output token of a serving replica at full use, per trained token
    of a run; `usd_per_million_input_tokens` and `usd_per_million_output_tokens`: the month's cost
    over the tokens of the demand, or of full use without one, split by the machine's time.

    Serving pays all hours of the month. Training with a demand pays the hours of its runs;
    without one its month is not known. Committed purchases pay every hour of the year.
    """
    trains = pl.col("method") != "inference"
    run_hours = training_hours_per_month()
    hours = (
        pl.when(trains & run_hours.is_null())
        .then(None)
        .when(is_committed())
        .then(_HOURS_OF_A_MONTH)
        .when(trains)
        .then(run_hours)
        .otherwise(hours_per_month)
    )
    per_hour_tokens = pl.col("tokens_per_second") * pl.col("replicas") * SECONDS_PER_HOUR
    present = cells.collect_schema().names()
    absent = [pl.lit(None, pl.Float64).alias(n) for n in _SERVING_INPUTS if n not in present]
    costed = (
        cells.with_columns(*absent)
        .with_columns(
            paid_hours_per_month=hours,
            usd_per_million_tokens=pl.col("usd_per_hour") / per_hour_tokens * MILLION,
        )
        .with_columns(usd_per_month=pl.col("usd_per_hour") * pl.col("paid_hours_per_month"))
    )
    requests = requests_per_month(hours_per_month)
    per_request = pl.when(~trains).then(pl.col("usd_per_month") / requests * MILLION)
    reading = reading_share()
    return costed.with_columns(
        usd_per_year=pl.col("usd_per_month") * MONTHS_PER_YEAR,
        usd_per_million_input_tokens=per_request * reading / pl.col("input_tokens_mean"),
        usd_per_million_output_tokens=per_request * (1 - reading) / pl.col("output_tokens_mean"),
    ).drop(name for name in _SERVING_INPUTS if name not in present)


def is_committed() -> pl.Expr:
    """Whether the purchase is paid in every hour of the year."""
    return pl.col("purchase").is_in(list(COMMITTED))


def requests_per_month(hours_per_month: float) -> pl.Expr:
    """Requests of the mean load in a month, or what the replicas answer at full use."""
    at_full_use = pl.col("tokens_per_second") * pl.col("replicas") / pl.col("output_tokens_mean")
    rate = pl.coalesce("requests_per_second", at_full_use)
    return rate * SECONDS_PER_HOUR * hours_per_month


def reading_share() -> pl.Expr:
    """Share of a replica's time that goes into prompts: prompt seconds over seconds a request.

    A request takes output tokens / tokens per second of a full replica. Its prompt takes input
    tokens, without those in the prefix cache, / prefill tokens per second; pipeline stages and
    data-parallel groups work on prompts of their own meanwhile. Input and output prices so split
    add up to the whole cost.
    """
    fresh = pl.col("input_tokens_mean") * (1 - pl.col("prefix_cache_share").fill_null(0.0))
    at_once = pl.col("pipeline_parallel_size").fill_null(1) * pl.col(
        "data_parallel_size"
    ).fill_null(1)
    prompt = fresh / pl.col("prefill_tokens_per_second") / at_once
    request = pl.col("output_tokens_mean") / pl.col("tokens_per_second")
    return (prompt / request).clip(0.0, 1.0)


def training_hours_per_month() -> pl.Expr:
    """Hours of a month in which a machine trains: those of all runs over the runs at once."""
    return run_hours_per_month() / pl.col("replicas")


def run_hours_per_month() -> pl.Expr:
    """Hours of all runs of a month: tokens x epochs x runs over tokens per second."""
    tokens = pl.col("training_tokens") * pl.col("epochs") * pl.col("runs_per_month")
    return tokens / pl.col("tokens_per_second") / SECONDS_PER_HOUR


def runs_at_once() -> pl.Expr:
    """Runs that must go on at the same time, so that a month's runs end within a month.

    Training goes on around the clock, whatever hours of a month are served. Runs longer than a
    month overlap with those of the next one; 1 where no demand is known.
    """
    needed = (run_hours_per_month() / _HOURS_OF_A_MONTH).ceil()
    return pl.max_horizontal(needed.fill_null(1.0), 1.0).cast(pl.Int64, strict=False)


def price_age_days(as_of: str | None) -> pl.Expr:
    """Days from `price_date` to `as_of`; null where either is not known."""
    if as_of is None:
        return pl.lit(None, pl.Int64)
    date = pl.col("price_date").str.to_date("%Y-%m-%d", strict=False)
    return (pl.lit(as_of).str.to_date("%Y-%m-%d") - date).dt.total_days()


def break_even_hours(committed_usd_per_month: pl.Expr, usd_per_hour: pl.Expr) -> pl.Expr:
    """Hours a month from which a committed purchase is cheaper than paying by the hour."""
    return committed_usd_per_month / usd_per_hour


__all__ = [
    "COMMITTED",
    "break_even_hours",
    "instances",
    "is_committed",
    "price_age_days",
    "reading_share",
    "requests_per_month",
    "run_hours_per_month",
    "runs_at_once",
    "training_hours_per_month",
    "with_cost",
    "with_host_needs",
    "with_offers",
]
