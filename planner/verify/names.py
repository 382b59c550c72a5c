"""Names in a file of measured runs, as the ids of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from planner.catalog.load import Catalog
from planner.catalog.names import NameProblem
from planner.errors import did_you_mean, printable
from planner.estimate.weights import CHECKPOINT
from planner.resolve.engines import find_engine, load_engines
from planner.resolve.facts import ModelFacts
from planner.verify.formats import known_format
from planner.verify.read import Measured, config_file
from planner.verify.training import FORMATS

_Resolve = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Named:
    """Runs whose names are ids, and by run why an unknown card or engine leaves no estimate.

    Unknown models and formats are told in `measured.remarks` like these; why such a run has no
    estimate, the readers of models and formats say.
    """

    measured: Measured
    reasons: Mapping[str, str]


def with_ids(measured: Measured, models: Path | None, catalog: Catalog) -> Named:
    """Runs with models, cards and engines by their ids; formats too where they are of training.

    What is an id already stays, and so do a model with a config of its own in `models`, and
    engines by the alias that published serving runs go by. Formats of inference runs are resolved
    with their model, whose checkpoint may know them (`unknown_formats`).
    """
    resolvers: dict[str, _Resolve] = {
        "model": lambda name: (
            name if config_file(name, models) else catalog.resolve("models", name)
        ),
        "gpu": lambda name: catalog.resolve("gpus", name),
        "engine": _alias_kept if measured.kind == "throughput" else _engine,
    }
    if measured.kind == "training":
        resolvers["weight_format"] = lambda name: _training_format(name, catalog)
    rows, remarks = measured.rows, list(measured.remarks)
    reasons: dict[str, str] = {}
    for column, resolve in resolvers.items():
        if column not in rows.columns:
            continue
        ids, problems = _resolved(rows[column], resolve)
        rows = rows.with_columns(
            pl.col(column).replace_strict(ids, default=None, return_dtype=pl.String)
        )
        remarks += [_remark(column, problem, measured.path) for problem in problems.values()]
        if column not in ("gpu", "engine"):
            continue
        for run, name in rows.select("id", column).iter_rows():
            if name in problems:
                reasons.setdefault(run, _told(column, problems[name]))
    return Named(replace(measured, rows=rows, remarks=tuple(remarks)), reasons)


def unknown_formats(
    measured: Measured, facts: Mapping[str, ModelFacts], catalog: Catalog
) -> tuple[str, ...]:
    """Remarks on formats of inference runs that neither the catalog nor the checkpoint knows."""
    resolve = partial(catalog.find, "formats")
    found: dict[str, str] = {}
    pairs = measured.rows.select("model", "weight_format").unique(maintain_order=True)
    for model, name in pairs.drop_nulls("weight_format").iter_rows():
        if name in found or name == CHECKPOINT or known_format(name, resolve):
            continue
        if model in facts and _is_quantised(facts[model]):
            continue
        try:
            catalog.resolve("formats", name)
        except NameProblem as problem:
            found[name] = _remark("weight_format", problem, measured.path)
    return tuple(found.values())


def _is_quantised(facts: ModelFacts) -> bool:
    from planner.resolve.tables import tensors_frame

    return not tensors_frame((facts,))["checkpoint_format"].is_null().all()


def _resolved(
    names: Iterable[str | None], resolve: _Resolve
) -> tuple[dict[str, str], dict[str, NameProblem]]:
    """Ids by name, a name that means none standing for itself, and what is wrong with those."""
    ids: dict[str, str] = {}
    problems: dict[str, NameProblem] = {}
    for name in names:
        if name is None or name in ids:
            continue
        try:
            ids[name] = resolve(name)
        except NameProblem as problem:
            ids[name], problems[name] = name, problem
    return ids, problems


def _engine(name: str) -> str:
    try:
        return find_engine(name).engine
    except KeyError:
        aliases = [alias for one in load_engines().values() for alias in one.aliases]
        hint = did_you_mean(name, [*load_engines(), *aliases]) or "see 'planner engines list'"
        raise NameProblem("engines", name, (), hint) from None


def _alias_kept(name: str) -> str:
    """An engine by its id; the alias as it stands, whose images the serving runs are known by."""
    known = _engine(name)
    return name if name in load_engines()[known].aliases else known


def _training_format(name: str, catalog: Catalog) -> str:
    return name if name in FORMATS or name == CHECKPOINT else catalog.resolve("formats", name)


def _remark(column: str, problem: NameProblem, path: Path) -> str:
    return printable(_told(column, problem, f" in {path}"))


def _told(column: str, problem: NameProblem, place: str = "") -> str:
    what = "ambiguous" if problem.candidates else "unknown"
    thing = column.replace("_", " ")
    return f"{what} {thing} '{problem.name}'{place}: {problem.hint.rstrip('?')}"
