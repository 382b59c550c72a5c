"""Reasons of the choice for the plan: what binds, what is close, what would change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from planner.choose import (
    binding_constraints,
    break_even,
    close_runners_up,
    growth_flips,
    price_flips,
)
from planner.pipeline.context import Context
from planner.pipeline.decide import choice_limits, supply_shapes
from planner.pipeline.outcomes import offer_label
from planner.plan import Alternative, BreakEven, Flip, PlanChoice

SHOWN_CASES: Final = 200
"""Up to this many cases are explained each; above it the bought ones only."""
MOST_CASES: Final = 1000
"""Of more bought cases the dearest: what a growing load does is estimated anew for each."""
SHOWN_ALTERNATIVES: Final = 12
CLOSE_SHARE: Final = 0.10
_ROUNDING: Final = 1e-9
Rows = Mapping[int, list[dict[str, Any]]]


def plan_choices(
    context: Context, cells: pl.DataFrame, bought: Iterable[int]
) -> tuple[PlanChoice, ...]:
    """One entry for each case that is explained, in the order of the cases."""
    wanted = _explained(cells, bought)
    explained = cells.filter(pl.col("case_index").is_in(wanted.implode()))
    work = explained.with_columns(label=offer_label())
    lazy, limits = work.lazy(), choice_limits(context)
    binding = _by_case(binding_constraints(lazy, limits))
    close = _by_case(close_runners_up(lazy, CLOSE_SHARE))
    front = _by_case(lazy.filter("is_pareto").sort("case_index", "rank_cost_usd"))
    tied = dict(work.filter("is_tied").group_by("case_index").agg(pl.len()).iter_rows())
    even = _by_case(break_even(lazy))
    chosen = dict(work.filter("is_cheapest").select("case_index", "rank_cost_usd").iter_rows())
    labels = dict(work.select("cell_index", "label").iter_rows())
    flips = _flips(context, work, labels)
    return tuple(
        PlanChoice(
            case=case,
            binding=binding[case][0]["binding_constraint"],
            binding_sentence=binding[case][0]["binding_reason"],
            saving_usd=_rounded(binding[case][0]["saving_usd"], 2),
            tied=tied.get(case, 0),
            close_runners_up=_alternatives(close.get(case, []), chosen.get(case)),
            front=_alternatives(front.get(case, []), chosen.get(case)),
            flips=tuple(flips.get(case, [])),
            break_even=tuple(_break_even(row, labels) for row in even.get(case, [])),
        )
        for case in wanted.to_list()
    )


def _explained(cells: pl.DataFrame, bought: Iterable[int]) -> pl.Series:
    cases = cells["case_index"].unique().sort()
    if len(cases) <= SHOWN_CASES:
        return cases
    chosen = cells.filter("is_cheapest").select("case_index", "rank_cost_usd")
    listed = chosen.filter(pl.col("case_index").is_in(list(bought)))
    dearest = listed.sort("rank_cost_usd", "case_index", descending=[True, False])
    return dearest.head(MOST_CASES)["case_index"].sort()


def _by_case(frame: pl.LazyFrame) -> Rows:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in frame.collect(engine="in-memory").iter_rows(named=True):
        found.setdefault(row["case_index"], []).append(row)
    return found


def _alternatives(rows: list[dict[str, Any]], least: float | None) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(
            label=row["label"],
            usd_per_hour=round(row["usd_per_hour"], 4),
            usd_per_month=_rounded(row["usd_per_month"], 2),
            latency_ms=_rounded(row["latency_ms"], 3),
            surcharge_ratio=_rounded(row["rank_cost_usd"] / least - 1, 4) if least else None,
        )
        for row in rows[:SHOWN_ALTERNATIVES]
    )


def _flips(
    context: Context, work: pl.DataFrame, labels: Mapping[int, str]
) -> dict[int, list[Flip]]:
    found: dict[int, list[Flip]] = {}
    for row in price_flips(work.lazy()).collect(engine="in-memory").iter_rows(named=True):
        rise, fall = row["rise_ratio"], row["fall_ratio"]
        sentence = f"{labels[row['other_cell']]} costs the same"
        if rise > _ROUNDING:
            sentence = (
                f"{labels[row['other_cell']]} wins if the price of the choice rises by "
                f"{rise:.1%} or its own falls by {fall:.1%}"
            )
        flip = Flip("price", round(rise, 4), sentence)
        found.setdefault(row["case_index"], []).append(flip)
    scenario = context.scenario
    if not any(w.demand and w.demand.is_load for w in scenario.workloads):
        return found
    grown = growth_flips(
        work,
        supply_shapes(context),
        choice_limits(context),
        any_provider=not scenario.supply.providers,
        hours_per_month=scenario.assumptions.hours_per_month,
    )
    for row in grown.with_columns(label=offer_label()).iter_rows(named=True):
        what = "changes to" if row["machine_changes"] else "grows to"
        sentence = (
            f"at {row['growth']:g} times the load the choice {what} {row['label']} at "
            f"{row['usd_per_hour']:.2f} USD per hour"
        )
        flip = Flip("growth", row["growth"], sentence)
        found.setdefault(row["case_index"], []).append(flip)
    return found


def _break_even(row: Mapping[str, Any], labels: Mapping[int, str]) -> BreakEven:
    hours = row["break_even_hours_per_month"]
    months = row["break_even_months"]
    sentence = (
        f"{row['committed']} beats {row['hourly']} from {hours:,.0f} hours a month on "
        f"({row['break_even_share']:.0%} of all hours)"
    )
    if row["break_even_share"] > 1:
        sentence = f"{row['committed']} never beats {row['hourly']}: it costs more in every hour"
    if months is not None:
        sentence += f"; bought, it pays for itself in {months:,.1f} months"
    return BreakEven(
        committed=row["committed"],
        hourly=row["hourly"],
        committed_label=labels[row["committed_cell"]],
        hourly_label=labels[row["hourly_cell"]],
        committed_usd_per_month=round(row["committed_usd_per_month"], 2),
        hourly_usd_per_hour=round(row["hourly_usd_per_hour"], 4),
        hours_per_month=round(hours, 2),
        share=round(row["break_even_share"], 4),
        committed_wins=bool(row["committed_wins"]),
        months=_rounded(months, 2),
        sentence=sentence,
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
