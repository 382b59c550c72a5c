"""One run whose case is on the command line and whose figures are in a tool's output."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from planner.catalog.load import Catalog, load_catalog
from planner.catalog.names import NameProblem
from planner.errors import InputProblems, OutsideFailure, Problem
from planner.estimate.weights import CHECKPOINT
from planner.resolve.engines import find_engine
from planner.verify.columns import INFERENCE_COLUMNS as COLUMNS
from planner.verify.columns import NUMBERS, RUN_SETTINGS
from planner.verify.formats import known_format
from planner.verify.logs import LOOKED_FOR, Reading, read_output
from planner.verify.read import Measured, config_file

_ONE_FAMILY: Final = ({"llama.cpp", "ik_llama.cpp"},)
"""Engines whose logs look alike."""


def read_case(
    path: Path,
    case: Mapping[str, str | None],
    *,
    models: Path | None = None,
    catalog: Catalog | None = None,
) -> Measured:
    """A measured run from a tool's output and its case (columns of the file format as text).

    What the output says of its own run (engine, version, model, settings, the card's memory) is
    used where the case does not say it; where they differ, the case counts and a remark says so.
    Names are those of the catalog; `models` is a folder of configs for models it lacks.

    Raises:
        OutsideFailure: the file can't be read.
        InputProblems: nothing in it is recognised, or the run is not fully described.
        NameProblem: a name that the catalog does not know.
    """
    reading = read_output(text_of(path))
    if reading is None or not reading.has_figures:
        raise InputProblems([_nothing(path, reading)])
    known = catalog or load_catalog()
    told = {name: value for name, value in case.items() if value is not None}
    remarks = [f"{path}: {text}" for text in (*reading.notes, *_contradictions(told, reading))]
    values = _own_values(reading) | told
    values |= _names(path, values, told, models, known)
    values.setdefault("scope", "per-gpu")
    if reading.free_gib is not None and "gpu" not in values:
        free = f"({reading.free_gib} GB free)"
        values["notes"] = "; ".join(note for note in (values.get("notes"), free) if note)
    row = {"id": path.name, **dict.fromkeys(COLUMNS), **values}
    frame = pl.DataFrame([row], schema=dict.fromkeys(("id", *COLUMNS), pl.String))
    return Measured("inference", frame, path, tuple(remarks))


def text_of(path: Path) -> str:
    """A tool's output, with bytes that are no text replaced.

    Raises:
        OutsideFailure: it can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutsideFailure(f"{path}: {error.strerror or error}") from error
    return content.decode("utf-8-sig", errors="replace")


def _nothing(path: Path, reading: Reading | None) -> Problem:
    seen = f"a {reading.tool} without memory figures" if reading else "no memory figures recognised"
    return Problem(str(path), 0, 0, "unknown-output", "", seen, LOOKED_FOR)


def _own_values(reading: Reading) -> dict[str, str]:
    values = {name: str(value) for name, value in reading.values.items() if name in COLUMNS}
    return values | ({"engine": reading.engine} if reading.engine else {})


def _contradictions(told: Mapping[str, str], reading: Reading) -> Iterator[str]:
    """Where the command line says otherwise than the log."""
    logged = _own_values(reading)
    for name in RUN_SETTINGS:
        if name in told and name in logged and not _agree(name, told[name], logged[name]):
            option = f"--{name.replace('_', '-')}"
            yield (
                f"the log says {name} {logged[name]}, the command line {told[name]};"
                f" {option} counts"
            )


def _agree(name: str, told: str, logged: str) -> bool:
    if name in NUMBERS:
        return math.isclose(float(told), float(logged), rel_tol=1e-6)
    first, second = told.casefold(), logged.casefold()
    if name == "engine":
        engine = _engine(told) or told
        return engine == logged or any({engine, logged} <= family for family in _ONE_FAMILY)
    if name == "engine_version":
        return first.removeprefix("v").startswith(second) or second.startswith(
            first.removeprefix("v")
        )
    if name == "model":
        return _squashed(first) == _squashed(second)
    if name == "weight_format":
        bare = second.removeprefix("gguf-")
        return first.removeprefix("gguf-").startswith(bare) or first == CHECKPOINT
    return first == second


def _squashed(model: str) -> str:
    """The last part of a model's name or path, without case and punctuation."""
    return "".join(c for c in model.rstrip("/").rpartition("/")[2] if c.isalnum())


def _names(
    path: Path,
    values: Mapping[str, str],
    told: Mapping[str, str],
    models: Path | None,
    catalog: Catalog,
) -> dict[str, str]:
    """The ids of what the run names; its weights are as stored where it names no format."""
    found: dict[str, str] = {}
    if "engine" not in values:
        raise _missing(path, "engine", "say which engine the run was of with --engine")
    found["engine"] = _engine(values["engine"]) or values["engine"]
    if "model" not in values:
        raise _missing(path, "model", "say which model the run was of with --model")
    found["model"] = _model(path, values["model"], "model" in told, models, catalog)
    if "gpu" in values:
        found["gpu"] = catalog.resolve("gpus", values["gpu"])
    if "weight_format" not in values:
        if found["engine"] in _ONE_FAMILY[0]:
            hint = "say which GGUF type it is with --weight-format, such as q4_k_m"
            raise _missing(path, "weight format", hint)
        found["weight_format"] = CHECKPOINT
    elif "weight_format" in told and told["weight_format"] != CHECKPOINT:
        _check_format(told["weight_format"], catalog)
    return found


def _check_format(name: str, catalog: Catalog) -> None:
    """Raises NameProblem where a format is neither in the catalog nor a spelling of one in it."""
    if known_format(name, partial(catalog.find, "formats")) is None:
        catalog.resolve("formats", name)


def _missing(path: Path, what: str, hint: str) -> InputProblems:
    message = f"the output names no {what}"
    return InputProblems([Problem(str(path), 0, 0, "incomplete-case", "", message, hint)])


def _engine(name: str) -> str | None:
    try:
        return find_engine(name).engine
    except KeyError:
        return None


def _model(path: Path, name: str, is_told: bool, models: Path | None, catalog: Catalog) -> str:
    """The catalog's id of a model, or the name itself where `models` has its config."""
    if config_file(name, models):
        return name
    try:
        return catalog.resolve("models", name)
    except NameProblem:
        if is_told:
            raise
    try:
        return catalog.resolve("models", name.rstrip("/").rpartition("/")[2])
    except NameProblem as problem:
        raise _missing(
            path, "model of the catalog", f"'{name}': {problem.hint or 'name it with --model'}"
        ) from None
