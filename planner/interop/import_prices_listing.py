"""Listings: what every reader of a price catalog makes of its rows, and what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

PLACEHOLDER_USD: Final = 700.0
"""A stand-in price of one public catalog, where the seller names none."""
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of a price catalog. None: not said. Prices are USD per hour of the whole shape.

    `names` are what the row calls its GPU, the most telling first.
    """

    line: int
    instance_type: str
    region: str
    zone: str
    names: tuple[str, ...]
    memory_gib: float | None
    count: float
    vcpus: float | None
    ram_gb: float | None
    on_demand_usd: float | None
    spot_usd: float | None
    note: str = ""


@dataclass(slots=True)
class Skipped:
    """Rows and prices left out, by reason, with the first lines of each."""

    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        """Count one more for this reason."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.lines.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(line)

    def texts(self) -> list[str]:
        """`12 × reason (lines 3, 8, 9, ...)`, the most frequent first."""
        texts = []
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            lines = ", ".join(map(str, self.lines[reason]))
            more = ", ..." if count > len(self.lines[reason]) else ""
            word = "line" if count == 1 else "lines"
            texts.append(f"{count:,} × {reason} ({word} {lines}{more})")
        return texts


def number(text: str | None) -> float | None:
    """A number; None where the cell is blank.

    Raises:
        ValueError: it is no finite number.
    """
    if text is None or not text.strip():
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def price(text: str | None, what: str, line: int, skipped: Skipped) -> float | None:
    """A price, or None where the cell means that it is not sold this way.

    Blank, zero and the placeholder are no prices; only a blank is too usual to be counted.

    Raises:
        ValueError: the cell is no number, or negative.
    """
    value = number(text)
    if value is None:
        return None
    if value < 0:
        raise ValueError(text)
    if value == 0:
        skipped.add(f"{what} price of 0: not sold this way", line)
        return None
    if value == PLACEHOLDER_USD:
        skipped.add(f"{what} price is the placeholder {PLACEHOLDER_USD:g}", line)
        return None
    return value


def without_copied_spot(listings: Sequence[Listing], skipped: Skipped) -> list[Listing]:
    """Listings without spot prices where the feed merely repeats the on-demand price."""
    both = [entry for entry in listings if entry.on_demand_usd and entry.spot_usd]
    if not both or any(entry.spot_usd != entry.on_demand_usd for entry in both):
        return list(listings)
    for entry in both:
        skipped.add("spot column repeats the on-demand price", entry.line)
    from dataclasses import replace

    repeated = {id(entry) for entry in both}
    return [replace(e, spot_usd=None) if id(e) in repeated else e for e in listings]
