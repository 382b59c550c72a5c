"""What more speed costs: the Pareto front of each purchase as a small chart and its table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from planner.plan import Alternative, Plan, PlanCase
from planner.report import view, words

FRONTS_SHOWN: Final = 3
POINTS_SHOWN: Final = 6
_STEPS: Final = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
WIDTH: Final = 380
HEIGHT: Final = 210
_LEFT: Final = 14
_RIGHT: Final = 366
_TOP: Final = 30
_BOTTOM: Final = 178


@dataclass(frozen=True, slots=True)
class Point:
    """One alternative: nobody is both cheaper and faster. `x` and `y` lie in the chart."""

    number: int
    machine: str
    offer: str
    cost: str
    latency: str
    extra: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Front:
    """The front of one purchase; `step` is the path through its points."""

    purchase: str
    finding: str
    cost_title: str
    latency_title: str
    step: str
    points: tuple[Point, ...]


def fronts(plan: Plan) -> tuple[tuple[Front, ...], int]:
    """The fronts of the dearest purchases that have one, and how many more there are."""
    rows = []
    for choice in plan.choices:
        case = plan.cases[choice.case]
        points = [a for a in choice.front if a.latency_ms is not None and a.latency_ms > 0]
        points = _thinned(points)
        if case.is_bought and case.cheapest is not None and len(points) > 1:
            rows.append((_cost(points[0]), case, points))
    rows.sort(key=lambda row: -row[0])
    varying = view.varying_axes(plan)
    shown = tuple(
        _front(plan, case, points, view.case_what(case, varying))
        for _, case, points in rows[:FRONTS_SHOWN]
    )
    return shown, len(rows) - len(shown)


def _cost(point: Alternative) -> float:
    return point.usd_per_hour if point.usd_per_month is None else point.usd_per_month


def _thinned(points: Sequence[Alternative]) -> list[Alternative]:
    """Without steps that gain little time: at most POINTS_SHOWN points, the first always."""
    for step in _STEPS:
        kept = list(points[:1])
        for point in points[1:]:
            if (point.latency_ms or 0.0) <= (kept[-1].latency_ms or 0.0) * (1 - step):
                kept.append(point)
        if len(kept) <= POINTS_SHOWN:
            return kept
    return kept[:POINTS_SHOWN]


def _front(plan: Plan, case: PlanCase, points: Sequence[Alternative], what: str) -> Front:
    monthly = all(point.usd_per_month is not None for point in points)
    costs = [_cost(p) if monthly else p.usd_per_hour for p in points]
    latencies = [point.latency_ms or 0.0 for point in points]
    xs, ys = _scaled(costs, _LEFT, _RIGHT), _scaled(latencies, _BOTTOM, _TOP)
    names, currency = view.gpu_names(plan), plan.scenario.currency
    shown = []
    for number, (point, x, y) in enumerate(zip(points, xs, ys, strict=True), 1):
        machine, _, offer = words.spoken(point.label, names).partition(" from ")
        shown.append(
            Point(
                number=number,
                machine=words.times_sign(machine),
                offer=offer,
                cost=words.usd(costs[number - 1], currency),
                latency=_time(case, latencies[number - 1]),
                extra=_extra(point) if number > 1 else "cheapest",
                x=x,
                y=y,
            )
        )
    steps = [f"M{xs[0]} {ys[0]}"] + [f"H{x}V{y}" for x, y in zip(xs[1:], ys[1:], strict=True)]
    return Front(
        purchase=f"{words.model_name(case.model)}, {what}",
        finding=_finding(points, costs, latencies),
        cost_title="Cost a month" if monthly else "Cost an hour",
        latency_title=_latency_title(plan, case, latencies[0]),
        step="".join(steps),
        points=tuple(shown),
    )


def _scaled(values: Sequence[float], start: float, end: float) -> list[int]:
    """Places on a logarithmic axis; all in its middle where the values are equal."""
    logs = [math.log(max(value, 1e-9)) for value in values]
    low, span = min(logs), max(logs) - min(logs)
    if span < 1e-9:
        return [round((start + end) / 2)] * len(logs)
    return [round(start + (end - start) * (value - low) / span) for value in logs]


def _finding(
    points: Sequence[Alternative], costs: Sequence[float], latencies: Sequence[float]
) -> str:
    """What halving the time costs, or what the fastest one gains."""
    half = next((i for i, time in enumerate(latencies) if time <= latencies[0] / 2), None)
    at = len(points) - 1 if half is None else half
    times = costs[at] / costs[0] if costs[0] else 1.0
    price = f"{times:.1f} times the price" if times >= 2 else f"{times - 1:.0%} more"
    if half is not None:
        return f"Half the time costs {price}."
    return f"The fastest takes {1 - latencies[at] / latencies[0]:.0%} less time for {price}."


def _time(case: PlanCase, milliseconds: float) -> str:
    if case.method != "inference":
        return f"{_two_digits(1000 / milliseconds)} tokens/s"
    if milliseconds >= 1000:
        return f"{_two_digits(milliseconds / 1000)} s"
    return f"{_two_digits(milliseconds)} ms"


def _two_digits(value: float) -> str:
    """`2.0`, `14`, `1,500`: speeds are known no better."""
    return f"{value:.1f}" if 1 <= value < 9.95 else words.plain_number(float(f"{value:.2g}"))


def _extra(point: Alternative) -> str:
    return words.surcharge(point.surcharge_ratio).replace("x the", "× the")


def _latency_title(plan: Plan, case: PlanCase, latency: float) -> str:
    """Whole requests are timed where their length is known, else output tokens."""
    if case.method != "inference":
        return "Training speed"
    cell = {} if case.cheapest is None else plan.details[case.cheapest].cell
    first = cell.get("time_to_first_token_ms")
    return "Time of a request" if first is not None and latency >= first else "Time per token"
