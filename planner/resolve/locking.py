"""Which models of a scenario a lock pins, and their records from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from planner.catalog.load import Catalog, load_catalog
from planner.catalog.names import NameProblem
from planner.documents import Document, load_document
from planner.errors import InputProblems, PlannerError, Problem
from planner.resolve import hub
from planner.resolve.lock import file_sha256, record_of_snapshot
from planner.resolve.models import find_record
from planner.resolve.records import Record, facts_of_record

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model to fetch, and where the scenario names it."""

    model: str
    revision: str | None
    document: Document
    path: Path_


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one scenario: from the hub, from local files (hash by path), and remarks."""

    hub: list[Wanted] = field(default_factory=list)
    local: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Locker:
    """Collects the models of scenarios and fetches each of them once."""

    def __init__(
        self, on: date, *, only_missing: bool = False, catalog: Catalog | None = None
    ) -> None:
        self.on, self.only_missing = on, only_missing
        self.catalog = catalog or load_catalog()
        self._records: dict[tuple[str, str | None], Record] = {}

    def collect(self, scenario: Path) -> Models:
        """The models that a scenario names, without asking anyone.

        Raises:
            InputProblems: the file can't be read, or names a model that can be no hub id.
        """
        document = load_document(scenario)
        problems = list(document.problems)
        models = Models()
        seen: set[str] = set()
        for item, path in _named(document.data):
            key = str(item)
            if key in seen:
                continue
            seen.add(key)
            try:
                self._sort(item, path, scenario, document, models)
            except InputProblems as error:
                problems += error.problems
        if problems:
            raise InputProblems(problems)
        return models

    def _sort(
        self, item: Any, path: Path_, scenario: Path, document: Document, models: Models
    ) -> None:
        reference = item if isinstance(item, str) else str(item.get("id", ""))
        config = None if isinstance(item, str) else item.get("config")
        if config is not None:
            self._local(str(config), scenario, models)
            return
        if not isinstance(item, str) and set(item) - {"id", "assume_like"}:
            return  # known by its sizes only
        name, at, revision = reference.partition("@")
        own = find_record(reference, scenario.parent)
        if own is not None:
            asked = (own[0].get("pinned") or {}).get("requested_revision", "local")
            if asked == "local":
                models.notes.append(f"{reference}: from {own[1]}, which no hub has")
                return
            models.hub.append(Wanted(name, revision or asked, document, path))
            return
        try:
            name = self.catalog.resolve("models", name)
        except NameProblem as error:
            if error.candidates or not hub.is_hub_id(name) or "/" not in name:
                raise InputProblems([error.problem(document, path)]) from None
        else:
            if self.only_missing and not at:
                models.notes.append(f"{name}: from the catalog, not fetched")
                return
        hub.split_reference(f"{name}{at}{revision}")
        models.hub.append(Wanted(name, revision or None, document, path))

    def _local(self, config: str, scenario: Path, models: Models) -> None:
        target = scenario.parent / config
        if target.is_dir():
            config, target = f"{config.rstrip('/')}/config.json", target / "config.json"
        if not target.is_file():
            problem = Problem(str(scenario), 0, 0, "unreadable", "", f"'{config}': no such file")
            raise InputProblems([problem])
        if target.suffix != ".gguf":
            models.local[config] = file_sha256(target)

    def record(self, wanted: Wanted) -> Record:
        """The record of a model, fetched when first asked for.

        Raises:
            OutsideFailure: the hub can't give it. InputProblems: its config can't be read.
        """
        key = (wanted.model, wanted.revision)
        if key not in self._records:
            record = record_of_snapshot(hub.fetch(*key), self.on)
            try:
                facts_of_record(record, source="hub")
            except PlannerError as error:
                hint = "see docs/models.md for --derive and --assume-like of `planner models add`"
                problem = wanted.document.problem(wanted.path, "unreadable-model", str(error), hint)
                raise InputProblems([problem]) from None
            self._records[key] = record
        return self._records[key]


def _named(data: Any) -> Iterator[tuple[Any, Path_]]:
    """Every model entry of a scenario, with its place; the shape is not taken for granted.

    The draft models come last, without those that are entries of their own.
    """
    if not isinstance(data, dict):
        return
    workloads = data.get("workloads")
    parts = list(enumerate(workloads if isinstance(workloads, list) else ()))
    named = list(_listed(data.get("models"), ("models",)))
    for index, workload in parts:
        if isinstance(workload, dict):
            named += _listed(workload.get("models"), ("workloads", index, "models"))
    yield from named
    own = {item if isinstance(item, str) else str(item["id"]) for item, _ in named}
    for index, workload in parts:
        engine = workload.get("engine") if isinstance(workload, dict) else None
        draft = engine.get("draft_model") if isinstance(engine, dict) else None
        if isinstance(draft, str) and draft not in own:
            yield draft, ("workloads", index, "engine", "draft_model")


def _listed(items: Any, path: Path_) -> Iterator[tuple[Any, Path_]]:
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str) or (isinstance(item, dict) and "id" in item):
            yield item, (*path, index)
