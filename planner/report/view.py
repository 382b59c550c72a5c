"""What the page says, with every number and word final; the templates only place it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.plan import CellDetail, Plan, PlanCase, PlanConfiguration
from planner.report import words
from planner.report.why import cheaper_losers
from planner.units import MONTHS_PER_YEAR

_SAY_NOTHING_MORE: Final = ("support", "none")
"""Constraints that tell no more than the outcome of a case does."""
_NEARNESS: Final = ("chosen", "over-limit", "misses-objective", "no-price", "nothing-fits")
"""Outcomes by how little is missing for an answer."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name: the big ones under the headline."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One purchase: the row of the decision table."""

    case_index: int
    case_id: str
    workload: str
    model: str
    what: str
    outcome: str
    sentence: str
    configuration: str
    link: str
    layout: str
    offer: str
    price_note: str
    hour: str
    month: str
    year: str
    free: str
    used: str
    tight: bool
    runner_up: str
    runner_up_link: str
    surcharge: str
    cheaper: str


def varying_axes(plan: Plan) -> dict[str, frozenset[str]]:
    """Workload -> the axes that have more than one value among its cases."""
    seen: dict[str, dict[str, set[str]]] = {}
    for case in plan.cases:
        axes = seen.setdefault(case.workload, {})
        for axis, value in case.values.items():
            axes.setdefault(axis, set()).add(str(value))
    return {
        workload: frozenset(axis for axis, values in axes.items() if len(values) > 1)
        for workload, axes in seen.items()
    }


def case_what(case: PlanCase, varying: Mapping[str, frozenset[str]]) -> str:
    """What sets the case apart, in a line; the method where nothing varies."""
    shown = words.case_words(case.method, case.values, varying[case.workload])
    return shown or words.METHOD_WORDS.get(case.method, case.method)


def configuration_index(plan: Plan) -> dict[tuple[str, int], PlanConfiguration]:
    """(gpu, count) -> configuration."""
    return {(c.gpu, c.gpu_count): c for c in plan.configurations}


def gpu_names(plan: Plan) -> dict[str, str]:
    """GPU id -> its name."""
    return {c.gpu: c.gpu_name for c in plan.configurations}


def configuration_of(
    plan_index: Mapping[tuple[str, int], PlanConfiguration], cell: Mapping[str, Any]
) -> PlanConfiguration | None:
    """The configuration that a cell of `details` is on."""
    return plan_index.get((str(cell.get("gpu")), int(cell.get("gpu_count") or 0)))


def layout_words(cell: Mapping[str, Any]) -> str:
    """The parallel layout and the replicas of a cell: `TP 2 · PP 2 · 3 replicas`."""
    names = (("tensor", "TP"), ("pipeline", "PP"), ("expert", "EP"), ("data", "DP"))
    sizes = [(short, cell.get(f"{name}_parallel_size")) for name, short in names]
    parts = [f"{short} {size}" for short, size in sizes if size and int(size) > 1]
    sharding = cell.get("sharding")
    if sharding and sharding not in ("none", "ddp"):
        parts.append(str(sharding).upper())
    replicas = cell.get("replicas")
    if replicas and int(replicas) > 1:
        parts.append(f"{replicas} replicas")
    return " · ".join(parts)


def offer_words(cell: Mapping[str, Any]) -> str:
    """Provider, instances, region and kind of purchase, and what of them stays unused."""
    count, instance = cell.get("instances"), cell.get("instance_type")
    if instance and count and int(count) > 1:
        instance = f"{count} × {instance}"
    seller = None if cell.get("purchase") == "owned" else cell.get("provider")
    parts = [str(part) for part in (seller, instance, cell.get("region")) if part]
    parts += [str(cell.get("purchase"))] * bool(cell.get("purchase"))
    sold = cell.get("offer_gpu_count")
    if sold:
        paid = int(count or 1) * int(sold)
        used = int(cell.get("gpu_count") or 0) * int(cell.get("replicas") or 1)
        parts += [f"pays for {paid} GPUs, uses {used}"] * (paid > used)
    return " · ".join(parts)


def price_words(cell: Mapping[str, Any], as_of: str | None) -> str:
    """From when the price of a cell is, and how old that was on the scenario's day."""
    if cell.get("usd_per_hour") is None or cell.get("purchase") == "owned":
        return ""
    day = cell.get("price_date")
    if day is None:
        return "price without a date"
    age = cell.get("price_age_days")
    if not as_of or not age or age < 0:
        return f"price of {day}"
    return f"price of {day}, {age} {'day' if age == 1 else 'days'} old"


def choices(plan: Plan) -> tuple[Choice, ...]:
    """Every purchase by workload; what has no answer comes first."""
    index, varying = configuration_index(plan), varying_axes(plan)
    rejected = cheaper_losers(plan)
    shown = {position for position, case in enumerate(plan.cases) if case.is_bought}
    found = [
        _choice(plan, position, plan.cases[position], index, varying, rejected)
        for position in sorted(shown | unanswered(plan))
    ]
    order = {workload.name: place for place, workload in enumerate(plan.workloads)}
    return tuple(
        sorted(found, key=lambda c: (c.outcome == "chosen", order.get(c.workload, len(order))))
    )


def unanswered(plan: Plan) -> set[int]:
    """Of each purchase that no case answers, the case that came nearest to it."""
    answered = {case.bought_key for case in plan.cases if case.is_bought}
    nearest: dict[str, tuple[int, int]] = {}
    for position, case in enumerate(plan.cases):
        if case.bought_key not in answered:
            rank = (_NEARNESS.index(case.outcome), position)
            nearest[case.bought_key] = min(nearest.get(case.bought_key, rank), rank)
    return {position for _, position in nearest.values()}


def by_workload(found: Iterable[Choice]) -> list[tuple[str, list[Choice]]]:
    """Choices in the order given, those of one workload together."""
    groups: dict[str, list[Choice]] = {}
    for choice in found:
        groups.setdefault(choice.workload, []).append(choice)
    return list(groups.items())


def _choice(
    plan: Plan,
    position: int,
    case: PlanCase,
    index: Mapping[tuple[str, int], PlanConfiguration],
    varying: Mapping[str, frozenset[str]],
    rejected: Mapping[int, str],
) -> Choice:
    detail = None if case.cheapest is None else plan.details[case.cheapest]
    cell: Mapping[str, Any] = {} if detail is None else detail.cell
    configuration = configuration_of(index, cell)
    runner = runner_up(plan, case, configuration, index)
    other = None if runner is None else configuration_of(index, runner.cell)
    currency, month = plan.scenario.currency, cell.get("usd_per_month")
    utilization = cell.get("utilization")
    return Choice(
        case_index=position,
        case_id=case.case_id,
        workload=case.workload,
        model=words.model_name(case.model),
        what=case_what(case, varying),
        outcome=case.outcome,
        sentence=words.spoken(_told(plan, position, case), gpu_names(plan), currency),
        configuration="" if configuration is None else words.times_sign(configuration.label),
        link=_link(position, configuration, index),
        layout=layout_words(cell),
        offer=offer_words(cell),
        price_note=price_words(cell, plan.scenario.as_of),
        hour=words.usd(cell.get("usd_per_hour"), currency),
        month=words.usd(month, currency),
        year=words.usd(None if month is None else month * MONTHS_PER_YEAR, currency),
        free="" if utilization is None else words.free_percent(utilization),
        used=_used(cell),
        tight=cell.get("verdict") == "tight",
        runner_up="" if other is None else words.times_sign(other.label),
        runner_up_link=_link(position, other, index),
        surcharge="" if runner is None else words.surcharge(runner.surcharge_ratio),
        cheaper="" if configuration is None else rejected.get(position, ""),
    )


def _told(plan: Plan, position: int, case: PlanCase) -> str:
    """The outcome; where there is no answer, with what came nearest and why it is none."""
    if case.outcome not in ("misses-objective", "nothing-fits"):
        return case.sentence
    nearest = [
        choice.binding_sentence[:1].upper() + choice.binding_sentence[1:]
        for choice in plan.choices
        if choice.case == position and choice.binding not in _SAY_NOTHING_MORE
    ]
    return ". ".join([case.sentence, *nearest])


def _link(
    case: int,
    configuration: PlanConfiguration | None,
    index: Mapping[tuple[str, int], PlanConfiguration],
) -> str:
    """Row and column of a cell; the page turns it into the ids when it is followed."""
    if configuration is None:
        return ""
    return f"{case}.{list(index.values()).index(configuration)}"


def runner_up(
    plan: Plan,
    case: PlanCase,
    chosen: PlanConfiguration | None,
    index: Mapping[tuple[str, int], PlanConfiguration],
) -> CellDetail | None:
    """The first runner-up on other hardware: the same GPUs elsewhere say little."""
    runners = [plan.details[position] for position in case.runners_up]
    others = [r for r in runners if configuration_of(index, r.cell) != chosen]
    return next(iter(others or runners), None)


def _used(cell: Mapping[str, Any]) -> str:
    if cell.get("total_gib") is None:
        return ""
    return f"{words.gib(cell['total_gib'])} of {words.gib(cell.get('usable_gib'))} GiB"


def figures(plan: Plan) -> tuple[Figure, ...]:
    """The sums under the headline."""
    totals, currency = plan.totals, plan.scenario.currency
    asked = totals.bought + totals.incomplete
    note = "" if not totals.hourly_only else f"{totals.hourly_only} more only by the hour"
    answered = Figure("answered", f"{totals.bought} of {asked}", "purchases asked for")
    if not totals.bought:
        return (answered,)
    hourly = Figure("per hour", words.usd(totals.usd_per_hour, currency), "all machines at once")
    if totals.hourly_only == totals.bought:
        return (hourly, answered)
    return (
        Figure("per month", words.usd(totals.usd_per_month, currency), note),
        Figure("per year", words.usd(totals.usd_per_year, currency), note),
        hourly,
        answered,
    )
