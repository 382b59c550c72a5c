"""Listings: what every reader of a price catalog makes of its rows, and what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from planner.interop.import_prices_gpus import tpu_slice

Row = Mapping[str, str]
BLANKS: Final = frozenset({"", "nan", "none", "null", "n/a", "na", "-"})
"""What the feeds write into a cell that they know nothing for."""
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


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a row sells: the name of its accelerator and how many; of a TPU slice its chips."""

    name: str
    count: float
    is_slice: bool


def read_each(
    rows: Iterable[tuple[int, Row]],
    read: Callable[[int, Row, Accelerator, Skipped], Listing | None],
    skipped: Skipped,
    *,
    name: str,
    count: str,
) -> list[Listing]:
    """Listings of the rows that sell accelerators; what can't be read is left out and counted.

    Args:
        read: makes a listing of a line and its accelerator, or None for what is not sold.
        name, count: the columns that tell the accelerator.
    """
    found = []
    for line, row in rows:
        try:
            sold = accelerator(row.get(name, ""), row.get(count))
            if sold is None:
                skipped.add("no accelerator (CPU instance)", line)
                continue
            listing = read(line, row, sold, skipped)
        except ValueError as error:
            skipped.add(f"a cell can't be read: {error}", line)
            continue
        if listing is not None:
            found.append(listing)
    return found


def accelerator(name: str, count: str | None) -> Accelerator | None:
    """The accelerator of a row; None for a row of processors alone."""
    name, many = name.strip(), number(count)
    if name.casefold() in BLANKS or not many:
        return None
    if many < 0:
        raise ValueError(f"'{count}' accelerators")
    whole = tpu_slice(name)
    if whole:
        return Accelerator(whole[0], many * whole[1], is_slice=True)
    return Accelerator(name, many, is_slice=False)


def number(text: str | None) -> float | None:
    """A number; None where the cell is blank.

    Raises:
        ValueError: it is no finite number.
    """
    if text is None or text.strip().casefold() in BLANKS:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text.strip()}' is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"'{text.strip()}' is no number")
    return value


def price(text: str | None, what: str, line: int, skipped: Skipped) -> float | None:
    """A price, or None where the cell means that it is not sold this way.

    Blank, zero, less and the placeholder are no prices; only a blank is too usual to be counted.

    Raises:
        ValueError: the cell is no number.
    """
    value = number(text)
    if value is None:
        return None
    if value < 0:
        skipped.add(f"{what} price below 0: not sold this way", line)
        return None
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
    repeated = {id(entry) for entry in both}
    return [replace(e, spot_usd=None) if id(e) in repeated else e for e in listings]
