"""The cheapest allowed cell of each case, the runners-up, and why the others lost.

Ties go to fewer GPUs, then to the faster layout, then to more free memory, then to the larger
host, then to the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.choose.front import with_front
from planner.choose.money import usd_text

CONFIGURATION: Final = ("gpu", "gpu_count")
TIE_BREAK: Final = (
    "gpu_count",
    "_seconds_per_token",
    "utilization",
    "_less_ram_gb",
    "_fewer_vcpus",
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
_SAID: Final = (
    "gpu_count", "_seconds_per_token", "utilization", "_less_ram_gb", "_fewer_vcpus",
)  # fmt: skip
_OPTIONAL: Final = {
    "offer_reason": pl.String,
    "offer_ram_gb": pl.Float64,
    "offer_vcpus": pl.Float64,
}
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be chosen. None: no limit."""

    allow_tight: bool = False
    max_usd_per_hour: float | None = None
    max_usd_per_month: float | None = None
    max_gpus: int | None = None


def with_choice(cells: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    """Add `price_state` (over-limit too), `is_eligible`, `rank_cost_usd`, `is_cheapest`,
    `is_tied`, `reason`, and the columns of `front.with_front`.

    `cell_index` must be a stored column: the frame is read twice, and an index that is counted
    anew over a join may count in another order.

    A cell is eligible when its verdict allows it, it is priced within the limits, and it meets
    the objectives. The cheapest of a case has rank 1 by cost and the tie-break; `is_tied` marks
    it and the others of the same cost, where there are others.
    """
    present = cells.collect_schema().names()
    absent = [name for name in _OPTIONAL if name not in present]
    decided = (
        cells.with_columns(pl.lit(None, _OPTIONAL[name]).alias(name) for name in absent)
        .with_columns(
            price_state=_price_state(limits),
            rank_cost_usd=rank_cost_usd(),
            _seconds_per_token=1 / pl.col("tokens_per_second"),
            _less_ram_gb=-pl.col("offer_ram_gb").fill_null(0.0),
            _fewer_vcpus=-pl.col("offer_vcpus").fill_null(0.0),
        )
        .with_columns(is_eligible=_eligible(limits))
    )
    eligible = decided.filter("is_eligible").select(
        "case_index", "cell_index", "rank_cost_usd", *TIE_BREAK
    )
    best = (
        eligible.filter(_is_least())
        .sort(["case_index", *TIE_BREAK, "cell_index"], nulls_last=True)
        .group_by("case_index")
        .agg(
            _cheapest=pl.col("cell_index").first(),
            _least_usd=pl.col("rank_cost_usd").first(),
            _tied=pl.len(),
            **{f"_least_{name.lstrip('_')}": pl.col(name).first() for name in _SAID},
        )
    )
    helpers = ("_cheapest", "_least_usd", "_tied", *(f"_least_{n.lstrip('_')}" for n in _SAID))
    same = same_cost(pl.col("rank_cost_usd"), pl.col("_least_usd"))
    return (
        decided.join(best, on="case_index", how="left", maintain_order="left")
        .with_columns(
            is_cheapest=(pl.col("cell_index") == pl.col("_cheapest")).fill_null(False),
            is_tied=(pl.col("is_eligible") & same & (pl.col("_tied") > 1)).fill_null(False),
        )
        .with_columns(reason=_reason(limits))
        .drop(helpers)
        .pipe(with_front, allowed_verdicts(limits))
    )


def _is_least() -> pl.Expr:
    return same_cost(pl.col("rank_cost_usd"), pl.col("rank_cost_usd").min().over("case_index"))


def same_cost(cost: pl.Expr, least: pl.Expr) -> pl.Expr:
    """Whether two costs differ by no more than rounding does."""
    return cost <= least * (1 + _ROUNDING)


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


def allowed_verdicts(limits: Limits) -> list[str]:
    """The verdicts that may be chosen."""
    return ["fits", "tight"] if limits.allow_tight else ["fits"]


def _eligible(limits: Limits) -> pl.Expr:
    return (
        pl.col("verdict").is_in(allowed_verdicts(limits))
        & (pl.col("price_state") == "priced")
        & pl.col("meets_objectives").fill_null(True)
    )


def _reason(limits: Limits) -> pl.Expr:
    """Why the cell is not the choice; empty for the choice itself.

    Texts that are the same for many cells come last and from numbers: putting every cell into
    words takes most of the time of a choice.
    """
    verdict, state = pl.col("verdict"), pl.col("price_state")
    same = same_cost(pl.col("rank_cost_usd"), pl.col("_least_usd"))
    loses = pl.col("is_eligible") & ~same
    dearer = pl.when(loses).then(pl.col("rank_cost_usd") - pl.col("_least_usd"))
    percent = dearer / pl.col("_least_usd") * 100
    monthly = pl.col("usd_per_month").is_not_null()
    tight = (verdict == "tight") & (not limits.allow_tight)
    fixed = (
        pl.when(state == "unpriced").then(_UNPRICED).when("is_eligible").then(_lost_tie())
    ).replace_strict(_FIXED, default=None, return_dtype=pl.String)
    return (
        pl.when("is_cheapest")
        .then(None)
        .when(tight)
        .then(pl.concat_str(pl.when(tight).then("memory_reason"), pl.lit("; allow_tight is off")))
        .when(~verdict.is_in(allowed_verdicts(limits)))
        .then("memory_reason")
        .when(~pl.col("meets_objectives").fill_null(True))
        .then("objective_reason")
        .when(state == "no-offer")
        .then(pl.coalesce("offer_reason", pl.lit("no instance on offer holds it")))
        .when(state == "over-limit")
        .then(_over_limit(limits))
        .when(loses)
        .then(
            pl.format(
                "dearer by {} USD per {} (+{} %)",
                usd_text(dearer),
                pl.when(monthly).then(pl.lit("month")).otherwise(pl.lit("hour")),
                percent.round(0).cast(pl.Int64),
            )
        )
        .otherwise(fixed)
    )


def _over_limit(limits: Limits) -> pl.Expr:
    """Which limits a cell breaks, with its own value and the limit."""
    said = []
    for column, limit, unit in (
        (pl.col("usd_per_hour"), limits.max_usd_per_hour, "USD per hour"),
        (pl.col("usd_per_month"), limits.max_usd_per_month, "USD per month"),
        (pl.col("gpu_count") * pl.col("replicas"), limits.max_gpus, "GPUs"),
    ):
        if limit is not None:
            value = column if unit == "GPUs" else usd_text(column)
            verb = "are" if unit == "GPUs" else "is"
            text = pl.format(f"{{}} {unit} {verb} above the limit of {limit:g}", value)
            said.append(pl.when(column > limit).then(text))
    return pl.concat_str(said, separator=", ", ignore_nulls=True) if said else pl.lit("")


_UNPRICED: Final = 0
_FIXED: Final = {
    _UNPRICED: "no price for this GPU in the supply",
    1: "same cost; lost the tie: more GPUs",
    2: "same cost; lost the tie: slower",
    3: "same cost; lost the tie: less free memory",
    4: "same cost; lost the tie: less host memory",
    5: "same cost; lost the tie: fewer vCPUs",
    6: "same cost; lost the tie: equal, later by name",
}
"""Reasons that need no number of the cell."""


def _lost_tie() -> pl.Expr:
    """The rule of the tie-break that decided between two cells of one cost, as in _FIXED."""
    chain = pl.when(False).then(_UNPRICED)
    for number, name in enumerate(_SAID, start=1):
        worse = pl.col(name) > pl.col(f"_least_{name.lstrip('_')}")
        chain = chain.when(worse).then(number)  # type: ignore[assignment]
    return chain.otherwise(len(_SAID) + 1)


def best_per_configuration(cells: pl.LazyFrame) -> pl.LazyFrame:
    """One row per case x GPU x count: its best layout and offer, what the fit matrix shows."""
    keys = ["case_index", *CONFIGURATION]
    rank = pl.col("verdict").replace_strict(_VERDICT_RANK, return_dtype=pl.Int64)
    step = (~pl.col("is_eligible")).cast(pl.Int64) * len(_VERDICT_RANK) + rank
    least = pl.col("rank_cost_usd").min().over(keys)
    return (
        # The few best of each are found first, so that only they are sorted by every rule.
        cells.with_columns(_step=step)
        .filter(pl.col("_step") == pl.col("_step").min().over(keys))
        .filter((pl.col("rank_cost_usd") == least) | least.is_null())
        .sort([*keys, *TIE_BREAK], nulls_last=True, maintain_order=True)
        .unique(keys, keep="first", maintain_order=True)
        .drop("_step")
    )


def ranked(
    cells: pl.LazyFrame, count: int = RUNNERS_UP + 1, *, within: float | None = None
) -> pl.LazyFrame:
    """The `count` best eligible cells of each case, at most one a configuration and provider.

    Adds `rank` (1 is the cheapest) and `surcharge_ratio` over the cheapest. `within` takes only
    cells that are dearer by at most this share.
    """
    keys = ["case_index", *CONFIGURATION, "provider", "purchase"]
    eligible = cells.filter("is_eligible")
    if within is not None:
        least = pl.col("rank_cost_usd").min().over("case_index")
        eligible = eligible.filter(same_cost(pl.col("rank_cost_usd"), least * (1 + within)))
    # Where the last wanted one lies is found first, so that only the cells up to it are sorted.
    last = (
        eligible.group_by(keys)
        .agg(pl.col("rank_cost_usd").min())
        .sort("case_index", "rank_cost_usd")
        .group_by("case_index", maintain_order=True)
        .agg(_last_usd=pl.col("rank_cost_usd").head(count).last())
    )
    cost = pl.col("rank_cost_usd")
    return (
        eligible.join(last, on="case_index", how="left", maintain_order="left")
        .filter(cost <= pl.col("_last_usd"))
        .sort(["case_index", "rank_cost_usd", *TIE_BREAK], nulls_last=True, maintain_order=True)
        .unique(keys, keep="first", maintain_order=True)
        .with_columns(
            rank=pl.col("cell_index").cum_count().over("case_index"),
            surcharge_ratio=cost / cost.first().over("case_index") - 1,
        )
        .filter(pl.col("rank") <= count)
        .drop("_last_usd")
    )


def bought_cases(cells: pl.LazyFrame) -> pl.LazyFrame:
    """`bought_key`, `case_index` of the cheapest case of every key that has a choice."""
    return (
        cells.filter("is_cheapest")
        .sort(["bought_key", "rank_cost_usd", "case_index"], nulls_last=True)
        .unique("bought_key", keep="first", maintain_order=True)
        .select("bought_key", "case_index")
    )
