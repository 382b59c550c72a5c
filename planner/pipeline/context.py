"""What a scenario needs before it can be estimated: catalogs, facts, tables, settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.catalog.load import DATA as CATALOG_DATA
from planner.catalog.load import Catalog, load_catalog
from planner.catalog.names import NameProblem
from planner.errors import InputProblems, Problem, did_you_mean
from planner.estimate import EstimatorSettings
from planner.estimate.rule_of_thumb import Range, RuleOfThumbSettings
from planner.grid import cases_frame, grid_size
from planner.resolve.engines import Engine, engines_frame, find_engine, load_engines, read_engine
from planner.resolve.facts import ModelFacts
from planner.resolve.scenario_models import known_beyond_catalog, own_model_problems, resolve_models
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame
from planner.scenario.build import try_scenario
from planner.scenario.model import Scenario
from planner.scenario.read import RawScenario, read_scenario

_CATALOG_KINDS: Final = {
    "gpus": "gpus",
    "prices": "offers",
    "formats": "formats",
    "models": "models",
    "optimizers": "optimizers",
}
"""Keys of a scenario's `catalog` and what they hold; engine profiles have a reader of their own."""


@dataclass(frozen=True, slots=True)
class Context:
    """A scenario with everything it was resolved to.

    `adapters` holds adapter_parameters by model, method, lora_rank and lora_targets.
    """

    scenario: Scenario
    catalog: Catalog
    facts: tuple[ModelFacts, ...]
    tables: Tables
    adapters: pl.DataFrame
    settings: EstimatorSettings
    scenario_sha256: str
    catalog_sha256: str
    notes: tuple[str, ...]


def open_context(path: Path, *, max_cells: int) -> Context:
    """Read, check and resolve a scenario file.

    Raises:
        InputProblems: with every mistake of the file, or a grid above `max_cells`.
        OutsideFailure: a file it names can't be read.
    """
    raw = read_scenario(path)
    return resolve_context(raw, path, path.read_bytes(), max_cells=max_cells)


def resolve_context(raw: RawScenario, path: Path, content: bytes, *, max_cells: int) -> Context:
    """Check and resolve what was read; `path` is where relative names start from.

    Raises: see open_context.
    """
    catalog, catalog_problems = layered_catalog(raw, path.parent)
    raw.problems.extend(catalog_problems)
    engines: Mapping[str, Engine] = {}
    try:
        engines = scenario_engines(raw.data.get("catalog") or {}, path.parent)
    except InputProblems as error:
        raw.problems.extend(error.problems)
        engines = load_engines()
    scenario = _built(raw, catalog, name_resolver(catalog, path, engines))
    refuse_unknown_power(raw, scenario, catalog)
    guard_size(scenario, catalog, max_cells)
    refuse_empty(scenario, raw)
    if scenario.supply.gpus == ("all",):
        every = tuple(catalog.gpus["gpu"].to_list())
        scenario = replace(scenario, supply=replace(scenario.supply, gpus=every))
    facts = resolve_models(scenario, raw.document, catalog)
    return Context(
        scenario=scenario,
        catalog=catalog,
        facts=facts,
        tables=fact_tables(scenario, catalog, facts),
        adapters=adapter_parameters(scenario, facts),
        settings=estimator_settings(scenario),
        scenario_sha256=hashlib.sha256(content).hexdigest(),
        catalog_sha256=catalog_hash(scenario),
        notes=(),
    )


def _built(raw: RawScenario, catalog: Catalog, resolve_name: Callable[[str, str], str]) -> Scenario:
    """The scenario; where it has mistakes, those of its own model files are reported with them."""
    scenario, problems = try_scenario(raw, resolve_name)
    if problems:
        raise InputProblems({*problems, *own_model_problems(scenario, raw.document, catalog)})
    return scenario


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


_DEFINED_BY: Final = {"offers": ("providers", "regions", "instance_types")}


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


def refuse_unknown_power(raw: RawScenario, scenario: Scenario, catalog: Catalog) -> None:
    """Refuse bought machines whose power neither they nor the catalog's GPU state.

    Raises:
        InputProblems: with every such machine.
    """
    tdp_w = dict(catalog.gpus.select("gpu", "tdp_w").iter_rows())
    problems = [
        raw.document.problem(
            ("supply", "owned", index),
            "unknown-power",
            f"the power of {machine.gpu} is not known",
            "give power_kw of the machine",
        )
        for index, machine in enumerate(scenario.supply.owned)
        if machine.purchase_usd and machine.power_kw is None and tdp_w.get(machine.gpu) is None
    ]
    if problems:
        raise InputProblems(problems)


def guard_size(scenario: Scenario, catalog: Catalog, max_cells: int) -> None:
    """Refuse a grid above the limit, with its size by axis, before anything is expanded.

    Raises:
        InputProblems: the grid is too large.
    """
    cells, sizes = grid_size(scenario, catalog.gpus.height)
    if cells > max_cells:
        message = f"the grid has {cells:,} cells, more than {max_cells:,}: {sizes}"
        hint = "drop values, split the file, or raise --max-cells"
        problem = Problem(scenario.file, 1, 1, "grid-too-large", "$.workloads", message, hint)
        raise InputProblems([problem])


def refuse_empty(scenario: Scenario, raw: RawScenario) -> None:
    """Refuse workloads of which the excludes leave no case.

    Raises:
        InputProblems: naming each of them.
    """
    left = set(cases_frame(scenario)["workload"].unique())
    problems = [
        raw.document.problem(
            (*workload.path, "exclude"),
            "no-cases",
            f"leaves no case of '{workload.name}'",
            key=True,
        )
        for workload in scenario.workloads
        if workload.name not in left
    ]
    if problems:
        raise InputProblems(problems)


def fact_tables(scenario: Scenario, catalog: Catalog, facts: Iterable[ModelFacts]) -> Tables:
    """The tables the estimators read, for the models and engines in use."""
    from planner.resolve.frameworks import frameworks_frame, optimizers_frame
    from planner.resolve.speed import speed_frame

    listed = tuple(facts)
    engines = [(w.engine.name, w.engine.version) for w in scenario.workloads]
    return Tables(
        models=models_frame(listed).lazy(),
        layers=layers_frame(listed).lazy(),
        tensors=tensors_frame(listed).lazy(),
        gpus=catalog.gpus.lazy(),
        formats=catalog.formats.lazy(),
        optimizers=optimizers_frame(catalog.rows("optimizers")).lazy(),
        engines=engines_frame(engines, scenario_engines(scenario.catalog, scenario.folder)).lazy(),
        frameworks=frameworks_frame().lazy(),
        gpu_formats=catalog.format_support.lazy(),
        speed=speed_frame().lazy(),
    )


def lora_ranks(scenario: Scenario) -> tuple[int, ...]:
    """Every adapter rank of the scenario."""
    ranks: list[Any] = []
    for workload in scenario.workloads:
        ranks += workload.matrix.get("lora_rank", ())
        ranks += [entry["lora_rank"] for entry in workload.include if "lora_rank" in entry]
        ranks += [workload.fixed["lora_rank"]] if "lora_rank" in workload.fixed else []
        ranks += [workload.engine.lora_rank] if workload.engine.lora_rank else []
    return tuple(dict.fromkeys(ranks))


def adapter_parameters(scenario: Scenario, facts: Iterable[ModelFacts]) -> pl.DataFrame:
    """adapter_parameters by model, method, lora_rank and lora_targets of the scenario."""
    simplified = bool(scenario.rule_of_thumb.get("lora_simplified", False))
    counted = "trainable_parameters" in scenario.rule_of_thumb
    rows = []
    for model in () if counted or not lora_ranks(scenario) else facts:
        from planner.resolve.lora import lora_parameters

        for targets in dict.fromkeys(w.lora.targets for w in scenario.workloads):
            for rank in lora_ranks(scenario):
                for method in ("lora", "dora", "qlora"):
                    count = (
                        simplified_lora_parameters(model, rank, targets)
                        if simplified
                        else lora_parameters(model, rank, targets.split(";"), dora=method == "dora")
                    )
                    rows.append((model.model, method, rank, targets, count))
    schema = {
        "model": pl.String,
        "method": pl.String,
        "lora_rank": pl.Int64,
        "lora_targets": pl.String,
        "adapter_parameters": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


_ALL_LINEAR_MATRICES: Final = 7


def simplified_lora_parameters(facts: ModelFacts, rank: int, targets: str) -> int:
    """LoRA parameters as the guide simplifies: every matrix is hidden x hidden.

    rank x (in + out) with in = out = hidden, for each targeted matrix of each layer; all-linear
    is seven matrices.
    """
    matrices = _ALL_LINEAR_MATRICES if targets == "all-linear" else len(targets.split(";"))
    return rank * 2 * facts.hidden_size * matrices * facts.num_hidden_layers


def estimator_settings(scenario: Scenario) -> EstimatorSettings:
    """The estimator and its settings as the scenario gives them."""
    given: dict[str, Any] = {
        name: Range(**value) if isinstance(value, dict) else value
        for name, value in scenario.rule_of_thumb.items()
        if name != "lora_simplified"
    }
    return EstimatorSettings(scenario.estimator, RuleOfThumbSettings(**given))


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
