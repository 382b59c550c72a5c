"""What the sizes rest on, and how estimates agreed with measurements: words for the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from planner.plan import COMPONENTS, Plan
from planner.report import words

_NOTHING: Final = "\N{EN DASH}"
_QUANTITY: Final = re.compile(r"\{(\w+)\}")


def evidence(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    """Part, items and source of every kind of line in the plan's ledgers, in their order."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for detail in plan.details:
        for line in detail.ledger:
            found.setdefault((line.component, line.item), {})[line.source] = None
    order = {part: place for place, part in enumerate(COMPONENTS)}
    items: dict[tuple[str, str], list[str]] = {}
    for (part, item), sources in sorted(found.items(), key=lambda entry: order[entry[0][0]]):
        items.setdefault((part, _without_braces(sources)), []).append(item.replace("_", " "))
    return tuple(
        (words.COMPONENT_WORDS[part], ", ".join(names), source)
        for (part, source), names in items.items()
    )


def _without_braces(sources: Iterable[str]) -> str:
    """Sources as one text; `{name}` in them stands for a quantity of that name."""
    text = "; ".join(filter(None, sources))
    return _QUANTITY.sub(lambda found: found[1].replace("_", " "), text)


@dataclass(frozen=True, slots=True)
class Measured:
    """How estimates of one engine compare with published measurements."""

    engine: str
    component: str
    rows: str
    median: str
    high: str
    inside: str


def measured(plan: Plan) -> tuple[tuple[str, tuple[Measured, ...]], ...]:
    """Rows of the accuracy table by kind of estimate."""
    groups: dict[str, list[Measured]] = {}
    for row in plan.inputs.accuracy:
        groups.setdefault(row.kind, []).append(
            Measured(
                row.engine,
                row.component,
                words.count(row.rows),
                _share(row.median_error_ratio),
                _share(row.p95_error_ratio),
                _NOTHING if row.inside_share is None else f"{100 * row.inside_share:.0f}%",
            )
        )
    return tuple((kind, tuple(rows)) for kind, rows in groups.items())


def _share(ratio: float | None) -> str:
    if ratio is None:
        return _NOTHING
    if 0 < ratio < 0.0005:
        return "<0.1%"
    return f"{100 * ratio:.1f}%" if ratio < 0.1 else f"{100 * ratio:,.0f}%"
