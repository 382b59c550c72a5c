"""What a rule finds: a bought case, an offender, the result of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from planner.plan import Plan
from planner.review.model import Choice
from planner.review.project import Budget, Place
from planner.review.view import choice, purchases

STATES: Final = ("failed", "waived", "not-applicable", "passed")


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase with what it was answered with."""

    scenario: str
    file: str
    workload: str
    tags: frozenset[str]
    id: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class Offender:
    """A bought case that breaks a rule, and how."""

    id: str
    file: str
    detail: str


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One check of one rule.

    `check` is the limit's key; `state` is failed, waived (it would fail), not-applicable (no base)
    or passed. Only a failed check of level error fails a gate.
    """

    rule: str
    check: str
    scope: str
    level: str
    state: str
    limit: str
    now: str
    offenders: tuple[Offender, ...]
    place: Place
    waivers: tuple[str, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Whether it makes the gate say no."""
        return self.state == "failed" and self.level == "error"


def bought(plans: Mapping[str, Plan]) -> list[Bought]:
    """Every purchase of the plans."""
    found = []
    for stem, plan in plans.items():
        tags = {workload.name: workload.tags for workload in plan.workloads}
        for purchase in purchases(plan).values():
            case = purchase.case
            found.append(
                Bought(
                    scenario=stem,
                    file=plan.scenario.file,
                    workload=case.workload,
                    tags=frozenset((*plan.scenario.tags, *tags.get(case.workload, ()))),
                    id=f"{stem}/{case.case_id}",
                    choice=choice(plan, case),
                )
            )
    return found


def inside(rule: Budget, item: Bought) -> bool:
    """Whether a bought case is in the scope of a rule."""
    if rule.stem and item.scenario != rule.stem:
        return False
    if rule.scope_kind == "workload":
        return item.workload == rule.scope_name
    if rule.scope_kind == "tag":
        return rule.scope_name in item.tags
    if rule.scope_kind == "file":
        base = item.file.rpartition("/")[2]
        names = (item.file, base, item.scenario, f"scenarios/{base}")
        return any(fnmatchcase(name, rule.scope_name) for name in names)
    return True
