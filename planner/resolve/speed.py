"""Calibrated speed constants as a table: one row a GPU architecture and engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.documents import check_document, load_document
from planner.errors import InputProblems

SPEED_FILE: Final = Path(__file__).resolve().parents[1] / "catalog" / "data" / "speed.yaml"
OTHER: Final = "other"


@cache
def shipped_constants() -> Mapping[str, Any]:
    """The constants that come with the planner."""
    return load_constants(SPEED_FILE)


def load_constants(path: Path) -> Mapping[str, Any]:
    """Read and check a file of speed constants.

    Raises:
        InputProblems: the file breaks `schemas/speed.schema.json`.
    """
    document = load_document(path)
    problems = [*document.problems, *check_document(document, "speed")]
    if problems:
        raise InputProblems(problems)
    data: Mapping[str, Any] = document.data
    return data


def speed_frame(constants: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """One row a (architecture, engine), every constant a column.

    `other` stands for what was not measured, in both keys. `measured_gpus` lists the accelerators
    behind the constants, null where the engine was not measured; `token_low`, `token_high`,
    `first_low`, `first_high` and their `wide_...` twins are the factors of the two ranges.
    """
    data = shipped_constants() if constants is None else constants
    rows = [
        {"architecture": architecture, "engine": name} | _row(data, family, engine)
        for family in data["families"]
        for architecture in (family.get("architectures") or [OTHER])
        for engine in data["engines"]
        for name in [engine["id"], *engine.get("aliases", [])]
    ]
    names = {name for row in rows for name in row}
    return pl.DataFrame(rows, schema={name: _dtype(name) for name in sorted(names)})


def _dtype(name: str) -> Any:
    if name in ("architecture", "engine"):
        return pl.String
    return pl.List(pl.String) if name == "measured_gpus" else pl.Float64


def _row(
    data: Mapping[str, Any], family: Mapping[str, Any], engine: Mapping[str, Any]
) -> dict[str, Any]:
    scope = {
        "family": family.get("like", family["id"]),
        "engine": engine.get("like", engine["id"]),
    }
    measured = list(family.get("measured_gpus", [])) if "like" not in engine else []
    return {
        **{entry["name"]: entry["value"] for entry in _applying(data["constants"], scope)},
        **_range_columns(data["ranges"]),
        "measured_gpus": measured,
    }


def _applying(
    entries: Iterable[Mapping[str, Any]], scope: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    return [
        entry for entry in entries if all(entry.get(key, own) == own for key, own in scope.items())
    ]


def _range_columns(ranges: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    columns = {}
    for prefix, basis in (("", "calibrated"), ("wide_", "first_principles")):
        for quantity, short in (
            ("time_per_output_token", "token"),
            ("time_to_first_token", "first"),
        ):
            for end in ("low", "high"):
                columns[f"{prefix}{short}_{end}"] = ranges[basis][quantity][end]
    return columns
