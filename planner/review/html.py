"""A diff as one section of HTML, to stand in a report or a page of its own."""

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
from planner.review.words import escaped_html as esc
from planner.review.words import signed_usd

_STYLE: Final = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .6rem;text-align:left;"
    "border-bottom:1px solid #8884;vertical-align:top}td.n{text-align:right;white-space:nowrap}"
    ":root{color-scheme:light dark}"
)


def render_html(diff: Diff, gates: Sequence[RuleResult] = ()) -> str:
    """A page of its own, without anything from elsewhere."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\"><title>Capacity plan: what changed</title>"
        f"<style>{_STYLE}</style></head>\n<body><main>\n{html_section(diff, gates)}"
        "</main></body></html>\n"
    )


def html_section(diff: Diff, gates: Sequence[RuleResult] = ()) -> str:
    """The `<section class="diff">` itself."""
    parts = ['<section class="diff" aria-labelledby="diff-title">']
    title = total_sentence(diff) if diff.is_changed else unchanged_sentence(diff)
    parts.append(f'<h1 id="diff-title">Capacity plan: {esc(title)}</h1>')
    if diff.is_changed:
        parts.append(f"<p>{esc(counts_sentence(diff))}</p>")
        parts += [f"<p><strong>{esc(text)}</strong></p>" for text in missing_sentences(diff)]
        parts.append(_attribution(diff))
        parts.append(_changes("Purchases", diff.purchases))
        parts.append(_changes("Cases that are not bought", diff.cases))
        parts.append(f"<p>{esc(flips_sentence(diff))}</p>" if diff.flips else "")
    if gates:
        parts.append(_rules(gates))
    facts = [left_out_sentence(diff), *diff.assumptions, *provenance(diff), *diff.notes]
    facts += [f"renamed: {old} → {new}" for old, new in diff.renames]
    parts.append("<ul>" + "".join(f"<li>{esc(fact)}</li>" for fact in facts) + "</ul>")
    parts.append("</section>")
    return "\n".join(part for part in parts if part) + "\n"


_LONG: Final = 2000


def _row(cells: Sequence[str], numbers: Sequence[int] = ()) -> str:
    shown = (
        f'<td class="n">{esc(cell, _LONG)}</td>' if i in numbers else f"<td>{esc(cell, _LONG)}</td>"
        for i, cell in enumerate(cells)
    )
    return f"<tr>{''.join(shown)}</tr>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{esc(text)}</th>' for text in heads)
    body = "\n".join(rows)
    return (
        f"<table><caption>{esc(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def _attribution(diff: Diff) -> str:
    rows = [
        _row([source_words(row, diff), signed_usd(row.usd_per_month), row.note], (1,))
        for row in diff.attribution
    ]
    return _table("Why it moved", ("Source", "USD per month", "Note"), rows)


def _changes(caption: str, changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    heads = ("Change", "Case", "Before", "Now", "USD per month", "Free memory", "Cause")
    rows = [
        _row(
            [
                " ".join(KINDS[change.kind]),
                change.id,
                choice_cell(change.before),
                choice_cell(change.after),
                cost_cell(change),
                free_cell(change),
                cause_cell(change),
            ],
            (4, 5),
        )
        for change in changes
    ]
    return _table(caption, heads, rows)


def _rules(gates: Sequence[RuleResult]) -> str:
    rows = []
    for result in gates:
        state = result.state if result.state != "failed" or result.is_failure else "warning"
        who = "; ".join(f"{o.id}: {o.detail}" for o in result.offenders[:5])
        rows.append(_row([state, result.rule, result.scope, result.limit, result.now, who]))
    heads = ("State", "Rule", "Scope", "Limit", "Now", "Who breaks it")
    return _table(f"Budget rules: {gate_sentence(gates)}", heads, rows)
