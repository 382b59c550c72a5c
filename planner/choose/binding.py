"""What stands in the way of a cheaper choice: the constraint that binds each case.

A constraint binds if relaxing it alone would let a cheaper cell win. A near relaxation (at most a
quarter) counts before a far one; among near ones the largest saving, among far ones the nearest.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.choose.choice import Limits, rank_cost_usd
from planner.choose.money import usd_text

NEAR: Final = 1.25
"""Excess over a constraint that is still called near: a quarter."""
CONSTRAINTS: Final = (
    "memory",
    "bandwidth",
    "objective",
    "budget",
    "shape granularity",
    "price",
    "support",
    "none",
)
_TIMES: Final = ("time_per_output_token_ms", "time_to_first_token_ms", "end_to_end_ms")
_NEEDED: Final = (*_TIMES, *(f"objective_{name}" for name in _TIMES), "instances")
_NEEDED_BYTES: Final = ("total_bytes", "total_high_bytes", "budget_bytes")
_ESTIMATED: Final = ("fits", "tight", "exceeds")
_BUSY: Final = "the runs of a month keep busy {} of the cheapest machine"
_UNBOUND: Final = {"unbound_replicas": pl.Int64, "unbound_meets_objectives": pl.Boolean}


def relaxations(cells: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    """Per case and constraint the cheapest cell that only this constraint keeps from winning.

    Needs the columns of `with_choice`. Gives case_index, constraint, cell_index, `excess` (1.3:
    30 % over), `saving_usd` (over the choice, in its own unit of cost; null where there is no
    choice).
    """
    work = _with_needed(cells)
    chosen = work.filter("is_cheapest").select(
        "case_index",
        _chosen_usd=rank_cost_usd(),
        _chosen_replicas=pl.col("replicas"),
        _chosen_has_month=pl.col("usd_per_month").is_not_null(),
    )
    stopped = (
        work.filter(~pl.col("is_eligible"))
        .with_columns(_misses=~pl.col("meets_objectives").fill_null(True))
        .with_columns(constraint=_stopped_by())
        .with_columns(excess=_excess(limits))
        .filter(pl.col("constraint").is_not_null())
        .join(chosen, on="case_index", how="left")
        .with_columns(_times=times_replicas())
        .filter((pl.col("constraint") != "memory") | _within(limits))
        .filter(_in_one_unit())
        .with_columns(rank_cost_usd=pl.col("rank_cost_usd") * pl.col("_times"))
        .with_columns(saving_usd=pl.col("_chosen_usd") - pl.col("rank_cost_usd"))
        .filter(pl.col("_chosen_usd").is_null() | (pl.col("saving_usd") > 0))
    )
    columns = ("case_index", "constraint", "cell_index", "excess", "saving_usd")
    near = pl.col("excess") <= NEAR
    found = (
        stopped.with_columns(_far=~near.fill_null(False))
        .with_columns(_by=pl.when("_far").then("excess").otherwise("rank_cost_usd"))
        .sort("case_index", "constraint", "_far", "_by", "cell_index", nulls_last=True)
        .unique(["case_index", "constraint"], keep="first", maintain_order=True)
        .select(columns)
    )
    return pl.concat([found, _granularity(work).select(columns)])


def binding_constraints(cells: pl.LazyFrame, limits: Limits) -> pl.LazyFrame:
    """One row a case: case_index, `binding_constraint` of CONSTRAINTS, cell_index, excess,
    saving_usd, and `binding_reason` in words.
    """
    far = ~(pl.col("excess") <= NEAR).fill_null(False)
    best = (
        relaxations(cells, limits)
        .with_columns(_far=far, _by=pl.when(far).then("excess").otherwise(-pl.col("saving_usd")))
        .sort("case_index", "_far", "_by", "constraint", nulls_last=True)
        .unique("case_index", keep="first", maintain_order=True)
        .drop("_far", "_by")
    )
    work = _with_needed(cells)
    cases = work.group_by("case_index", maintain_order=True).agg(
        _chosen=pl.col("is_cheapest").any(),
        _chosen_replicas=pl.col("replicas").filter("is_cheapest").first(),
        _serves=(pl.col("method") == "inference").first(),
        _runs=pl.col("verdict").is_in(_ESTIMATED).any(),
    )
    other = work.select(
        "cell_index", "offer_gpu_count", "replicas", "gpu", "gpu_count", "provider",
        "memory_reason", "objective_reason", "price_state", "usd_per_hour", "offer_reason",
        "unbound_replicas",
    )  # fmt: skip
    return (
        cases.join(best, on="case_index", how="left", maintain_order="left")
        .join(other, on="cell_index", how="left", maintain_order="left")
        .with_columns(
            binding_constraint=pl.coalesce(
                "constraint",
                pl.when("_chosen")
                .then(pl.when(pl.col("_chosen_replicas") > 1).then(pl.lit("bandwidth")))
                .otherwise(pl.lit("support")),
                pl.lit("none"),
            )
        )
        .with_columns(usd_per_hour=pl.col("usd_per_hour") * times_replicas())
        .with_columns(
            replicas=pl.when(pl.col("constraint") == "memory")
            .then(pl.max_horizontal("replicas", _wanted_replicas()))
            .otherwise("replicas")
        )
        .with_columns(binding_reason=_words())
        .select(
            "case_index", "binding_constraint", "cell_index", "excess", "saving_usd",
            "binding_reason",
        )
    )  # fmt: skip


def _wanted_replicas() -> pl.Expr:
    """Replicas that carry the load: as estimated without a limit of memory, else as the choice."""
    return pl.coalesce("unbound_replicas", "_chosen_replicas")


def times_replicas() -> pl.Expr:
    """Factor on the cost of a cell that does not fit, so that it carries the load.

    What does not fit is priced as one replica.
    """
    wanted, has = _wanted_replicas(), pl.col("replicas")
    held = pl.max_horizontal(pl.col("offer_gpu_count") // pl.col("gpu_count"), 1)
    instances = (wanted / held).ceil() / (has / held).ceil()
    short = (pl.col("constraint") == "memory") & (has < wanted)
    return pl.when(short).then(instances).otherwise(1.0)


def _in_one_unit() -> pl.Expr:
    """Whether a cell's cost is a month's where the choice's is: hours say nothing of a month.

    A training run that does not fit has no speed, so that nobody knows how long it would be paid.
    """
    has_month = pl.col("usd_per_month").is_not_null()
    return (pl.col("_chosen_has_month") == has_month).fill_null(True)


def _within(limits: Limits) -> pl.Expr:
    """Whether a cell that does not fit would be within the limits, with all replicas."""
    kept = [pl.lit(True)]
    for name, limit in (
        ("usd_per_hour", limits.max_usd_per_hour),
        ("usd_per_month", limits.max_usd_per_month),
    ):
        if limit is not None:
            kept.append((pl.col(name) * pl.col("_times") <= limit).fill_null(True))
    if limits.max_gpus is not None:
        gpus = pl.col("gpu_count") * _wanted_replicas()
        kept.append((gpus <= limits.max_gpus).fill_null(True))
    return pl.all_horizontal(kept)


def _with_needed(cells: pl.LazyFrame) -> pl.LazyFrame:
    present = cells.collect_schema().names()
    absent = [name for name in (*_NEEDED, *_NEEDED_BYTES) if name not in present]
    return cells.with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in absent),
        *(pl.lit(None, kind).alias(n) for n, kind in _UNBOUND.items() if n not in present),
    )


def _stopped_by() -> pl.Expr:
    """The one constraint that stops a cell; null where several do, or none that can be relaxed."""
    verdict, state = pl.col("verdict"), pl.col("price_state")
    short = verdict.is_in(["exceeds", "tight"])
    fits, misses = verdict == "fits", pl.col("_misses")
    would_meet = pl.col("unbound_meets_objectives").fill_null(True)
    token = pl.col("time_per_output_token_ms") > pl.col("objective_time_per_output_token_ms")
    return (
        pl.when(short & (state == "priced") & ~misses & would_meet)
        .then(pl.lit("memory"))
        .when(fits & (state == "priced") & misses)
        .then(pl.when(token.fill_null(False)).then(pl.lit("bandwidth")).otherwise(
            pl.lit("objective")
        ))
        .when(fits & (state == "over-limit") & ~misses)
        .then(pl.lit("budget"))
        .when(fits & (state == "no-offer") & ~misses)
        .then(pl.lit("shape granularity"))
        .when(fits & (state == "unpriced") & ~misses)
        .then(pl.lit("price"))
    )  # fmt: skip


def _excess(limits: Limits) -> pl.Expr:
    """How far over the constraint a cell is, as a ratio; null where that is no quantity."""
    tight = pl.col("total_high_bytes") / pl.col("budget_bytes")
    short = pl.col("total_bytes") / pl.col("budget_bytes")
    slow = pl.max_horizontal(pl.col(name) / pl.col(f"objective_{name}") for name in _TIMES)
    over = [
        pl.col(name) / limit
        for name, limit in (
            ("usd_per_hour", limits.max_usd_per_hour),
            ("usd_per_month", limits.max_usd_per_month),
        )
        if limit is not None
    ]
    gpus = pl.col("gpu_count") * pl.col("replicas")
    if limits.max_gpus is not None:
        over.append(gpus / limits.max_gpus)
    budget = pl.max_horizontal(over) if over else pl.lit(None, pl.Float64)
    constraint = pl.col("constraint")
    return (
        pl.when(constraint == "memory")
        .then(pl.when(pl.col("verdict") == "tight").then(tight).otherwise(short))
        .when(constraint.is_in(["bandwidth", "objective"]))
        .then(slow)
        .when(constraint == "budget")
        .then(budget)
    )


def _granularity(work: pl.LazyFrame) -> pl.LazyFrame:
    """The choice itself where it pays for GPUs that no replica uses."""
    used = pl.col("gpu_count") * pl.col("replicas")
    paid = pl.col("instances") * pl.col("offer_gpu_count")
    return (
        work.filter("is_cheapest")
        .with_columns(excess=(paid / used).cast(pl.Float64))
        .filter(pl.col("excess") > 1)
        .with_columns(
            constraint=pl.lit("shape granularity"),
            saving_usd=pl.col("rank_cost_usd") * (1 - 1 / pl.col("excess")),
        )
    )


def _words() -> pl.Expr:
    machine = pl.format(
        "{}× {} from {} at {} USD per hour",
        "gpu_count", "gpu", "provider", usd_text(pl.col("usd_per_hour")),
    )  # fmt: skip
    several = pl.when(pl.col("replicas") > 1).then(pl.format("{} replicas of ", "replicas"))
    offer = pl.concat_str(several, machine, ignore_nulls=True)
    kind = pl.col("binding_constraint")
    chosen = pl.col("_chosen")
    cheaper = pl.when(chosen).then(pl.lit("would be cheaper, but: ")).otherwise(pl.lit("comes "
        "nearest, but: "))  # fmt: skip
    return (
        pl.when(kind == "memory")
        .then(pl.concat_str(offer, pl.lit(" "), cheaper, pl.col("memory_reason")))
        .when(pl.col("objective_reason").is_not_null() & kind.is_in(["bandwidth", "objective"]))
        .then(pl.concat_str(offer, pl.lit(" "), cheaper, pl.col("objective_reason")))
        .when((kind == "bandwidth") & pl.col("_serves"))
        .then(pl.format("the load needs {} replicas of the cheapest machine", "_chosen_replicas"))
        .when(kind == "bandwidth")
        .then(pl.format(_BUSY, "_chosen_replicas"))
        .when(kind == "budget")
        .then(pl.concat_str(offer, pl.lit(" is above the scenario's limits")))
        .when((kind == "shape granularity") & chosen & (pl.col("price_state") == "priced"))
        .then(
            pl.format(
                "{} pays for {} times the GPUs that the replicas use",
                offer, pl.col("excess").round(2),
            )
        )
        .when(kind == "shape granularity")
        .then(pl.format("{}× {} would do, but: {}", "gpu_count", "gpu", "offer_reason"))
        .when(kind == "price")
        .then(pl.format("{}× {} would do, but has no price here", "gpu_count", "gpu"))
        .when((kind == "support") & pl.col("_runs"))
        .then(pl.lit("no single change is enough: several constraints stand in the way"))
        .when(kind == "support")
        .then(pl.lit("no configuration can run it"))
        .otherwise(pl.lit("nothing stands in the way of a cheaper machine: none is on offer"))
    )  # fmt: skip
