"""Rules over plans: each result says what the limit is, what is now, and who breaks it.

All rules run, whatever breaks. Rules speak of bought cases only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Final

from planner.plan import Plan
from planner.review.model import Choice
from planner.review.pairing import renamed_scenarios
from planner.review.project import Budget, Place, Waiver, budget
from planner.review.view import choice, purchases
from planner.review.words import signed_percent, signed_usd, usd

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


def all_budgets(project_budgets: Iterable[Budget], plans: Mapping[str, Plan]) -> list[Budget]:
    """The project's rules, then those that scenarios declare for themselves."""
    found = list(project_budgets)
    for stem, plan in plans.items():
        place = Place(plan.scenario.file)
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
        scoped = [item for item in items if _inside(rule, item)]
        old = None if before is None else [item for item in before if _inside(rule, item)]
        mine = [waiver for waiver in alive if waiver.rule == rule.id]
        for check, limit in rule.limits.items():
            result = _CHECKS[check](rule, limit, scoped, old, mine, today)
            results.append(replace(result, check=check))
    results += _waiver_results(waivers, budgets, items, today)
    return tuple(results)


def _renamed(items: Iterable[Bought], renames: Mapping[str, str]) -> list[Bought]:
    new_names = {old: new for new, old in renames.items()}
    return [replace(i, scenario=new_names.get(i.scenario, i.scenario)) for i in items]


def _inside(rule: Budget, item: Bought) -> bool:
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


def _matches(waiver: Waiver, item_id: str) -> bool:
    return fnmatchcase(item_id, waiver.scenario) or item_id.startswith(f"{waiver.scenario}/")


def _waived(item_id: str, waivers: Iterable[Waiver]) -> bool:
    return any(_matches(waiver, item_id) for waiver in waivers)


def _words(waivers: Iterable[Waiver]) -> tuple[str, ...]:
    return tuple(f"{w.scenario}: {w.reason} ({w.owner}, until {w.expires})" for w in waivers)


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
        _words(waivers),
    )  # fmt: skip


def _ceiling(
    rule: Budget, limit: Any, items: list[Bought], _: Any, waivers: list[Waiver], __: date
) -> RuleResult:
    """The sum, less what waivers take out of it."""
    counted = [item for item in items if not _waived(item.id, waivers)]
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
        return [item for item in side if not _waived(item.id, waivers)]

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
    left = [offender for offender in found if not _waived(offender.id, waivers)]
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


def _waiver_results(
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
        elif not any(_matches(waiver, i.id) for i in items if _inside(rules[waiver.rule], i)):
            now = f"'{waiver.scenario}' matches no bought case in the rule's scope"
        else:
            continue
        limit = f"waiver of '{waiver.rule}' by {waiver.owner}"
        yield RuleResult("waiver", "waiver", waiver.scenario, "error", "failed", limit, now, (),
                         waiver.place)  # fmt: skip
