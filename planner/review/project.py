"""The project file `planner.yaml`: where things are, assumptions, budgets, waivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from planner.documents import Document, check_document, load_document
from planner.errors import InputProblems, Problem
from planner.review.diff import Thresholds

PROJECT_FILE: Final = "planner.yaml"
_MODEL_LOCK: Final = ".lock.yaml"
DEFAULT_SCENARIOS: Final = ("scenarios/*.yaml",)
LIMITS: Final = (
    "max_usd_per_month",
    "max_increase_ratio",
    "max_increase_usd_per_month",
    "verdict",
    "min_free_ratio",
    "max_price_age_days",
    "require_price",
    "require_objectives",
)
"""What a budget may limit; each is one check."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line 0 where only the file is known."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Budget:
    """A rule over bought cases. `scope_kind` is all, workload, tag or file; `stem` the scenario
    that declares it, empty in the project file."""

    id: str
    scope_kind: str
    scope_name: str
    level: str
    limits: Mapping[str, Any]
    place: Place
    stem: str = ""

    @property
    def scope(self) -> str:
        """The scope in words."""
        return f"{self.scope_kind} {self.scope_name}".strip()


@dataclass(frozen=True, slots=True)
class Waiver:
    """An accepted exception."""

    rule: str
    scenario: str
    reason: str
    owner: str
    expires: date
    place: Place


@dataclass(frozen=True, slots=True)
class Project:
    """A project file, or the defaults where there is none (`file` is None then)."""

    folder: Path
    file: Path | None = None
    scenarios: tuple[str, ...] = DEFAULT_SCENARIOS
    reports: str = "reports"
    prices: tuple[str, ...] = ()
    assumptions: Mapping[str, float] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    budgets: tuple[Budget, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def scenario_files(self) -> list[Path]:
        """The scenario files, sorted, each once.

        Raises:
            InputProblems: a pattern matches no file.
        """
        found: dict[Path, None] = {}
        missing = []
        for pattern in self.scenarios:
            matches = sorted(
                path
                for path in self.folder.glob(pattern)
                if path.is_file() and not path.name.endswith(_MODEL_LOCK)
            )
            if not matches:
                missing.append(pattern)
            found |= dict.fromkeys(matches)
        if missing:
            raise InputProblems(
                [
                    Problem(
                        str(self.file or self.folder), 0, 0, "no-scenarios", "$.scenarios",
                        f"'{pattern}' matches no file",
                        "name a scenario file, or run 'planner init'",
                    )
                    for pattern in missing
                ]
            )  # fmt: skip
        return list(found)


def find_project(start: Path) -> Project:
    """The project of a folder: the nearest `planner.yaml` in it or above, up to the repository.

    Raises:
        InputProblems: the file is wrong.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / PROJECT_FILE).is_file():
            return read_project(candidate / PROJECT_FILE)
        if (candidate / ".git").exists():
            break
    return Project(start)


def read_project(path: Path) -> Project:
    """A project file.

    Raises:
        InputProblems: every mistake with its place.
    """
    document = load_document(path, shown_as=path.name)
    problems = [*document.problems, *check_document(document, "project")]
    if not problems:
        problems = [*_dates(document), *_twice(document)]
    if problems:
        raise InputProblems(problems)
    data = document.data
    return Project(
        folder=path.parent,
        file=path,
        scenarios=tuple(data.get("scenarios") or DEFAULT_SCENARIOS),
        reports=data.get("reports", "reports"),
        prices=tuple(data.get("prices", ())),
        assumptions=data.get("assumptions") or {},
        thresholds=Thresholds(**(data.get("diff") or {})),
        budgets=tuple(
            budget(entry, _place(document, ("budgets", index)))
            for index, entry in enumerate(data.get("budgets") or ())
        ),
        waivers=tuple(
            Waiver(
                entry["rule"],
                entry["scenario"],
                entry["reason"],
                entry["owner"],
                date.fromisoformat(entry["expires"]),
                _place(document, ("waivers", index)),
            )
            for index, entry in enumerate(data.get("waivers") or ())
        ),
    )


def budget(entry: Mapping[str, Any], place: Place, stem: str = "") -> Budget:
    """A budget as written in a project file or a scenario."""
    scope = entry.get("scope", "all")
    kind, name = next(iter(scope.items())) if isinstance(scope, Mapping) else ("all", "")
    limits = {key: entry[key] for key in LIMITS if key in entry}
    return Budget(entry["id"], kind, name, entry.get("level", "error"), limits, place, stem)


def rule_changes(old: Project, new: Project) -> list[str]:
    """Which rules and waivers a change adds, removes or moves, in words."""
    before, after = ({rule.id: rule for rule in side.budgets} for side in (old, new))
    found = [f"rule '{name}' was removed" for name in before if name not in after]
    found += [f"rule '{name}' is new" for name in after if name not in before]
    for name in (name for name in before if name in after):
        one, other = before[name], after[name]
        for key in dict.fromkeys([*one.limits, *other.limits]):
            limits = one.limits.get(key, "not set"), other.limits.get(key, "not set")
            if limits[0] != limits[1]:
                found.append(f"rule '{name}': {key} {limits[0]} → {limits[1]}")
        for key in ("scope", "level"):
            if getattr(one, key) != getattr(other, key):
                found.append(f"rule '{name}': {key} {getattr(one, key)} → {getattr(other, key)}")
    waived = {(w.rule, w.scenario, w.expires) for w in old.waivers}
    found += [
        f"waiver of '{w.rule}' for '{w.scenario}' until {w.expires} by {w.owner}: {w.reason}"
        for w in new.waivers
        if (w.rule, w.scenario, w.expires) not in waived
    ]
    return found


def _place(document: Document, path: tuple[str | int, ...]) -> Place:
    mark = document.mark(path)
    return Place(document.file, mark.line, mark.col)


def _dates(document: Document) -> Iterable[Problem]:
    for index, entry in enumerate(document.data.get("waivers") or ()):
        try:
            date.fromisoformat(entry["expires"])
        except ValueError:
            yield document.problem(
                ("waivers", index, "expires"), "bad-date", f"'{entry['expires']}' is no date"
            )


def _twice(document: Document) -> Iterable[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(document.data.get("budgets") or ()):
        if entry["id"] in seen:
            yield document.problem(
                ("budgets", index, "id"), "duplicate-id", f"'{entry['id']}' is given twice"
            )
        if not any(key in entry for key in LIMITS):
            yield document.problem(
                ("budgets", index), "no-limit", f"'{entry['id']}' limits nothing",
                f"add one of {', '.join(LIMITS)}",
            )  # fmt: skip
        seen.add(entry["id"])
