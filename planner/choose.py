"""Choosing: the cheapest allowed cell of each case, the runners-up, and why the others lost.

Pure: frames in, frames out. Ties go to fewer GPUs, then to the faster layout, then to
more free memory, then to the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

CONFIGURATION: Final = ("gpu", "gpu_count")
_TIE_BREAK: Final = (
    "gpu_count",
    "_seconds_per_token",
    "utilization",
    "gpu",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "context_parallel_size",
    "sharding",
    "provider",
    "purchase",
    "instance_type",
)
_VERDICT_RANK: Final = {"fits": 0, "tight": 1, "exceeds": 2, "unsupported": 3, "impossible": 4}
RUNNERS_UP: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be chosen. None: no limit."""

    allow_tight: bool = False
    max_usd_per_hour: float | None = None
    max_usd_per_month: float | None = None
    max_gpus: int | None = None


def with_choice(cells: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    """Add `price_state` (over-limit too), `is_eligible`, `rank_cost_usd`, `is_cheapest`, `reason`.

    A cell is eligible when its verdict allows it, it is priced within the limits, and it meets
    the objectives. The cheapest of a case has rank 1 by cost and the tie-break.
    """
    decided = cells.with_columns(
        price_state=_price_state(limits),
        rank_cost_usd=rank_cost_usd(),
        _seconds_per_token=1 / pl.col("tokens_per_second"),
    ).with_columns(is_eligible=_eligible(limits))
    best = (
        decided.filter("is_eligible")
        .sort(["case_index", "rank_cost_usd", *_TIE_BREAK], nulls_last=True, maintain_order=True)
        .group_by("case_index", maintain_order=True)
        .agg(
            pl.col("cell_index").first().alias("_cheapest"),
            pl.col("rank_cost_usd").first().alias("_least_usd"),
            pl.col("usd_per_hour").first().alias("_least_usd_per_hour"),
        )
    )
    return (
        decided.join(best, on="case_index", how="left", maintain_order="left")
        .with_columns(
            is_cheapest=(pl.col("cell_index") == pl.col("_cheapest")).fill_null(False),
        )
        .with_columns(reason=_reason(limits))
        .drop("_cheapest", "_least_usd", "_least_usd_per_hour")
    )


def rank_cost_usd() -> pl.Expr:
    """What cells of a case are compared by: USD per month, or per hour where no month is known."""
    return pl.coalesce("usd_per_month", "usd_per_hour")


def _price_state(limits: Limits) -> pl.Expr:
    over = pl.lit(False)
    if limits.max_usd_per_hour is not None:
        over = over | (pl.col("usd_per_hour") > limits.max_usd_per_hour)
    if limits.max_usd_per_month is not None:
        over = over | (pl.col("usd_per_month") > limits.max_usd_per_month).fill_null(False)
    if limits.max_gpus is not None:
        over = over | (pl.col("gpu_count") * pl.col("replicas") > limits.max_gpus)
    priced = pl.col("price_state") == "priced"
    return pl.when(priced & over).then(pl.lit("over-limit")).otherwise(pl.col("price_state"))


def _eligible(limits: Limits) -> pl.Expr:
    verdicts = ["fits", "tight"] if limits.allow_tight else ["fits"]
    return (
        pl.col("verdict").is_in(verdicts)
        & (pl.col("price_state") == "priced")
        & pl.col("meets_objectives").fill_null(True)
    )


def _reason(limits: Limits) -> pl.Expr:
    """Why the cell is not the choice; empty for the choice itself."""
    verdict, state = pl.col("verdict"), pl.col("price_state")
    dearer = pl.col("rank_cost_usd") - pl.col("_least_usd")
    percent = dearer / pl.col("_least_usd") * 100
    per = (
        pl.when(pl.col("usd_per_month").is_not_null())
        .then(pl.lit("month"))
        .otherwise(pl.lit("hour"))
    )
    tight = pl.lit("; allow_tight is off") if not limits.allow_tight else pl.lit("")
    return (
        pl.when("is_cheapest")
        .then(None)
        .when(verdict == "tight")
        .then(pl.concat_str(pl.col("memory_reason"), tight))
        .when(verdict != "fits")
        .then(pl.col("memory_reason"))
        .when(~pl.col("meets_objectives").fill_null(True))
        .then(pl.col("objective_reason"))
        .when(state == "unpriced")
        .then(pl.lit("no price for this GPU in the supply"))
        .when(state == "no-offer")
        .then(pl.format("no instance on offer holds {} GPUs of it", pl.col("gpu_count")))
        .when(state == "over-limit")
        .then(pl.lit("above the scenario's limits"))
        .when(dearer > 0)
        .then(
            pl.format(
                "dearer by {} USD per {} (+{} %)",
                dearer.round(2),
                per,
                percent.round(0).cast(pl.Int64),
            )
        )
        .when(pl.col("_least_usd").is_not_null())
        .then(pl.lit("same cost; lost the tie (fewer GPUs, faster, more free memory, name)"))
    )


def best_per_configuration(cells: pl.LazyFrame) -> pl.LazyFrame:
    """One row per case x GPU x count: its best layout and offer, what the fit matrix shows."""
    rank = pl.col("verdict").replace_strict(_VERDICT_RANK, return_dtype=pl.Int64)
    order = ["case_index", *CONFIGURATION, "_not_eligible", "_rank", "rank_cost_usd", *_TIE_BREAK]
    return (
        cells.with_columns(_rank=rank, _not_eligible=~pl.col("is_eligible"))
        .sort(order, nulls_last=True, maintain_order=True)
        .unique(["case_index", *CONFIGURATION], keep="first", maintain_order=True)
        .drop("_rank", "_not_eligible")
    )


def ranked(cells: pl.LazyFrame, count: int = RUNNERS_UP + 1) -> pl.LazyFrame:
    """The `count` best eligible cells of each case, at most one a configuration and provider.

    Adds `rank` (1 is the cheapest).
    """
    order = ["case_index", "rank_cost_usd", *_TIE_BREAK]
    return (
        cells.filter("is_eligible")
        .sort(order, nulls_last=True, maintain_order=True)
        .unique(
            ["case_index", *CONFIGURATION, "provider", "purchase"],
            keep="first",
            maintain_order=True,
        )
        .with_columns(rank=pl.col("cell_index").cum_count().over("case_index"))
        .filter(pl.col("rank") <= count)
    )


def bought_cases(cells: pl.LazyFrame) -> pl.LazyFrame:
    """`bought_key`, `case_index` of the cheapest case of every key that has a choice."""
    return (
        cells.filter("is_cheapest")
        .sort(["bought_key", "rank_cost_usd", "case_index"], nulls_last=True)
        .unique("bought_key", keep="first", maintain_order=True)
        .select("bought_key", "case_index")
    )
