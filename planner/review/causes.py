"""Why a row changed: the fields, the memory term that moved most, the price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from planner.plan import COMPONENTS, Plan, PlanCase
from planner.report.words import COMPONENT_WORDS
from planner.review.fields import changed_fields
from planner.review.words import MINUS

_FIELDS_SHOWN: Final = 3
_MOVED_GIB: Final = 0.05
_MOVED_RATIO: Final = 0.001
_OFFER: Final = ("gpu", "gpu_count", "provider", "region", "instance_type", "purchase")


@dataclass(slots=True)
class Lookup:
    """A plan with its cells at hand: (case index, GPU, count) -> row of the matrix."""

    plan: Plan
    cases: dict[str, int] = field(init=False)
    rows: dict[tuple[int, str, int], int] = field(init=False)

    def __post_init__(self) -> None:
        self.cases = {case.case_id: index for index, case in enumerate(self.plan.cases)}
        names = [(c.gpu, c.gpu_count) for c in self.plan.configurations]
        pairs = zip(self.plan.matrix["case"], self.plan.matrix["configuration"], strict=True)
        self.rows = {(case, *names[conf]): row for row, (case, conf) in enumerate(pairs)}

    def cell(self, case_id: str, gpu: str, gpu_count: int) -> dict[str, Any] | None:
        """The best cell of a case at a configuration."""
        row = self.rows.get((self.cases[case_id], gpu, gpu_count))
        if row is None:
            return None
        return {name: column[row] for name, column in self.plan.matrix.items()}

    def chosen(self, case: PlanCase) -> Mapping[str, Any] | None:
        """The cell the case is answered with."""
        return None if case.cheapest is None else self.plan.details[case.cheapest].cell


def causes(
    base: Lookup, before: PlanCase, head: Lookup, after: PlanCase, *, alternatives: bool
) -> tuple[str, ...]:
    """Causes of a change, the most telling first; never empty for a change with one."""
    moved = list(_values(before, after))
    # The old case is still there: what is bought moved to another alternative.
    switched = alternatives and before.case_id in head.cases and before.case_id != after.case_id
    found = [f"now buys the alternative {text}" for text in moved] if switched else list(moved)
    fields = changed_fields(
        base.plan.inputs.resolved,
        head.plan.inputs.resolved,
        after.workload,
        alternatives=alternatives,
    )
    told = {text.split(" ")[0] for text in moved}
    fields = [text for text in fields if text.split(" ")[0].rpartition(".")[2] not in told]
    found += fields[:_FIELDS_SHOWN]
    if len(fields) > _FIELDS_SHOWN:
        found.append(f"+ {len(fields) - _FIELDS_SHOWN} more fields")
    found += _model(base.plan, before, head.plan, after)
    found += _price(base, before, head, after)
    found += _memory(base, before, head, after)
    if not fields and not moved:
        found += _versions(base.plan, head.plan)
    return tuple(dict.fromkeys(found))


def _values(before: PlanCase, after: PlanCase) -> Iterator[str]:
    """Axis values that differ between the two cases."""
    if before.model != after.model:
        yield f"model {before.model} → {after.model}"
    if before.method != after.method:
        yield f"method {before.method} → {after.method}"
    for axis in dict.fromkeys([*before.values, *after.values]):
        old, new = before.values.get(axis), after.values.get(axis)
        if old != new:
            yield f"{axis} {tokens(axis, old)} → {tokens(axis, new)}"


def tokens(axis: str, value: Any) -> str:
    """A value as people say it: 16k for 16384 tokens."""
    if value is None:
        return "not set"
    if axis.endswith("_tokens") and isinstance(value, int) and value and value % 1024 == 0:
        return f"{value // 1024}k"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _model(base: Plan, before: PlanCase, head: Plan, after: PlanCase) -> Iterator[str]:
    if before.model != after.model:
        return
    old = next((m for m in base.inputs.models if m.model == before.model), None)
    new = next((m for m in head.inputs.models if m.model == after.model), None)
    if old and new and old.parameters != new.parameters:
        yield f"model facts: {old.parameters:,} → {new.parameters:,} parameters"
    elif old and new and old.assumptions != new.assumptions:
        yield "model facts: other assumptions"


def _price(base: Lookup, before: PlanCase, head: Lookup, after: PlanCase) -> Iterator[str]:
    old = base.chosen(before)
    if old is None:
        return
    name = (str(old["gpu"]), int(old["gpu_count"]))
    known = {(c.gpu, c.gpu_count) for c in head.plan.configurations}
    if name not in known:
        yield f"{old['gpu_count']}× {old['gpu']} is no longer in the supply"
        return
    price = _same_offer(old, head, after)
    was = old.get("usd_per_hour")
    if price is None:
        cell = head.cell(after.case_id, *name)
        if cell and cell["price_state"] == "unpriced":
            yield f"{old['gpu_count']}× {old['gpu']} has no price any more"
    elif was:
        ratio = per_gpu(price, price["usd_per_hour"]) / per_gpu(old, was) - 1
        if abs(ratio) >= _MOVED_RATIO:
            yield f"price of {old['gpu']} at {old['provider']} {ratio * 100:+.1f} %"


def per_gpu(cell: Mapping[str, Any], usd_per_hour: float) -> float:
    """Price of one instance, so that replicas don't look like prices."""
    return round(usd_per_hour / float(cell.get("instances") or 1), 4)


def _same_offer(old: Mapping[str, Any], head: Lookup, case: PlanCase) -> Mapping[str, Any] | None:
    indices = [case.cheapest] if case.cheapest is not None else []
    for index in [*indices, *case.runners_up]:
        cell = head.plan.details[index].cell
        if all(cell.get(column) == old.get(column) for column in _OFFER):
            return cell
    return next(
        (
            detail.cell
            for detail in head.plan.details
            if all(detail.cell.get(column) == old.get(column) for column in _OFFER)
        ),
        None,
    )


def _memory(base: Lookup, before: PlanCase, head: Lookup, after: PlanCase) -> Iterator[str]:
    """The component that moved most at one and the same configuration."""
    for lookup, case in ((base, before), (head, after)):
        chosen = lookup.chosen(case)
        if chosen is None:
            continue
        name = (str(chosen["gpu"]), int(chosen["gpu_count"]))
        old, new = base.cell(before.case_id, *name), head.cell(after.case_id, *name)
        if old is None or new is None or old["total_gib"] is None or new["total_gib"] is None:
            continue
        moved = {
            component: (new[f"{component}_gib"] or 0.0) - (old[f"{component}_gib"] or 0.0)
            for component in COMPONENTS
        }
        most = max(moved, key=lambda component: abs(moved[component]))
        if abs(moved[most]) >= _MOVED_GIB:
            sign = "+" if moved[most] > 0 else MINUS
            layout = "" if old["layout"] == new["layout"] else ", other layout"
            place = f"on {chosen['gpu_count']}× {chosen['gpu']}{layout}"
            yield f"{COMPONENT_WORDS[most]} {sign}{abs(moved[most]):.1f} GiB per GPU {place}"
        return


def _versions(base: Plan, head: Plan) -> Iterator[str]:
    if base.planner_version != head.planner_version:
        yield f"planner {base.planner_version} → {head.planner_version}"
    elif base.inputs.catalog_sha256 != head.inputs.catalog_sha256:
        yield "the catalog's files changed"
