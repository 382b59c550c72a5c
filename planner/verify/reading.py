"""What was read out of one tool's or engine's output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.verify.columns import MEASURED

Values = dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Reading:
    """Figures and settings out of one output, by the columns of a file of measured inference runs.

    Attributes:
        tool: what the text was recognised as.
        values: GiB (`..._gib`), tokens, and settings of the run as numbers or text.
        engine: the engine whose log it is; None for a monitoring tool.
        free_gib: what the card had free when the engine started, where the log says no total.
        notes: what of the text was set aside, for the user to read.
    """

    tool: str
    values: Mapping[str, float | str] = field(default_factory=dict)
    engine: str | None = None
    free_gib: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_figures(self) -> bool:
        """Whether anything measured is among the values, not settings alone."""
        return any(name in self.values for name in MEASURED)


def setting(line: str, key: str) -> str | None:
    """The first value of a key in `key=value, ...` or `'key': value, ...`, quotes aside."""
    found = re.search(
        rf"(?<![\w.]){key}['\"]?\s*[=:]\s*(?:'([^']*)'|\"([^\"]*)\"|([^\s,)}}]+))", line
    )
    return next((one for one in found.groups() if one is not None), None) if found else None
