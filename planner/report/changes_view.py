"""What changed against a base plan: final words for the page, from the diff that reviews use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.plan import Plan
from planner.report import view, words
from planner.review import sentences
from planner.review.diff import diff_plans
from planner.review.model import KINDS, Change, Choice, Diff
from planner.review.words import DASH, plain, signed_percent, signed_usd

ROWS_SHOWN: Final = 60
_SETTINGS_SHOWN: Final = 16
_HASH_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One purchase or case that is answered otherwise than before."""

    kind: str
    glyph: str
    words: str
    name: str
    before: str
    after: str
    link: str
    cost: str
    free: str
    cause: str


@dataclass(frozen=True, slots=True)
class Changes:
    """The view: a finding, its figures, the rows worst first, and what differs in the inputs."""

    finding: str
    counts: str
    figures: tuple[view.Figure, ...]
    missing: tuple[str, ...]
    purchases: tuple[ChangedRow, ...]
    purchases_hidden: int
    cases: tuple[ChangedRow, ...]
    cases_hidden: int
    flips: str
    inputs: tuple[tuple[str, str, str], ...]
    settings_hidden: int


def changes(plan: Plan, base: Plan) -> Changes:
    """What the plan answers otherwise than `base` did, and which inputs differ."""
    stem = plan.scenario.stem
    diff = diff_plans({stem: base}, {stem: plan})
    gpus = {c.gpu: c.gpu_name for p in (base, plan) for c in p.configurations}
    rows = _Rows(plan, base, gpus)
    settings = list(_settings(base.inputs.resolved, plan.inputs.resolved))
    return Changes(
        finding=_finding(diff),
        counts=sentences.counts_sentence(diff) if diff.is_changed else "",
        figures=_figures(diff),
        missing=tuple(sentences.missing_sentences(diff)),
        purchases=tuple(rows.row(change) for change in diff.purchases[:ROWS_SHOWN]),
        purchases_hidden=max(0, len(diff.purchases) - ROWS_SHOWN),
        cases=tuple(rows.row(change) for change in diff.cases[:ROWS_SHOWN]),
        cases_hidden=max(0, len(diff.cases) - ROWS_SHOWN),
        flips=sentences.flips_sentence(diff),
        inputs=(*_sources(base, plan), *settings[:_SETTINGS_SHOWN]),
        settings_hidden=max(0, len(settings) - _SETTINGS_SHOWN),
    )


def _finding(diff: Diff) -> str:
    if not diff.is_changed:
        return sentences.unchanged_sentence(diff).capitalize() + "."
    before, after = diff.base_total, diff.head_total
    if before.bought + after.bought == before.without_month + after.without_month:
        moved = round(after.usd_per_hour - before.usd_per_hour, 4)
        return f"{signed_usd(moved)} per hour for all purchases together."
    if not diff.delta_usd_per_month:
        return "The total stays the same, the answers do not."
    delta, percent = diff.delta_usd_per_month, signed_percent(diff.ratio)
    more = "more" if delta > 0 else "less"
    share = f" ({_tight(percent)})" if percent else ""
    return f"{words.usd(abs(delta))} a month {more} than before{share}."


def _tight(text: str) -> str:
    """Per cents as the rest of the page writes them: `29%`."""
    return text.replace(" %", "%")


def _figures(diff: Diff) -> tuple[view.Figure, ...]:
    before, after = diff.base_total, diff.head_total
    if after.bought == after.without_month:
        return ()
    return (
        view.Figure("before, a month", words.usd(before.usd_per_month)),
        view.Figure("now, a month", words.usd(after.usd_per_month)),
        view.Figure("change", signed_usd(diff.delta_usd_per_month)),
    )


class _Rows:
    """Rows of the view, with the names that the rest of the page uses."""

    def __init__(self, plan: Plan, base: Plan, gpus: Mapping[str, str]) -> None:
        self._gpus = gpus
        self._head = {case.case_id: i for i, case in enumerate(plan.cases)}
        self._plans = {True: plan, False: base}
        self._cases = {
            is_head: {case.case_id: case for case in p.cases} for is_head, p in self._plans.items()
        }
        self._varying = {is_head: view.varying_axes(p) for is_head, p in self._plans.items()}
        self._columns = {(c.gpu, c.gpu_count): i for i, c in enumerate(plan.configurations)}

    def row(self, change: Change) -> ChangedRow:
        """One change in words."""
        glyph, said = KINDS[change.kind]
        return ChangedRow(
            kind=change.kind,
            glyph=glyph,
            words=said,
            name=self._name(change),
            before=self._side(change.before),
            after=self._side(change.after),
            link=self._link(change.after),
            cost=_tight(sentences.cost_cell(change)),
            free=_tight(sentences.free_cell(change)),
            cause=self._spoken(sentences.cause_cell(change)),
        )

    def _name(self, change: Change) -> str:
        choice, is_head = (change.after, True) if change.after else (change.before, False)
        case = self._cases[is_head].get(choice.case_id) if choice else None
        if case is None:
            return plain(change.id)
        what = view.case_what(case, self._varying[is_head])
        return f"{words.model_name(case.model)}, {what}"

    def _side(self, side: Choice | None) -> str:
        return self._spoken(sentences.choice_cell(side))

    def _spoken(self, text: str) -> str:
        return _tight(words.spoken(text, self._gpus))

    def _link(self, choice: Choice | None) -> str:
        if choice is None or choice.case_id not in self._head:
            return ""
        column = self._columns.get((choice.gpu, choice.gpu_count))
        return "" if column is None else f"{self._head[choice.case_id]}.{column}"


def _sources(base: Plan, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Name, base and now of what a plan is computed from, where it differs."""

    def sources(p: Plan) -> tuple[tuple[str, str], ...]:
        dates = (p.inputs.oldest_price_date, p.inputs.newest_price_date)
        return (
            ("Planner", p.planner_version),
            ("Catalog", p.inputs.catalog_sha256[:_HASH_SHOWN]),
            ("Price dates", " to ".join(dict.fromkeys(d for d in dates if d)) or DASH),
            ("Scenario file", p.inputs.scenario_sha256[:_HASH_SHOWN]),
        )

    for (name, before), (_, now) in zip(sources(base), sources(plan), strict=True):
        if before != now:
            yield name, before, now


def _settings(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, base and now of every setting of the scenario that differs."""
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _settings(before.get(key), now.get(key), inner)
        return
    named = _by_name(before), _by_name(now)
    if path and named[0] is not None and named[1] is not None:
        yield from _settings(*named, path)
        return
    yield path, _setting(before), _setting(now)


def _by_name(entries: Any) -> dict[str, Any] | None:
    """A list of entries with names as a mapping: their order is no setting."""
    if not isinstance(entries, list | tuple) or not entries:
        return None
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in entries]
    if None in names or len(set(names)) < len(names):
        return None
    return dict(zip(map(str, names), entries, strict=True))


def _setting(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return plain(", ".join(f"{key}: {_setting(entry)}" for key, entry in value.items()))
    if isinstance(value, list | tuple):
        return plain(", ".join(_setting(entry) for entry in value)) or DASH
    return plain(str(value))
