"""The pull request comment: one screen, worst first, and never longer than the site takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from planner.review.words import code, count_of, markdown, signed_usd

MAX_CHARACTERS: Final = 60_000
MAX_ROWS: Final = 20
_MAX_OTHERS: Final = 50
_MAX_OFFENDERS: Final = 5
_LONG: Final = 600
_STATES: Final = {"passed": "✅", "not-applicable": "▫️", "waived": "☑️"}


@dataclass(frozen=True, slots=True)
class CommentOptions:
    """How a comment finds its predecessor, and what it points to."""

    key: str = "plan"
    run: str = ""
    head: str = ""
    report: str = ""


def render_markdown(
    diff: Diff, gates: Sequence[RuleResult] = (), options: CommentOptions | None = None
) -> str:
    """The comment.

    Where it would be too long, details go first, then rows; the sentence, the gate line and the
    exclusions stay, and what was dropped is said.
    """
    given = options or CommentOptions()
    text = ""
    for rows, others, with_details in _SHRINKING:
        text = _comment(diff, gates, given, rows, others, with_details=with_details)
        if len(text) <= MAX_CHARACTERS:
            break
    return text


_SHRINKING: Final = (
    (MAX_ROWS, _MAX_OTHERS, True),
    (MAX_ROWS, 0, True),
    (MAX_ROWS, 0, False),
    (10, 0, False),
    (3, 0, False),
    (0, 0, False),
)


def marker(options: CommentOptions) -> str:
    """The hidden first line by which a later run finds this comment."""
    safe = {
        name: "".join(c for c in value if c.isalnum() or c in "._/-")
        for name, value in (("key", options.key), ("run", options.run), ("head", options.head))
    }
    # Two hyphens would end an HTML comment early.
    inner = f"planner-report: {safe['key']}; schema=1; run={safe['run']}; head={safe['head']}"
    return f"<!-- {inner.replace('--', '-')} -->"


def _comment(
    diff: Diff,
    gates: Sequence[RuleResult],
    options: CommentOptions,
    rows: int,
    others: int,
    *,
    with_details: bool,
) -> str:
    parts = [marker(options)]
    if not diff.is_changed:
        parts.append(f"### Capacity plan: {markdown(unchanged_sentence(diff))}")
        parts.append(_gate_line(diff, gates))
        if any(r.state == "failed" for r in gates):
            parts.append(_rules(gates))
        parts.append(markdown(left_out_sentence(diff), _LONG))
        return "\n\n".join(part for part in parts if part) + "\n"
    parts.append(f"### Capacity plan: **{markdown(total_sentence(diff))}**")
    parts.append(_gate_line(diff, gates))
    parts += [f"⚠️ {markdown(text, _LONG)}" for text in (*missing_sentences(diff), *diff.notes)]
    parts.append(_attribution(diff))
    parts.append(_table(diff.purchases, rows, "purchase"))
    if rows and (flips := flips_sentence(diff)):
        parts.append(markdown(flips))
    if others and diff.cases:
        words = count_of(len(diff.cases), "changed case")
        parts.append(_fold(f"{words} that {'is' if len(diff.cases) == 1 else 'are'} not bought",
                           _table(diff.cases, others, "case")))  # fmt: skip
    if gates and with_details:
        parts.append(_fold(f"Budget rules: {gate_sentence(gates)}", _rules(gates)))
    if with_details:
        parts.append(_fold(_inputs_title(diff), _inputs(diff)))
    dropped = _dropped(diff, others, with_details=with_details)
    parts.append(markdown(left_out_sentence(diff), _LONG))
    parts.append(dropped)
    if options.report:
        parts.append(f"Full matrix: {markdown(options.report)}. Updated in place on each push.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _dropped(diff: Diff, others: int, *, with_details: bool) -> str:
    gone = [] if with_details else ["rules", "inputs"]
    if not others and diff.cases:
        gone.append(f"{count_of(len(diff.cases), 'case')} that are not bought")
    return f"Left out for length: {', '.join(gone)}; all of it is in the report." if gone else ""


def _gate_line(diff: Diff, gates: Sequence[RuleResult]) -> str:
    if not gates:
        verdict = "no budget rules"
    else:
        failed = any(r.is_failure for r in gates)
        verdict = f"{'❌' if failed else '✅'} **{gate_sentence(gates)}**"
    if not diff.is_changed:
        return verdict if gates else ""
    return f"{verdict} · {markdown(counts_sentence(diff))}"


def _attribution(diff: Diff) -> str:
    lines = ["| Why it moved | USD / month | Purchases |", "| :-- | --: | --: |"]
    notes = []
    for row in diff.attribution:
        number = "" if row.purchases is None else str(row.purchases)
        words = markdown(source_words(row, diff))
        lines.append(f"| {words} | {markdown(signed_usd(row.usd_per_month))} | {number} |")
        if row.note:
            notes.append(f"{words}: {markdown(row.note, _LONG)}.")
    return "\n".join(lines) + ("\n\n" + " ".join(notes) if notes else "")


def _table(changes: Sequence[Change], limit: int, word: str) -> str:
    if not changes:
        return ""
    if not limit:
        return f"{count_of(len(changes), f'changed {word}')}: see the report."
    lines = [
        f"| | {word.capitalize()} | Cheapest before | Cheapest now | USD / month | Free memory "
        "| Cause |",
        "| :-: | :-- | :-- | :-- | --: | --: | :-- |",
    ]
    for change in changes[:limit]:
        now = markdown(choice_cell(change.after))
        if change.kind in ("stopped-fitting", "lost-choice"):
            now = f"**{now}**"
        cells = (
            KINDS[change.kind][0],
            code(change.id),
            markdown(choice_cell(change.before)),
            now,
            markdown(cost_cell(change)),
            markdown(free_cell(change)),
            markdown(cause_cell(change), _LONG),
        )
        lines.append(f"| {' | '.join(cells)} |")
    if len(changes) > limit:
        lines += ["", f"+ {len(changes) - limit} more in the report."]
    return "\n".join(lines)


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{markdown(title)}</summary>\n\n{body}\n\n</details>"


def _rules(gates: Sequence[RuleResult]) -> str:
    lines = ["| | Rule | Limit | Now | Where |", "| :-: | :-- | :-- | :-- | :-- |"]
    order = {"failed": 0, "waived": 1, "not-applicable": 2, "passed": 3}
    for result in sorted(gates, key=lambda r: (order[r.state], r.level != "error")):
        glyph = _STATES.get(result.state) or ("❌" if result.is_failure else "⚠️")
        now = result.now
        if result.offenders:
            names = [f"{o.id}: {o.detail}" for o in result.offenders[:_MAX_OFFENDERS]]
            more = len(result.offenders) - _MAX_OFFENDERS
            now += f" ({'; '.join(names)}{f'; {more} more' if more > 0 else ''})"
        if result.waivers:
            now += f". Waived: {'; '.join(result.waivers)}"
        lines.append(
            f"| {glyph} | {code(result.rule)} {markdown(result.scope)} | {markdown(result.limit)} "
            f"| {markdown(now, _LONG)} | {code(str(result.place))} |"
        )
    lines += [
        "",
        "To accept on purpose: add an entry under `waivers:` in `planner.yaml` "
        "(rule, scenario, reason, owner, expires). It is reviewed like any other line.",
    ]
    return "\n".join(lines)


def _inputs_title(diff: Diff) -> str:
    number = count_of(diff.unchanged_purchases, "unchanged purchase")
    return f"{number} · assumptions that matter · inputs"


def _inputs(diff: Diff) -> str:
    lines = [f"- {markdown(text, _LONG)}" for text in diff.assumptions]
    lines += [f"- {markdown(text, _LONG)}" for text in provenance(diff)]
    lines += [f"- renamed: {code(old)} → {code(new)}" for old, new in diff.renames]
    return "\n".join(lines)
