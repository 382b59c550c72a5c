"""Where the money goes, and what the numbers rest on: final words for the quieter views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any, Final

from planner.plan import Plan, PlanChoice
from planner.report import view, words

_HASH_SHOWN: Final = 12
_CLOSE_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Share:
    """A line of the cost view."""

    name: str
    month: str
    percent: str
    width: float
    purchases: str


@dataclass(frozen=True, slots=True)
class ShareGroup:
    """Where the money goes, by one criterion, dearest first."""

    title: str
    finding: str
    shares: tuple[Share, ...]


def cost_groups(plan: Plan) -> tuple[ShareGroup, ...]:
    """Monthly cost of what is bought, by workload, model, GPU and provider."""
    rows = []
    for case in plan.cases:
        if not case.is_bought or case.cheapest is None:
            continue
        cell = plan.details[case.cheapest].cell
        if cell.get("usd_per_month"):
            rows.append((case, cell, float(cell["usd_per_month"])))
    names = {c.gpu: c.gpu_name for c in plan.configurations}
    groups = (
        ("By workload", [(case.workload, usd) for case, _, usd in rows]),
        ("By model", [(words.model_name(case.model), usd) for case, _, usd in rows]),
        ("By GPU", [(names.get(str(c.get("gpu")), ""), usd) for _, c, usd in rows]),
        ("By provider", [(str(cell.get("provider") or "none"), usd) for _, cell, usd in rows]),
    )
    found = [_share_group(plan, title, pairs) for title, pairs in groups if pairs]
    told = [group for group in found if len(group.shares) > 1]
    return tuple(told or found[:1])


def _share_group(plan: Plan, title: str, pairs: Sequence[tuple[str, float]]) -> ShareGroup:
    sums = [
        (name, [usd for _, usd in members])
        for name, members in groupby(sorted(pairs), key=lambda pair: pair[0])
    ]
    sums.sort(key=lambda entry: (-sum(entry[1]), entry[0]))
    whole, largest = sum(usd for _, usd in pairs), sum(sums[0][1])
    currency = plan.scenario.currency
    shares = tuple(
        Share(
            name=name,
            month=words.usd(sum(members), currency),
            percent=f"{100 * sum(members) / whole:.0f}%",
            width=round(100 * sum(members) / largest, 1),
            purchases=f"{len(members)} purchase{'s' * (len(members) != 1)}",
        )
        for name, members in sums
    )
    first = shares[0]
    if len(shares) == 1:
        finding = f"All of it is {first.name}."
    else:
        finding = f"{first.name} takes {first.percent} of {words.usd(whole, currency)} a month."
    return ShareGroup(title, finding, shares)


@dataclass(frozen=True, slots=True)
class Fallback:
    """What changes where a first choice is sold out."""

    purchase: str
    first: str
    second: str
    more: str


def fallbacks(plan: Plan) -> tuple[str, tuple[Fallback, ...]]:
    """A finding, and per purchase what the next hardware costs on top a month, dearest first."""
    currency = plan.scenario.currency
    index, varying = view.configuration_index(plan), view.varying_axes(plan)
    rows: list[tuple[float, Fallback]] = []
    for case in plan.cases:
        if not case.is_bought or case.cheapest is None:
            continue
        cell = plan.details[case.cheapest].cell
        first = view.configuration_of(index, cell)
        runner = view.runner_up(plan, case, first, index)
        if first is None or runner is None:
            continue
        second = view.configuration_of(index, runner.cell)
        month, other = cell.get("usd_per_month"), runner.cell.get("usd_per_month")
        if second is None or second == first or month is None or other is None:
            continue
        name = f"{words.model_name(case.model)}, {view.case_what(case, varying)}"
        labels = (words.times_sign(first.label), words.times_sign(second.label))
        more = f"+{words.usd(other - month, currency)}"
        rows.append((other - month, Fallback(name, *labels, more)))
    rows.sort(key=lambda row: -row[0])
    whole = sum(extra for extra, _ in rows)
    if not rows:
        return "", ()
    finding = (
        f"Taking the runner-up for {'both' if len(rows) == 2 else f'all {len(rows)}'} instead "
        f"costs {words.usd(whole, currency)} more a month."
        if len(rows) > 1
        else f"Taking the runner-up instead costs {words.usd(whole, currency)} more a month."
    )
    return finding, tuple(fallback for _, fallback in rows)


@dataclass(frozen=True, slots=True)
class Turn:
    """What stands behind one choice, and what would change it, in sentences."""

    purchase: str
    sentences: tuple[str, ...]


def turns(plan: Plan) -> tuple[Turn, ...]:
    """Per purchase what binds the choice, what would flip it, and where commitment pays."""
    varying, found = view.varying_axes(plan), []
    gpus = view.gpu_names(plan)
    for choice in plan.choices:
        case = plan.cases[choice.case]
        if not case.is_bought:
            continue
        sentences = (
            choice.binding_sentence,
            _close(choice),
            *(flip.sentence for flip in choice.flips),
            *(even.sentence for even in choice.break_even),
        )
        told = tuple(
            _sentence(words.spoken(text, gpus, plan.scenario.currency))
            for text in sentences
            if text
        )
        name = f"{words.model_name(case.model)}, {view.case_what(case, varying)}"
        if told:
            found.append(Turn(name, told))
    return tuple(found)


def _close(choice: PlanChoice) -> str:
    """The configurations at most a tenth dearer, and how many cost the same."""
    named = [
        f"{other.label} ({words.surcharge(other.surcharge_ratio)})"
        for other in choice.close_runners_up[:_CLOSE_NAMED]
    ]
    rest = len(choice.close_runners_up) - len(named)
    more = f", and {rest} more" if rest else ""
    tie = f"{choice.tied} ways cost the same; " if choice.tied > 1 else ""
    close = f"within a tenth of the cost: {'; '.join(named)}{more}" if named else ""
    return (tie + close).removesuffix("; ")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Assumptions that hold for the whole plan, as name and value."""
    scenario, inputs = plan.scenario, plan.inputs
    constraints = scenario.constraints.items()
    pairs = [
        ("Scenario", scenario.file),
        ("Estimator", scenario.estimator),
        ("Hours in a month", words.count(scenario.hours_per_month)),
        ("Currency", scenario.currency),
        ("Prices", price_dates(plan)),
        ("Counted from", scenario.as_of or "no date given"),
        *((_title(name), _constraint(name, value)) for name, value in constraints),
        ("Cells estimated", words.count(plan.cells_total)),
        ("Planner", plan.planner_version),
        ("Scenario hash", inputs.scenario_sha256[:_HASH_SHOWN]),
        ("Catalog hash", inputs.catalog_sha256[:_HASH_SHOWN]),
    ]
    return tuple((name, value) for name, value in pairs if value not in ("", "none"))


def price_dates(plan: Plan) -> str:
    """From when the prices are."""
    inputs = plan.inputs
    oldest, newest = inputs.oldest_price_date, inputs.newest_price_date
    if oldest is None:
        text = "no dated price in use"
    elif oldest == newest:
        text = f"of {oldest}"
    else:
        text = f"{oldest} to {newest}"
    text += _ages(plan)
    if inputs.stale_offers:
        text += f", {inputs.stale_offers} stale"
    if inputs.undated_offers:
        text += f", {inputs.undated_offers} without a date"
    return text


def _ages(plan: Plan) -> str:
    """How old the prices are on the day that the scenario counts from."""
    inputs, as_of = plan.inputs, plan.scenario.as_of
    if as_of is None or inputs.oldest_price_date is None or inputs.newest_price_date is None:
        return ""
    try:
        day = date.fromisoformat(as_of)
        dates = [
            date.fromisoformat(d) for d in (inputs.newest_price_date, inputs.oldest_price_date)
        ]
    except ValueError:
        return ""
    ages = [f"{max(0, (day - found).days)}" for found in dates]
    return f", {' to '.join(dict.fromkeys(ages))} days old on {as_of}"


def _title(name: str) -> str:
    plain = name.replace("_", " ").capitalize()
    return plain.replace("usd", "USD").replace("gpus", "GPUs")


def _constraint(name: str, value: Any) -> str:
    if name == "memory_headroom" and isinstance(value, int | float):
        return f"{100 * value:g}% of usable memory"
    return _setting(value)


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_setting(entry)}" for key, entry in value.items())
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ", ".join(_setting(entry) for entry in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def workload_lines(plan: Plan) -> tuple[tuple[str, str, str, str], ...]:
    """Name, what varies, what is fixed and what is bought, per workload."""
    lines = []
    for workload in plan.workloads:
        varies = "; ".join(
            f"{words.AXIS_WORDS.get(axis, axis)}: {_setting(values)}"
            for axis, values in workload.axes.items()
        )
        fixed = "; ".join(
            f"{words.AXIS_WORDS.get(name, name)}: {_setting(value)}"
            for name, value in workload.fixed.items()
        )
        each = [words.AXIS_WORDS.get(axis, axis).lower() for axis in workload.for_each]
        bought = f"one for each {' and '.join(each)}" if each else "one: all cases are alternatives"
        lines.append((workload.name, varies, fixed, bought))
    return tuple(lines)
