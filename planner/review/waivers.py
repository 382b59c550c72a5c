"""Accepted exceptions: whom they speak of, and which of them no longer hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from fnmatch import fnmatchcase

from planner.review.project import Budget, Waiver
from planner.review.rules import Bought, RuleResult, inside


def matches(waiver: Waiver, item_id: str) -> bool:
    """Whether a waiver speaks of a bought case."""
    return fnmatchcase(item_id, waiver.scenario) or item_id.startswith(f"{waiver.scenario}/")


def is_waived(item_id: str, waivers: Iterable[Waiver]) -> bool:
    """Whether any of the waivers speaks of it."""
    return any(matches(waiver, item_id) for waiver in waivers)


def waiver_words(waivers: Iterable[Waiver]) -> tuple[str, ...]:
    """Waivers in force, in a line each."""
    return tuple(f"{w.scenario}: {w.reason} ({w.owner}, until {w.expires})" for w in waivers)


def waiver_results(
    waivers: Iterable[Waiver],
    budgets: Sequence[Budget],
    items: Sequence[Bought],
    today: date,
) -> Iterable[RuleResult]:
    """Waivers that must be removed or mended: expired ones, and ones that match nothing."""
    rules = {rule.id: rule for rule in budgets}
    for waiver in waivers:
        if waiver.expires < today:
            now = f"expired on {waiver.expires}"
        elif waiver.rule not in rules:
            now = f"there is no rule '{waiver.rule}'"
        elif not any(matches(waiver, i.id) for i in items if inside(rules[waiver.rule], i)):
            now = f"'{waiver.scenario}' matches no bought case in the rule's scope"
        else:
            continue
        limit = f"waiver of '{waiver.rule}' by {waiver.owner}"
        yield RuleResult("waiver", "waiver", waiver.scenario, "error", "failed", limit, now, (),
                         waiver.place)  # fmt: skip
