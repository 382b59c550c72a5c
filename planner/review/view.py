"""A Plan as a review sees it: purchases, cases, and what each was answered with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.plan import Plan, PlanCase
from planner.review.model import Choice, Total
from planner.review.pairing import Item

_OUTCOME_ORDER: Final = ("chosen", "misses-objective", "over-limit", "no-price", "nothing-fits")


@dataclass(frozen=True, slots=True)
class Purchase:
    """One thing to buy: the case that is bought, or the nearest one where nothing is."""

    key: str
    case: PlanCase


def purchases(plan: Plan) -> dict[str, Purchase]:
    """Every purchase of a plan by its key, in the plan's order."""
    found: dict[str, Purchase] = {}
    for case in plan.cases:
        known = found.get(case.bought_key)
        if known is None or _rank(case) < _rank(known.case):
            found[case.bought_key] = Purchase(case.bought_key, case)
    return found


def _rank(case: PlanCase) -> tuple[bool, int]:
    answered = case.is_bought and case.cheapest is not None
    return not answered, _OUTCOME_ORDER.index(case.outcome)


def choice(plan: Plan, case: PlanCase) -> Choice:
    """What a case is answered with."""
    if case.cheapest is None:
        return Choice(case.case_id, case.outcome, case.sentence)
    cell = plan.details[case.cheapest].cell
    return Choice(
        case_id=case.case_id,
        outcome=case.outcome,
        sentence=case.sentence,
        label=label(cell),
        key=_key(cell),
        gpu=str(cell.get("gpu")),
        gpu_count=int(cell.get("gpu_count") or 0),
        verdict=cell.get("verdict"),
        utilization=cell.get("utilization"),
        usd_per_hour=cell.get("usd_per_hour"),
        usd_per_month=cell.get("usd_per_month"),
        price_date=cell.get("price_date"),
    )


def label(cell: Mapping[str, Any]) -> str:
    """`3 × 2× h100-sxm-80gb (TP2) · aws`, with the purchase where it isn't on demand."""
    layout = layout_words(cell)
    replicas = cell.get("replicas")
    times = f"{replicas:g} × " if isinstance(replicas, int | float) and replicas > 1 else ""
    words = f"{times}{cell.get('gpu_count')}× {cell.get('gpu')}"
    if layout:
        words += f" ({layout})"
    seller = [str(cell["provider"])] if cell.get("provider") else []
    if cell.get("purchase") not in (None, "on-demand"):
        seller.append(str(cell["purchase"]))
    return " · ".join([words, *seller])


def layout_words(cell: Mapping[str, Any]) -> str:
    """`TP2 PP2 FSDP4`; empty for one GPU."""
    parts = [
        f"{word}{cell[column]:g}"
        for word, column in (
            ("TP", "tensor_parallel_size"),
            ("PP", "pipeline_parallel_size"),
            ("EP", "expert_parallel_size"),
            ("CP", "context_parallel_size"),
        )
        if (cell.get(column) or 1) > 1
    ]
    data = cell.get("data_parallel_size") or 1
    if data > 1:
        sharding = str(cell.get("sharding") or "none")
        parts.append(f"{'DP' if sharding == 'none' else sharding.upper()}{data:g}")
    return " ".join(parts)


_KEY_COLUMNS: Final = (
    "gpu", "gpu_count", "tensor_parallel_size", "pipeline_parallel_size", "expert_parallel_size",
    "data_parallel_size", "context_parallel_size", "sharding", "replicas", "provider", "region",
    "instance_type", "purchase",
)  # fmt: skip


def _key(cell: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{cell.get(column)}" for column in _KEY_COLUMNS)


def purchase_items(stem: str, plan: Plan) -> list[Item]:
    """Purchases as things to pair: described by the values of their `for_each` axes."""
    axes = {workload.name: workload.for_each for workload in plan.workloads}
    return [
        Item(
            f"{stem}/{purchase.key}",
            purchase.case.workload,
            {axis: case_value(purchase.case, axis) for axis in axes[purchase.case.workload]},
        )
        for purchase in purchases(plan).values()
    ]


def case_items(stem: str, plan: Plan) -> list[Item]:
    """Cases as things to pair: described by everything that was set for them."""
    return [
        Item(
            f"{stem}/{case.case_id}",
            case.workload,
            {"model": case.model, "method": case.method, **case.values},
        )
        for case in plan.cases
    ]


def case_value(case: PlanCase, axis: str) -> Any:
    """The value of an axis in a case."""
    if axis in ("model", "method", "workload"):
        return getattr(case, axis)
    return case.values.get(axis)


def total(plans: Mapping[str, Plan]) -> Total:
    """Sum over the bought cases of all plans."""
    answered = unanswered = without_month = 0
    month = hour = 0.0
    for plan in plans.values():
        for purchase in purchases(plan).values():
            answer = choice(plan, purchase.case)
            if not answer.is_answered:
                unanswered += 1
                continue
            answered += 1
            hour += answer.usd_per_hour or 0.0
            if answer.usd_per_month is None:
                without_month += 1
            else:
                month += answer.usd_per_month
    return Total(round(month, 2), round(hour, 4), answered, unanswered, without_month)
