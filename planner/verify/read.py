"""Files of measured runs, and the facts of the models they name."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.catalog.load import Catalog, load_catalog
from planner.errors import InputProblems, OutsideFailure, PlannerError, Problem, did_you_mean
from planner.resolve.facts import ModelFacts
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame
from planner.verify.columns import (
    COLUMNS,
    COUNTS,
    FOR_PEOPLE,
    INFERENCE_COLUMNS,
    NUMBERS,
    POSITIVE,
    SIZES,
    SIZES_MEASURED,
    TELLING,
    Kind,
)
from planner.verify.logs import LOOKED_FOR, read_output

_NEAR: Final = 0.75
"""How alike two column names are where one is likely meant for the other (difflib's ratio)."""
_LARGEST: Final = 2.0**53
"""Whole numbers up to here are exact."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A file of measured runs: its kind and its rows, every value as text, empty ones null.

    `remarks` say what of the file was not used, for the user to read.
    """

    kind: Kind
    rows: pl.DataFrame
    path: Path
    remarks: tuple[str, ...] = ()


def read_measured(path: Path) -> Measured:
    """Read a CSV of measured runs.

    Raises:
        OutsideFailure: the file can't be read.
        InputProblems: it is no CSV with a header of one of the known kinds, or values in it are
            none of their column.
    """
    header, lines = _lines(path)
    kind = next((kind for kind, needed in TELLING.items() if set(needed) <= set(header)), None)
    if kind is None:
        wanted = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in TELLING.items())
        message = f"no known kind of measurements: columns are {', '.join(header)}"
        hint = f"as a file of runs it needs {wanted}; as a log: {LOOKED_FOR}"
        raise InputProblems([_problem(path, "unknown-measurements", message, hint)])
    if not lines:
        raise InputProblems([_problem(path, "no-runs", "the file has a header and no runs")])
    problems = list(_wrong_values(path, header, lines))
    if problems:
        raise InputProblems(problems)
    rows = pl.DataFrame(
        [values for _, values in lines], schema=dict.fromkeys(header, pl.String), orient="row"
    )
    remarks = tuple(_unread(path, header, kind))
    return Measured(kind, with_columns_of(rows, COLUMNS[kind]), path, remarks)


def is_measured(path: Path, *, described: bool = False) -> bool:
    """Whether a file is to be read as a CSV of runs: its first line has the columns of a kind.

    What is neither that nor a known tool's output counts as a CSV, unless its run is `described`
    on the command line.

    Raises:
        OutsideFailure: it can't be read.
    """
    from planner.verify.case import text_of

    text = text_of(path)
    first = next(csv.reader(io.StringIO(text, newline="")), [])
    header = {name.strip() for name in first}
    if any(set(needed) <= header for needed in TELLING.values()):
        return True
    return not described and read_output(text) is None


def _unread(path: Path, header: Sequence[str], kind: Kind) -> Iterator[str]:
    """Columns that nothing reads, those apart whose name is near one that is read."""
    known = ("id", *COLUMNS[kind])
    others = []
    for name in header:
        if name in known or name in FOR_PEOPLE:
            continue
        absent = [column for column in known if column not in header]
        hint = did_you_mean(name, absent, cutoff=_NEAR)
        if hint:
            yield f"{path}: column '{name}' is not read; {hint}"
        else:
            others.append(name)
    if others:
        yield f"{path}: columns that are not read: {', '.join(others)}"


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str | None]]]]:
    """The header and every row with its line; short rows end in empty values, blank ones go."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OutsideFailure(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputProblems([_problem(path, "not-csv", f"not UTF-8: {error.reason}")]) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str | None]]] = []
    header: list[str] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for values in reader:
            if len(values) > len(header):
                message = f"{len(values)} values where the header has {len(header)} columns"
                raise InputProblems([_problem(path, "not-csv", message, line=reader.line_num)])
            if any(value.strip() for value in values):
                padded = [*values, *[""] * (len(header) - len(values))]
                lines.append((reader.line_num, [value.strip() or None for value in padded]))
    except csv.Error as error:
        message = f"not a CSV file: {error}"
        raise InputProblems([_problem(path, "not-csv", message, line=reader.line_num)]) from error
    if not header:
        raise InputProblems([_problem(path, "not-csv", "the file is empty")])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        message = f"columns that stand twice: {', '.join(twice)}"
        raise InputProblems([_problem(path, "duplicate-column", message)])
    return header, lines


def with_columns_of(rows: pl.DataFrame, columns: Iterable[str] = INFERENCE_COLUMNS) -> pl.DataFrame:
    """Rows with every column of the format; those the file lacks are empty."""
    missing = [name for name in columns if name not in rows.columns]
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def _wrong_values(
    path: Path, header: Sequence[str], lines: Iterable[tuple[int, list[str | None]]]
) -> Iterator[Problem]:
    """Rows without an id or with one that was there, and values that are none of their column."""
    seen: dict[str, int] = {}
    for line, values in lines:
        row = dict(zip(header, values, strict=True))
        name = row["id"]
        if name is None:
            yield _problem(path, "missing-id", "the run has no id", line=line)
        elif name in seen:
            message = f"the id '{name}' is that of line {seen[name]} too"
            yield _problem(path, "duplicate-id", message, line=line)
        else:
            seen[name] = line
        for column, value in row.items():
            wrong = value is not None and column in NUMBERS and _why_no_number(column, value)
            if wrong:
                yield Problem(str(path), line, 1, "not-a-number", column, wrong)


def _why_no_number(column: str, value: str) -> str | None:
    """What is wrong with a value of a number column, None where nothing is."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > _LARGEST:
        return f"'{value}' is not a {'count' if column in COUNTS else 'number'}"
    if column in COUNTS and not number.is_integer():
        return f"'{value}' is not a count"
    least = 1 if column in SIZES else 0
    if column in COUNTS and number < least:
        return f"'{value}' is below {least}"
    if column in SIZES_MEASURED and number < 0:
        return f"'{value}' is a size and can't be negative"
    if column in POSITIVE and number <= 0:
        return f"'{value}' is not above 0"
    if column == "gpu_memory_utilization" and number > 1:
        return f"'{value}' is a share of the card and can't be above 1"
    return None


def typed(rows: pl.DataFrame) -> pl.DataFrame:
    """Text columns as numbers where the format says so, or where every value is one."""
    columns = []
    for name in rows.columns:
        column = rows[name]
        number = column.cast(pl.Float64, strict=False)
        whole = column.cast(pl.Int64, strict=False)
        if name in COUNTS:
            columns.append(number.cast(pl.Int64, strict=False))
        elif name in NUMBERS:
            columns.append(number)
        elif column.null_count() == whole.null_count() < rows.height and name != "id":
            columns.append(whole)
        elif column.null_count() == number.null_count() < rows.height and name != "id":
            columns.append(number)
        else:
            columns.append(column)
    return pl.DataFrame(columns)


def _problem(path: Path, code: str, message: str, hint: str = "", line: int = 1) -> Problem:
    return Problem(str(path), line, 1, code, "", message, hint)


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


def config_file(model: str, folder: Path | None) -> Path | None:
    """A model's config `org--name.json` in the folder of configs, None where it has none."""
    file = folder / f"{model.replace('/', '--')}.json" if folder else None
    return file if file is not None and file.is_file() else None


def _facts_of(model: str, folder: Path | None, catalog: Catalog) -> ModelFacts:
    from planner.resolve.arch.read import read_config
    from planner.resolve.records import facts_of_record

    file = config_file(model, folder)
    if file is not None:
        try:
            config: Any = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputProblems([_problem(file, "not-json", str(error))]) from error
        return read_config(config, model=model, source=file.name)
    record = catalog.models()[model]
    return facts_of_record(record, source=str(record.get("source", "")))


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
