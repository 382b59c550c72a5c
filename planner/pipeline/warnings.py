"""What a buyer must know before signing: prices of doubt, spot, machines and budgets short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from planner.plan import CellDetail, PlanCase
from planner.scenario.model import Budget, Scenario

_NAMED: Final = 3
Cell = Mapping[str, Any]


def warnings(
    scenario: Scenario, cases: Sequence[PlanCase], details: Sequence[CellDetail]
) -> tuple[str, ...]:
    """Sentences about the bought cells, the gravest first."""
    bought = [case for case in cases if case.is_bought and case.cheapest is not None]
    cells = [details[case.cheapest].cell for case in bought if case.cheapest is not None]
    pairs = list(zip(bought, cells, strict=True))
    return (
        *_too_few_machines(scenario, cells),
        *_long_runs(pairs),
        *_half_budgets(scenario, cases, pairs),
        *_stale(scenario, cells),
        *_undated(cells),
        *_spot(cells),
    )


def _too_few_machines(scenario: Scenario, cells: Sequence[Cell]) -> Iterator[str]:
    """Each purchase is chosen on its own: together they may take more than there is."""
    stock: dict[str, float] = {}
    for machine in scenario.supply.owned:
        more = math.inf if machine.machines is None else machine.machines
        stock[machine.name] = stock.get(machine.name, 0) + more
    for name, there in stock.items():
        used = [
            cell["instances"]
            for cell in cells
            if cell["purchase"] == "owned" and cell["instance_type"] == name
        ]
        if sum(used) > there:
            yield (
                f"{len(used)} purchases together take {sum(used)} of {name}, "
                f"of which there are {there}"
            )


def _long_runs(pairs: Sequence[tuple[PlanCase, Cell]]) -> Iterator[str]:
    """More machines let more runs go on at once; none of them gets shorter."""
    for case, cell in pairs:
        if case.method == "inference" or (cell["replicas"] or 1) <= 1:
            continue
        yield (
            f"{case.case_id}: a month's runs take one machine longer than a month, so "
            f"{cell['replicas']} go on at once; no run gets shorter by that"
        )


def _half_budgets(
    scenario: Scenario, cases: Sequence[PlanCase], pairs: Sequence[tuple[PlanCase, Cell]]
) -> Iterator[str]:
    """A budget is kept easily by what has no price."""
    for budget in scenario.budgets:
        if budget.max_usd_per_month is None:
            continue
        keys = {case.bought_key for case in cases if budget_covers(scenario, budget, case)}
        known = {
            case.bought_key
            for case, cell in pairs
            if budget_covers(scenario, budget, case) and cell["usd_per_month"] is not None
        }
        if keys - known:
            yield (
                f"budget {budget.id} counts {len(known)} of {len(keys)} purchases: "
                "the others have no monthly cost"
            )


def budget_covers(scenario: Scenario, budget: Budget, case: PlanCase) -> bool:
    """Whether a case is in the scope of a budget."""
    tags = {
        tag
        for workload in scenario.workloads
        if workload.name == case.workload
        for tag in (*workload.tags, *scenario.tags)
    }
    return (
        budget.scope_kind == "all"
        or (budget.scope_kind == "workload" and case.workload == budget.scope_name)
        or (budget.scope_kind == "tag" and budget.scope_name in tags)
    )


def _stale(scenario: Scenario, cells: Sequence[Cell]) -> Iterator[str]:
    assumptions = scenario.assumptions
    if assumptions.as_of is None:
        return
    limit, day = assumptions.max_price_age_days, date.fromisoformat(assumptions.as_of)
    ages = {
        _offer(cell): (day - date.fromisoformat(cell["price_date"])).days
        for cell in cells
        if cell["price_date"] is not None
    }
    later = sorted(offer for offer, age in ages.items() if age < 0)
    if later:
        yield f"price dated after {assumptions.as_of}, the day of this plan: {_listed(later)}"
    old = sorted((-age, offer) for offer, age in ages.items() if age > limit)
    if old:
        named = [f"{offer} ({-age} days)" for age, offer in old]
        yield f"price older than {limit} days: {_listed(named)}"


def _undated(cells: Sequence[Cell]) -> Iterator[str]:
    undated = [c for c in cells if c["price_date"] is None and c["purchase"] != "owned"]
    if undated:
        offers = _listed(sorted({_offer(cell) for cell in undated}))
        yield f"price without a date, ask before you rely on it: {offers}"


def _spot(cells: Sequence[Cell]) -> Iterator[str]:
    spot = [cell for cell in cells if cell["purchase"] == "spot"]
    if spot:
        offers = _listed(sorted({_offer(cell) for cell in spot}))
        many = "1 purchase is" if len(spot) == 1 else f"{len(spot)} purchases are"
        yield f"{many} spot, which the seller may take back at short notice: {offers}"


def _offer(cell: Cell) -> str:
    return " ".join(str(cell[n]) for n in ("provider", "instance_type", "purchase") if cell[n])


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
