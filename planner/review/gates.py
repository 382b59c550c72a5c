"""Rules over plans: each result says what the limit is, what is now, and who breaks it.

All rules run, whatever breaks. Rules speak of bought cases only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from planner.plan import Plan
from planner.review.pairing import renamed_scenarios
from planner.review.project import Budget, Place, Waiver, budget
from planner.review.rules import STATES, Bought, Offender, RuleResult, bought, inside
from planner.review.waivers import is_waived, waiver_results, waiver_words
from planner.review.words import signed_percent, signed_usd, usd


def all_budgets(
    project_budgets: Iterable[Budget],
    plans: Mapping[str, Plan],
    files: Mapping[str, str] | None = None,
) -> list[Budget]:
    """The project's rules, then those that scenarios declare for themselves.

    Args:
        project_budgets: rules of the project file.
        plans: plans by scenario name.
        files: where the scenario files are, by scenario name, for people and annotations.
    """
    found = list(project_budgets)
    for stem, plan in plans.items():
        place = Place((files or {}).get(stem, plan.scenario.file))
        declared = plan.inputs.resolved.get("budgets") or ()
        found += [budget(entry, place, stem) for entry in declared]
    return found


def run_gates(
    plans: Mapping[str, Plan],
    budgets: Sequence[Budget],
    waivers: Sequence[Waiver],
    *,
    today: date,
    base: Mapping[str, Plan] | None = None,
) -> tuple[RuleResult, ...]:
    """Every check of every rule, then every waiver that no longer holds.

    Args:
        plans: plans by scenario name.
        today: the day from which ages of prices and ends of waivers are counted.
        base: plans to measure increases against; without it those checks do not apply.
    """
    items = bought(plans)
    before = _renamed(bought(base), renamed_scenarios(base, plans)) if base is not None else None
    alive = [waiver for waiver in waivers if waiver.expires >= today]
    results = []
    for rule in budgets:
        scoped = [item for item in items if inside(rule, item)]
        old = None if before is None else [item for item in before if inside(rule, item)]
        mine = [waiver for waiver in alive if waiver.rule == rule.id]
        for check, limit in rule.limits.items():
            result = _CHECKS[check](rule, limit, scoped, old, mine, today)
            results.append(replace(result, check=check))
    results += waiver_results(waivers, budgets, items, today)
    return tuple(results)


def _renamed(items: Iterable[Bought], renames: Mapping[str, str]) -> list[Bought]:
    new_names = {old: new for new, old in renames.items()}
    return [replace(i, scenario=new_names.get(i.scenario, i.scenario)) for i in items]


def _sum(items: Iterable[Bought]) -> float:
    return round(sum(i.choice.usd_per_month or 0.0 for i in items if i.choice.is_answered), 2)


def _incomplete(items: Sequence[Bought]) -> str:
    missing = sum(not i.choice.is_answered or i.choice.usd_per_month is None for i in items)
    return f" ({missing} without a monthly cost not counted)" if missing else ""


Check = Callable[[Budget, Any, list[Bought], list[Bought] | None, list[Waiver], date], RuleResult]


def _result(
    rule: Budget,
    state: str,
    limit: str,
    now: str,
    offenders: Iterable[Offender] = (),
    waivers: Iterable[Waiver] = (),
) -> RuleResult:
    return RuleResult(
        rule.id, "", rule.scope, rule.level, state, limit, now, tuple(offenders), rule.place,
        waiver_words(waivers),
    )  # fmt: skip


def _ceiling(
    rule: Budget, limit: Any, items: list[Bought], _: Any, waivers: list[Waiver], __: date
) -> RuleResult:
    """The sum, less what waivers take out of it."""
    counted = [item for item in items if not is_waived(item.id, waivers)]
    spent, full = _sum(counted), _sum(items)
    state = "failed" if spent > limit else "waived" if full > limit else "passed"
    now = f"{usd(spent)}{_incomplete(items)}"
    if spent != full:
        now += f", {usd(full - spent)} waived"
    dearest = sorted(counted, key=lambda i: -(i.choice.usd_per_month or 0.0))
    offenders = [
        Offender(i.id, i.file, f"{usd(i.choice.usd_per_month)} per month: {i.choice.label}")
        for i in dearest
        if i.choice.usd_per_month
    ]
    return _result(rule, state, f"at most {usd(limit)} per month", now,
                   offenders[:5] if state == "failed" else (), waivers)  # fmt: skip


def _increase(
    rule: Budget,
    limit: Any,
    items: list[Bought],
    old: list[Bought] | None,
    waivers: list[Waiver],
    _: date,
    *,
    relative: bool,
) -> RuleResult:
    words = f"at most {signed_percent(limit) if relative else signed_usd(limit)}"
    if old is None:
        return _result(rule, "not-applicable", words, "no base to compare with")

    def counted(side: list[Bought]) -> list[Bought]:
        return [item for item in side if not is_waived(item.id, waivers)]

    def rise(one: list[Bought], other: list[Bought]) -> float | None:
        was, now = _sum(one), _sum(other)
        if not relative:
            return now - was
        return (now - was) / was if was else None

    now, full = rise(counted(old), counted(items)), rise(old, items)
    if now is None:
        return _result(rule, "not-applicable", words, "the base costs nothing")
    state = "failed" if now > limit else "waived" if (full or 0) > limit else "passed"
    shown = signed_percent(now) if relative else f"{signed_usd(round(now, 2))} per month"
    return _result(rule, state, words, f"{shown}{_incomplete(items)}", (), waivers)


def _increase_ratio(*args: Any) -> RuleResult:
    return _increase(*args, relative=True)


def _increase_usd(*args: Any) -> RuleResult:
    return _increase(*args, relative=False)


def _each(
    rule: Budget,
    items: list[Bought],
    waivers: list[Waiver],
    limit: str,
    broken: Callable[[Bought], str | None],
) -> RuleResult:
    """A rule that every bought case must keep."""
    found = [Offender(i.id, i.file, why) for i in items if (why := broken(i))]
    left = [offender for offender in found if not is_waived(offender.id, waivers)]
    state = "failed" if left else "waived" if found else "passed"
    now = f"{len(left)} of {len(items)} break it"
    if len(found) > len(left):
        now += f", {len(found) - len(left)} waived"
    return _result(rule, state, limit, now, left, waivers)


def _verdict(
    rule: Budget, limit: Any, items: list[Bought], _: Any, waivers: list[Waiver], __: date
) -> RuleResult:
    def broken(item: Bought) -> str | None:
        if item.choice.outcome == "nothing-fits":
            return item.choice.sentence
        if item.choice.is_answered and item.choice.verdict not in limit:
            return f"{item.choice.label} is only {item.choice.verdict}"
        return None

    return _each(rule, items, waivers, f"every one {' or '.join(limit)}", broken)


def _free(
    rule: Budget, limit: Any, items: list[Bought], _: Any, waivers: list[Waiver], __: date
) -> RuleResult:
    def broken(item: Bought) -> str | None:
        used = item.choice.utilization
        if used is None or 1 - used >= limit:
            return None
        return f"{(1 - used) * 100:.1f} % free on {item.choice.label}"

    return _each(rule, items, waivers, f"at least {limit:.0%} of memory free", broken)


def _age(
    rule: Budget, limit: Any, items: list[Bought], _: Any, waivers: list[Waiver], today: date
) -> RuleResult:
    def broken(item: Bought) -> str | None:
        answer = item.choice
        if not answer.is_answered:
            return None
        if answer.price_date is None:
            return f"the price of {answer.label} has no date"
        days = (today - date.fromisoformat(answer.price_date)).days
        return f"the price of {answer.label} is {days} days old" if days > limit else None

    return _each(rule, items, waivers, f"prices at most {limit} days old", broken)


def _outcome(
    rule: Budget, items: list[Bought], waivers: list[Waiver], limit: str, *outcomes: str
) -> RuleResult:
    def broken(item: Bought) -> str | None:
        return item.choice.sentence if item.choice.outcome in outcomes else None

    return _each(rule, items, waivers, limit, broken)


_CHECKS: Final[Mapping[str, Check]] = {
    "max_usd_per_month": _ceiling,
    "max_increase_ratio": _increase_ratio,
    "max_increase_usd_per_month": _increase_usd,
    "verdict": _verdict,
    "min_free_ratio": _free,
    "max_price_age_days": _age,
    "require_price": lambda rule, _, items, __, waivers, ___: _outcome(
        rule, items, waivers, "every one has a price", "no-price"
    ),
    "require_objectives": lambda rule, _, items, __, waivers, ___: _outcome(
        rule, items, waivers, "every one meets its objectives", "misses-objective"
    ),
}


__all__ = ["STATES", "Bought", "Offender", "RuleResult", "all_budgets", "bought", "run_gates"]
