"""A diff as a value: what every renderer and gate reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from planner.review.words import DASH

DIFF_VERSION: Final = 1

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "stopped-fitting": ("✕", "stopped fitting"),
    "lost-choice": ("✕", "no longer has a choice"),
    "removed": (DASH, "removed"),
    "dearer": ("▲", "dearer"),
    "became-tight": ("◐", "became tight"),
    "other-choice": ("~", "other choice, same price"),
    "memory-moved": ("≈", "same choice, memory moved"),
    "cheaper": ("▼", "cheaper"),
    "now-fits": ("✓", "now has a choice"),
    "new": ("+", "new"),
    "unchanged": ("=", "unchanged"),
}
"""Change classes, worst first: glyph and words."""

SOURCES: Final[Mapping[str, str]] = {
    "scenario": "Scenario files",
    "catalog": "Model and GPU catalog",
    "prices": "Prices",
    "estimator": "Estimator",
}
"""Where a change of the total can come from, in the order in which it is attributed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a case, or a purchase, is answered with on one side.

    Without an answer the numbers are None and `sentence` says why. `label` names the
    configuration and seller; `key` is what makes two choices the same.
    """

    case_id: str
    outcome: str
    sentence: str
    label: str = ""
    key: tuple[str, ...] = ()
    gpu: str = ""
    gpu_count: int = 0
    verdict: str | None = None
    utilization: float | None = None
    usd_per_hour: float | None = None
    usd_per_month: float | None = None
    price_date: str | None = None

    @property
    def is_answered(self) -> bool:
        """Whether something was chosen."""
        return self.outcome == "chosen"


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a review: a purchase, or a case that is not bought.

    `id` is `scenario/key`; `was` the id in the base where it differs. Deltas are USD, head minus
    base; a side without an answer counts as nothing.
    """

    kind: str
    scenario: str
    id: str
    was: str | None
    before: Choice | None
    after: Choice | None
    delta_usd_per_month: float | None
    delta_usd_per_hour: float
    ratio: float | None
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttributionRow:
    """A share of the total's change.

    Several `sources` in one row can't be told apart, and `note` says why. `purchases` counts those
    whose cost moved at this step; None where it wasn't estimated step by step.
    """

    sources: tuple[str, ...]
    usd_per_month: float
    purchases: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """Where one side of a diff comes from."""

    label: str
    planner_versions: tuple[str, ...]
    scenarios: tuple[str, ...]
    catalogs: tuple[str, ...]
    oldest_price_date: str | None
    newest_price_date: str | None


@dataclass(frozen=True, slots=True)
class Total:
    """Sum over bought cases [USD per month], and what is missing from it."""

    usd_per_month: float
    usd_per_hour: float
    bought: int
    unanswered: int
    without_month: int


@dataclass(frozen=True, slots=True)
class Flip:
    """How many cells of the fit matrix went from one verdict to another."""

    before: str
    after: str
    cells: int


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sets of plans compared.

    `purchases` and `cases` (cases that neither side buys) hold changes only, worst first. `notes`
    are changes of the rules themselves.
    """

    base: Side
    head: Side
    base_total: Total
    head_total: Total
    purchases: tuple[Change, ...]
    cases: tuple[Change, ...]
    unchanged_purchases: int
    unchanged_cases: int
    attribution: tuple[AttributionRow, ...]
    flips: tuple[Flip, ...]
    renames: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether a reviewer has anything to look at."""
        return bool(self.purchases or self.cases or self.flips or self.renames or self.notes)

    @property
    def delta_usd_per_month(self) -> float:
        """Head minus base."""
        return round(self.head_total.usd_per_month - self.base_total.usd_per_month, 2)

    @property
    def ratio(self) -> float | None:
        """Relative change of the total; None from nothing."""
        base = self.base_total.usd_per_month
        return self.delta_usd_per_month / base if base else None

    def count(self, kind: str) -> int:
        """How many purchases changed this way."""
        return sum(change.kind == kind for change in self.purchases)
