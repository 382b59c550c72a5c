"""The catalogs of a scenario: the shipped ones, its own files on top, and the names in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from planner.catalog.load import DATA as CATALOG_DATA
from planner.catalog.load import Catalog, load_catalog
from planner.catalog.names import NameProblem
from planner.errors import InputProblems, Problem, did_you_mean
from planner.resolve.engines import Engine, find_engine, load_engines, read_engine
from planner.resolve.scenario_models import known_beyond_catalog
from planner.scenario.model import Scenario
from planner.scenario.read import RawScenario

_CATALOG_KINDS: Final = {
    "gpus": "gpus",
    "prices": "offers",
    "formats": "formats",
    "models": "models",
    "optimizers": "optimizers",
}
"""Keys of a scenario's `catalog` and what they hold; engine profiles have a reader of their own."""
_DEFINED_BY: Final = {"offers": ("providers", "regions", "instance_types")}


def layered_catalog(raw: RawScenario, folder: Path) -> tuple[Catalog, list[Problem]]:
    """The shipped catalog with the scenario's own files on top, and the mistakes in them."""
    catalog = load_catalog()
    problems: list[Problem] = []
    files: Mapping[str, Any] = raw.data.get("catalog") or {}
    for key, kind in _CATALOG_KINDS.items():
        for index, name in enumerate(files.get(key) or []):
            if name is None:
                continue
            try:
                for file in _files_of(folder / name):
                    catalog = catalog.with_source(kind, file)
            except InputProblems as error:
                for problem in error.problems:
                    if problem.code == "unreadable":
                        place = ("catalog", key, index)
                        message = f"{name}: {problem.message}"
                        problem = raw.document.problem(place, "unreadable", message, problem.hint)
                    problems.append(problem)
                raw.broken_kinds |= {kind, *_DEFINED_BY.get(kind, ())}
            except NameProblem as error:
                problems.append(error.problem(raw.document, ("catalog", key, index)))
    return catalog, problems


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".csv", ".json"))
    return [path]


def name_resolver(
    catalog: Catalog, path: Path, engines: Mapping[str, Engine]
) -> Callable[[str, str], str]:
    """A function (kind, name) -> id for the scenario; raises LookupError(message, hint)."""
    sold = {
        "providers": sorted({*catalog.offers["provider"].unique(), "owned"}),
        "regions": sorted(catalog.offers["region"].drop_nulls().unique()),
        "instance_types": sorted(catalog.offers["instance_type"].unique()),
    }

    def resolve(kind: str, name: str) -> str:
        if kind in sold:
            return _listed(kind, name, sold[kind])
        if kind == "engines":
            return _engine(name, engines)
        try:
            return catalog.resolve(kind, name)
        except NameProblem as problem:
            if kind == "models" and known_beyond_catalog(name, path):
                return name
            raise LookupError(problem.message, problem.hint) from None

    return resolve


def scenario_engines(files: Mapping[str, Any], folder: Path) -> dict[str, Engine]:
    """Engine profiles: the shipped ones, and a scenario's own files over them."""
    engines = dict(load_engines())
    for name in files.get("engines") or ():
        if name is not None:
            for file in _files_of(folder / name):
                own = read_engine(file)
                engines[own.engine] = own
    return engines


def _engine(name: str, engines: Mapping[str, Engine]) -> str:
    try:
        return find_engine(name, engines).engine
    except KeyError:
        hint = did_you_mean(name, engines) or f"known: {', '.join(engines)}"
        raise LookupError(f"'{name}' is not a known engine", hint) from None


def _listed(kind: str, name: str, known: Iterable[str]) -> str:
    by_folded = {entry.casefold(): entry for entry in known}
    if name.casefold() in by_folded:
        return by_folded[name.casefold()]
    hint = did_you_mean(name, by_folded.values())
    if not hint:
        hint = f"known: {', '.join(list(by_folded.values())[:12])}"
    thing = kind.removesuffix("s").replace("_", " ")
    article = "an" if thing.startswith("i") else "a"
    raise LookupError(f"'{name}' is not {article} {thing} in the price catalog", hint)


def catalog_hash(scenario: Scenario) -> str:
    """SHA-256 over the shipped catalog files and the scenario's own, by name and content.

    All of them but the models, whose facts a plan holds itself, and the accuracy figures, which
    no estimate reads.
    """
    digest = hashlib.sha256()
    shipped = [
        path
        for path in sorted(CATALOG_DATA.rglob("*"))
        if path.suffix in (".yaml", ".csv", ".json")
        and "models" not in path.relative_to(CATALOG_DATA).parts
        and path.name != "accuracy.yaml"
    ]
    own = [
        file
        for names in scenario.catalog.values()
        for name in names
        for file in _files_of(scenario.folder / name)
    ]
    for path in [*shipped, *own]:
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
