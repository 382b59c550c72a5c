"""What a scenario needs before it can be estimated: catalogs, facts, tables, settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.catalog.load import Catalog
from planner.errors import InputProblems, Problem
from planner.estimate import EstimatorSettings
from planner.estimate.rule_of_thumb import Range, RuleOfThumbSettings
from planner.grid import cases_frame, grid_size
from planner.pipeline.catalogs import (
    catalog_hash,
    layered_catalog,
    name_resolver,
    scenario_engines,
)
from planner.resolve.engines import Engine, engines_frame, load_engines
from planner.resolve.facts import ModelFacts
from planner.resolve.scenario_models import own_model_problems, resolve_models
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame
from planner.scenario.build import try_scenario
from planner.scenario.model import Scenario
from planner.scenario.read import RawScenario, read_scenario


@dataclass(frozen=True, slots=True)
class Context:
    """A scenario with everything it was resolved to.

    `cases` are all cases (grid.CASE_SCHEMA) with the adapter_parameters of each.
    """

    scenario: Scenario
    catalog: Catalog
    facts: tuple[ModelFacts, ...]
    tables: Tables
    cases: pl.DataFrame
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
    cases = cases_frame(scenario)
    refuse_empty(scenario, cases, raw)
    if scenario.supply.gpus == ("all",):
        every = tuple(catalog.gpus["gpu"].to_list())
        scenario = replace(scenario, supply=replace(scenario.supply, gpus=every))
    facts = resolve_models(scenario, raw.document, catalog)
    return Context(
        scenario=scenario,
        catalog=catalog,
        facts=facts,
        tables=fact_tables(scenario, catalog, facts),
        cases=with_adapters(cases, scenario, facts),
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


def refuse_empty(scenario: Scenario, cases: pl.DataFrame, raw: RawScenario) -> None:
    """Refuse workloads of which the excludes leave no case.

    Raises:
        InputProblems: naming each of them.
    """
    left = set(cases["workload"].unique())
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


def with_adapters(
    cases: pl.DataFrame, scenario: Scenario, facts: Iterable[ModelFacts]
) -> pl.DataFrame:
    """Add `adapter_parameters` to the cases; null where a method has none."""
    keys = ["model", "method", "lora_rank", "lora_targets"]
    return cases.join(
        adapter_parameters(scenario, facts), on=keys, how="left", maintain_order="left"
    )


def adapter_parameters(scenario: Scenario, facts: Iterable[ModelFacts]) -> pl.DataFrame:
    """adapter_parameters by model, method, lora_rank and lora_targets of the scenario."""
    simplified = bool(scenario.rule_of_thumb.get("lora_simplified", False))
    counted = "trainable_parameters" in scenario.rule_of_thumb
    rows = []
    asked = {reference.model for w in scenario.workloads for reference in w.models}
    adapted = [model for model in facts if model.model in asked]
    for model in () if counted or not lora_ranks(scenario) else adapted:
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
