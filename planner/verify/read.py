"""Files of measured runs, and the facts of the models they name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from planner.catalog.load import Catalog, load_catalog
from planner.errors import InputProblems, OutsideFailure, PlannerError, Problem
from planner.resolve.facts import ModelFacts
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame

Kind = Literal["inference", "training", "throughput"]
_TELLING: Final[dict[Kind, tuple[str, ...]]] = {
    "inference": ("id", "engine", "model", "weights_gib", "kv_cache_gib"),
    "training": ("id", "framework", "model", "metric", "measured_gib"),
    "throughput": ("id", "engine", "model", "ttft_ms", "tpot_ms"),
}
"""Columns that tell the kinds of files apart."""


INFERENCE_COLUMNS: Final = (
    "engine",
    "engine_version",
    "model",
    "weight_format",
    "gpu",
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_dtype",
    "block_size",
    "gpu_memory_utilization",
    "enforce_eager",
    "batch_size",
    "input_tokens",
    "output_tokens",
    "total_gpu_memory_gib",
    "weights_gib",
    "activation_peak_gib",
    "non_torch_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "total_gib",
    "total_metric",
    "scope",
    "notes",
    "score",
)
"""Columns of a file of measured inference runs, beside `id`."""

COUNT_COLUMNS: Final = (
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "batch_size",
    "input_tokens",
    "output_tokens",
)
FRACTION_COLUMNS: Final = (
    "gpu_memory_utilization",
    "kv_cache_tokens",
    *(name for name in INFERENCE_COLUMNS if name.endswith("_gib")),
)
NUMBER_COLUMNS: Final = (*COUNT_COLUMNS, *FRACTION_COLUMNS)


@dataclass(frozen=True, slots=True)
class Measured:
    """A file of measured runs: its kind and its rows, every value as text, empty ones null."""

    kind: Kind
    rows: pl.DataFrame
    path: Path


def read_measured(path: Path) -> Measured:
    """Read a CSV of measured runs.

    Raises:
        OutsideFailure: the file can't be read.
        InputProblems: it is no CSV with a header of one of the known kinds.
    """
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise OutsideFailure(f"{path}: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:
        raise InputProblems([_problem(path, "not-csv", f"not a CSV file: {error}")]) from error
    for kind, columns in _TELLING.items():
        if set(columns) <= set(rows.columns):
            problems = list(_unreadable_numbers(rows, path)) if kind == "inference" else []
            if problems:
                raise InputProblems(problems)
            return Measured(kind, with_columns_of(rows) if kind == "inference" else rows, path)
    wanted = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in _TELLING.items())
    message = f"no known kind of measurements: columns are {', '.join(rows.columns)}"
    raise InputProblems([_problem(path, "unknown-measurements", message, f"needs {wanted}")])


def with_columns_of(rows: pl.DataFrame, columns: Iterable[str] = INFERENCE_COLUMNS) -> pl.DataFrame:
    """Rows with every column of the format; those the file lacks are empty."""
    missing = [name for name in columns if name not in rows.columns]
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def _unreadable_numbers(rows: pl.DataFrame, path: Path) -> Iterator[Problem]:
    """Values of number columns that are none, with their line."""
    for name in NUMBER_COLUMNS:
        if name not in rows.columns:
            continue
        column = rows[name]
        kind = pl.Float64 if name in FRACTION_COLUMNS else pl.Int64
        wrong = column.is_not_null() & column.cast(kind, strict=False).is_null()
        for index in wrong.arg_true().to_list():
            message = f"'{column[index]}' is not a {'number' if kind == pl.Float64 else 'count'}"
            yield Problem(str(path), index + 2, 1, "not-a-number", name, message)


def _problem(path: Path, code: str, message: str, hint: str = "") -> Problem:
    return Problem(str(path), 1, 1, code, "", message, hint)


def facts_of_models(
    models: Iterable[str], folder: Path | None, catalog: Catalog
) -> tuple[dict[str, ModelFacts], dict[str, str]]:
    """Facts by model id, and for the others why there are none.

    A file `org--name.json` in `folder` wins over the catalog.
    """
    facts: dict[str, ModelFacts] = {}
    reasons: dict[str, str] = {}
    for model in dict.fromkeys(models):
        try:
            facts[model] = _facts_of(model, folder, catalog)
        except PlannerError as error:
            reasons[model] = str(error)
        except KeyError:
            hint = "; give its config with --models" if folder is None else ""
            reasons[model] = f"the model {model} is not in the catalog{hint}"
    return facts, reasons


def _facts_of(model: str, folder: Path | None, catalog: Catalog) -> ModelFacts:
    from planner.resolve.arch.read import read_config

    file = folder / f"{model.replace('/', '--')}.json" if folder else None
    if file is not None and file.is_file():
        try:
            config: Any = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputProblems([_problem(file, "not-json", str(error))]) from error
        return read_config(config, model=model, source=file.name)
    record = catalog.models()[model]
    return read_config(record["config"], model=model, source=str(record.get("source", "")))


def tables_of(
    facts: Iterable[ModelFacts],
    engines: Iterable[tuple[str, str | None]],
    catalog: Catalog | None = None,
    *,
    speed: bool = False,
) -> Tables:
    """The tables the estimators read, for measured runs; those of the speed model where asked."""
    from planner.resolve.engines import engines_frame, find_engine
    from planner.resolve.frameworks import frameworks_frame, optimizers_frame
    from planner.resolve.speed import speed_frame

    def has_profile(name: str) -> bool:
        try:
            return bool(find_engine(name))
        except KeyError:
            return False

    listed = tuple(facts)
    known = catalog or load_catalog()
    return Tables(
        models=models_frame(listed).lazy(),
        layers=layers_frame(listed).lazy(),
        tensors=tensors_frame(listed).lazy(),
        gpus=known.gpus.lazy(),
        formats=known.formats.lazy(),
        optimizers=optimizers_frame().lazy(),
        engines=engines_frame(use for use in engines if has_profile(use[0] or "")).lazy(),
        frameworks=frameworks_frame().lazy(),
        speed=speed_frame().lazy() if speed else None,
    )
