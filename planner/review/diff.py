"""Two sets of plans become a Diff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.plan import Plan, PlanCase
from planner.review.causes import Lookup, causes
from planner.review.model import (
    KINDS,
    AttributionRow,
    Change,
    Choice,
    Diff,
    Flip,
    Side,
)
from planner.review.pairing import paired, renamed_scenarios
from planner.review.view import case_items, choice, purchase_items, purchases, total
from planner.units import HOURS_PER_MONTH_DEFAULT

_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is too small to show: a cost change below both, a memory change below the last."""

    min_usd_per_month: float = 1.0
    min_ratio: float = 0.005
    min_utilization: float = 0.01


def diff_plans(
    base: Mapping[str, Plan],
    head: Mapping[str, Plan],
    *,
    base_label: str = "base",
    head_label: str = "head",
    attribution: Sequence[AttributionRow] = (),
    thresholds: Thresholds | None = None,
    notes: Sequence[str] = (),
) -> Diff:
    """Compare plans by scenario name.

    Args:
        base, head: plans by the stem of their scenario file.
        attribution: rows of the total's change; empty puts it all into one row.
        thresholds: what counts as no change.
    """
    limits = thresholds or Thresholds()
    renames = renamed_scenarios(base, head)
    found: list[Change] = []
    others: list[Change] = []
    flips: Counter[tuple[str, str]] = Counter()
    for stem in [*head, *(s for s in base if s not in head and s not in renames.values())]:
        old_stem = renames.get(stem, stem)
        pair = _Pair(stem, old_stem, base.get(old_stem), head.get(stem), limits)
        found += pair.purchases()
        others += pair.cases()
        flips += pair.flips()
    before, after = total(base), total(head)
    delta = round(after.usd_per_month - before.usd_per_month, 2)
    return Diff(
        base=_side(base_label, base.values()),
        head=_side(head_label, head.values()),
        base_total=before,
        head_total=after,
        purchases=_worst_first(found),
        cases=_worst_first(others),
        unchanged_purchases=sum(change.kind == "unchanged" for change in found),
        unchanged_cases=sum(change.kind == "unchanged" for change in others),
        attribution=tuple(attribution)
        or (AttributionRow(("scenario", "catalog", "prices", "estimator"), delta, None),),
        flips=tuple(Flip(old, new, n) for (old, new), n in sorted(flips.items())),
        renames=tuple((old, new) for new, old in renames.items()),
        left_out=tuple(dict.fromkeys(o for plan in head.values() for o in plan.offers_left_out)),
        assumptions=_assumptions(head.values()),
        notes=tuple(notes),
    )


def _worst_first(changes: Iterable[Change]) -> tuple[Change, ...]:
    changed = [change for change in changes if change.kind != "unchanged"]
    return tuple(
        sorted(changed, key=lambda c: (_RANK[c.kind], -abs(c.delta_usd_per_month or 0.0), c.id))
    )


@dataclass(slots=True)
class _Pair:
    """One scenario on both sides; either may be absent."""

    stem: str
    old_stem: str
    base: Plan | None
    head: Plan | None
    limits: Thresholds

    def purchases(self) -> list[Change]:
        old = {f"{self.old_stem}/{k}": p.case for k, p in _purchases(self.base).items()}
        new = {f"{self.stem}/{k}": p.case for k, p in _purchases(self.head).items()}
        old_items = purchase_items(self.stem, self.base) if self.base else []
        new_items = purchase_items(self.stem, self.head) if self.head else []
        return self._changes(old, new, old_items, new_items, alternatives=True)

    def cases(self) -> list[Change]:
        """Cases that neither side buys."""
        old_bought = {p.case.case_id for p in _purchases(self.base).values()}
        new_bought = {p.case.case_id for p in _purchases(self.head).values()}
        old = {f"{self.old_stem}/{c.case_id}": c for c in _cases(self.base)}
        new = {f"{self.stem}/{c.case_id}": c for c in _cases(self.head)}
        old_items = case_items(self.stem, self.base) if self.base else []
        new_items = case_items(self.stem, self.head) if self.head else []
        changes = self._changes(old, new, old_items, new_items, alternatives=False)
        return [
            change
            for change in changes
            if not (change.before and change.before.case_id in old_bought)
            and not (change.after and change.after.case_id in new_bought)
        ]

    def _changes(
        self,
        old: Mapping[str, PlanCase],
        new: Mapping[str, PlanCase],
        old_items: Sequence[object],
        new_items: Sequence[object],
        *,
        alternatives: bool,
    ) -> list[Change]:
        base = Lookup(self.base) if self.base else None
        head = Lookup(self.head) if self.head else None
        prefix = len(self.stem)
        changes = []
        for one, other in paired(old_items, new_items):  # type: ignore[arg-type]
            # Items are named after the head's stem on both sides, so that a renamed file pairs.
            before = old[self.old_stem + one.id[prefix:]] if one else None
            after = new[other.id] if other else None
            change = self._change(before, after)
            was = f"{self.old_stem}{one.id[prefix:]}" if one else None
            name = other.id if other else str(was)
            change = replace(change, id=name, was=was if was not in (None, name) else None)
            if change.kind != "unchanged" and before and after and base and head:
                why = causes(base, before, head, after, alternatives=alternatives)
                change = replace(change, causes=_with_reason(change, why))
            elif after is not None and before is None:
                change = replace(change, causes=(self._arrival(change),))
            changes.append(change)
        return changes

    def _arrival(self, change: Change) -> str:
        if change.after and not change.after.is_answered:
            return f"new, without a choice: {change.after.sentence}"
        return "new scenario" if self.base is None else "new"

    def _change(self, before: PlanCase | None, after: PlanCase | None) -> Change:
        old = choice(self.base, before) if self.base and before else None
        new = choice(self.head, after) if self.head and after else None
        month = _delta(old, new, "usd_per_month")
        hour = _delta(old, new, "usd_per_hour") or 0.0
        kind = _kind(old, new, month, hour, self.limits)
        return Change(
            kind=kind,
            scenario=self.stem,
            id="",
            was=None,
            before=old,
            after=new,
            delta_usd_per_month=month,
            delta_usd_per_hour=round(hour, 4),
            ratio=_ratio(old, new),
            causes=(),
        )

    def flips(self) -> Counter[tuple[str, str]]:
        """Cells of equal case and configuration whose verdict changed."""
        if self.base is None or self.head is None:
            return Counter()
        old, new = _verdicts(self.base), _verdicts(self.head)
        return Counter(
            (verdict, new[key])
            for key, verdict in old.items()
            if key in new and new[key] != verdict
        )


def _purchases(plan: Plan | None):  # type: ignore[no-untyped-def]
    return purchases(plan) if plan else {}


def _cases(plan: Plan | None) -> tuple[PlanCase, ...]:
    return plan.cases if plan else ()


def _verdicts(plan: Plan) -> dict[tuple[str, str, int], str]:
    cases = [case.case_id for case in plan.cases]
    names = [(c.gpu, c.gpu_count) for c in plan.configurations]
    table = plan.matrix
    rows = zip(table["case"], table["configuration"], table["verdict"], strict=True)
    return {(cases[case], *names[configuration]): verdict for case, configuration, verdict in rows}


def _delta(old: Choice | None, new: Choice | None, column: str) -> float | None:
    """Head minus base; None where an answered side has no such cost."""
    sides = [side for side in (old, new) if side is not None and side.is_answered]
    if any(getattr(side, column) is None for side in sides):
        return None
    cost = [getattr(side, column) if side and side.is_answered else 0.0 for side in (old, new)]
    return round(cost[1] - cost[0], 4)


def _ratio(old: Choice | None, new: Choice | None) -> float | None:
    if not (old and new and old.is_answered and new.is_answered):
        return None
    for column in ("usd_per_month", "usd_per_hour"):
        before, after = getattr(old, column), getattr(new, column)
        if before is not None and after is not None:
            return round(after / before - 1, 6) if before else None
    return None


def _kind(
    old: Choice | None,
    new: Choice | None,
    month: float | None,
    hour: float,
    limits: Thresholds,
) -> str:
    if old is None:
        return "new"
    if new is None:
        return "removed"
    if not old.is_answered or not new.is_answered:
        if old.is_answered:
            return "stopped-fitting" if new.outcome == "nothing-fits" else "lost-choice"
        if new.is_answered:
            return "now-fits"
        return "unchanged"
    cost = month if month is not None else hour * HOURS_PER_MONTH_DEFAULT
    ratio = abs(_ratio(old, new) or 0.0)
    if abs(cost) >= limits.min_usd_per_month or (cost and ratio >= limits.min_ratio):
        return "dearer" if cost > 0 else "cheaper"
    if old.verdict != new.verdict and new.verdict == "tight":
        return "became-tight"
    if old.key != new.key or (old.case_id != new.case_id and old.gpu != new.gpu):
        return "other-choice"
    moved = abs((new.utilization or 0.0) - (old.utilization or 0.0))
    return "memory-moved" if moved >= limits.min_utilization else "unchanged"


def _with_reason(change: Change, why: tuple[str, ...]) -> tuple[str, ...]:
    if change.kind in ("stopped-fitting", "lost-choice") and change.after:
        return (change.after.sentence, *why)
    return why


def _side(label: str, plans: Iterable[Plan]) -> Side:
    listed = list(plans)
    oldest = [p.inputs.oldest_price_date for p in listed if p.inputs.oldest_price_date]
    newest = [p.inputs.newest_price_date for p in listed if p.inputs.newest_price_date]
    return Side(
        label=label,
        planner_versions=tuple(dict.fromkeys(p.planner_version for p in listed)),
        scenarios=tuple(p.scenario.stem for p in listed),
        catalogs=tuple(dict.fromkeys(p.inputs.catalog_sha256 for p in listed)),
        oldest_price_date=min(oldest, default=None),
        newest_price_date=max(newest, default=None),
    )


def _assumptions(plans: Iterable[Plan]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for plan in plans:
        found[f"{plan.scenario.hours_per_month:g} hours per month"] = None
        headroom = plan.scenario.constraints.get("memory_headroom") or 0.0
        found[f"{headroom:.0%} of usable memory kept free"] = None
        if plan.scenario.estimator != "architecture":
            found[f"{plan.scenario.stem}: {plan.scenario.estimator} estimator"] = None
    found["list prices less the scenario's discounts, no tax, no egress"] = None
    return tuple(found)
