"""A diff and its rules for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from planner.review.gates import RuleResult
from planner.review.model import KINDS, Change, Diff
from planner.review.sentences import (
    cause_cell,
    choice_cell,
    cost_cell,
    counts_sentence,
    flips_sentence,
    free_cell,
    gate_sentence,
    left_out_sentence,
    missing_sentences,
    provenance,
    source_words,
    total_sentence,
    unchanged_sentence,
)
from planner.review.words import plain, signed_usd

_LONG: Final = 2000


def render_text(diff: Diff, gates: Sequence[RuleResult] = ()) -> str:
    """Everything that changed, worst first, without a limit."""
    if not diff.is_changed:
        lines = [unchanged_sentence(diff)]
    else:
        lines = [total_sentence(diff), counts_sentence(diff), *missing_sentences(diff)]
        lines += [*(plain(note, _LONG) for note in diff.notes), ""]
        lines += ["why it moved [USD per month]:"]
        lines += [
            f"  {signed_usd(row.usd_per_month):>12}  {plain(source_words(row, diff))}"
            + (f" - {row.note}" if row.note else "")
            for row in diff.attribution
        ]
        lines += _rows("purchases", diff.purchases)
        lines += _rows("cases that are not bought", diff.cases)
        if flips := flips_sentence(diff):
            lines += ["", flips]
    if gates:
        lines += ["", *gate_lines(gates)]
    lines += ["", left_out_sentence(diff), *provenance(diff)]
    lines += [f"renamed: {plain(old)} → {plain(new)}" for old, new in diff.renames]
    return "\n".join(lines) + "\n"


def _rows(title: str, changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    lines = ["", f"{title}:"]
    for change in changes:
        glyph, words = KINDS[change.kind]
        lines.append(f"  {glyph} {plain(change.id)}: {words}")
        before, after = choice_cell(change.before), choice_cell(change.after)
        moved = before if before == after else f"{before} → {after}"
        lines.append(f"      {plain(moved)}, {cost_cell(change)}, {free_cell(change)} free")
        if why := cause_cell(change):
            lines.append(f"      {why}")
    return lines


def gate_lines(gates: Sequence[RuleResult]) -> list[str]:
    """Each check of each rule, failures first."""
    order = {"failed": 0, "waived": 1, "not-applicable": 2, "passed": 3}
    lines = [f"rules: {gate_sentence(gates)}"]
    for result in sorted(gates, key=lambda r: (order[r.state], r.level != "error")):
        state = result.state
        if state == "failed":
            state = "FAILED" if result.is_failure else "warning"
        head = f"  {state}: {result.rule} [{result.scope}] {result.limit}: {result.now}"
        lines.append(f"{plain(head, _LONG)} ({plain(str(result.place))})")
        lines += [f"      {plain(o.id)}: {plain(o.detail, _LONG)}" for o in result.offenders]
        lines += [f"      waived: {plain(text, _LONG)}" for text in result.waivers]
    return lines
