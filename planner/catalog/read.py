"""Reading catalog rows: the same code for shipped files and for a user's own.

A source is a YAML file (one entry or a list), a CSV file (one entry a line), or a part of a
document that is already read. Mistakes carry the file, the line and the column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from planner.catalog.names import NameProblem
from planner.catalog.read_csv import read_csv
from planner.documents import Document, check_document, load_document
from planner.documents.reader import json_path
from planner.errors import InputProblems, Problem

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

Path_ = tuple[str | int, ...]
Row = dict[str, Any]

SCHEMAS: Final = {
    "gpus": "gpu",
    "offers": "offers",
    "formats": "formats",
    "models": "model",
    "optimizers": "optimizers",
    "engines": "engine",
    "frameworks": "frameworks",
}


def read_rows(
    source: Document | Path,
    kind: str,
    *,
    at: Path_ = (),
    catalog: Catalog | None = None,
) -> list[Row]:
    """Rows of one kind from a file or from the part `at` of a document.

    Args:
        source: a document, or the path of a `.yaml`, `.yml`, `.json` or `.csv` file.
        kind: gpus, offers, formats, models, optimizers, engines or frameworks.
        at: where in a document the rows stand; its whole content by default.
        catalog: check against it as well: ids must be new, and offers get the id of the GPU that
            they name.

    Raises:
        InputProblems: every mistake found: YAML or CSV, schema, an id given twice, ranges out of
            order, an unknown GPU.
        OutsideFailure: the file is there but the system refuses to read it.
    """
    document = read_source(source, kind) if isinstance(source, Path) else source
    part = part_of(document, at)
    problems = list(part.problems) if isinstance(source, Path) else []
    problems += check_document(part, SCHEMAS[kind])
    rows = part.data if isinstance(part.data, list) else [part.data]
    if not problems:
        problems = list(_meaning_problems(part, rows, kind))
        if catalog is not None:
            rows, strangers = _against(catalog, part, rows, kind)
            problems += strangers
    if problems:
        raise InputProblems(_shown_at(problem, at) for problem in problems)
    return rows


def read_source(path: Path, kind: str, *, shown_as: str | None = None) -> Document:
    """A file as a document, by its ending: CSV lines become a list of mappings."""
    if path.suffix.lower() == ".csv":
        return read_csv(path, SCHEMAS[kind], shown_as=shown_as)
    return load_document(path, shown_as=shown_as)


def part_of(document: Document, at: Path_) -> Document:
    """The part of a document below a path, with positions that still point into the whole."""
    if not at:
        return document
    data = document.data
    for step in at:
        data = data[step]
    depth = len(at)
    return Document(
        document.file,
        data,
        {path[depth:]: mark for path, mark in document.values.items() if path[:depth] == at},
        {path[depth:]: mark for path, mark in document.keys.items() if path[:depth] == at},
    )


def _shown_at(problem: Problem, at: Path_) -> Problem:
    if not at or not problem.path:
        return problem
    return replace(problem, path=json_path(at) + problem.path.removeprefix("$"))


def _meaning_problems(part: Document, rows: list[Row], kind: str) -> Iterator[Problem]:
    """What a schema can't say: ids given twice, names that contradict, ranges out of order."""
    listed = isinstance(part.data, list)
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        where: Path_ = (index,) if listed else ()
        key = _unique_key(row, kind)
        if key in seen:
            yield part.problem(
                (*where, "id") if "id" in row else where,
                "duplicate-id",
                f"'{key}' is given twice, first as entry {seen[key] + 1}",
            )
        seen.setdefault(key, index)
        if kind == "offers" and not _is_day(row.get("price_date")):
            message = f"'{row['price_date']}' is no date of the calendar"
            yield part.problem((*where, "price_date"), "bad-value", message)
        for name in ("usable_gib", "average_bits"):
            spread = row.get(name)
            if spread and not spread["low"] <= spread["expected"] <= spread["high"]:
                yield part.problem(
                    (*where, name), "bad-range", "must rise from low over expected to high"
                )


def _is_day(text: str | None) -> bool:
    try:
        return text is None or bool(date.fromisoformat(text))
    except ValueError:
        return False


def _against(
    catalog: Catalog, part: Document, rows: list[Row], kind: str
) -> tuple[list[Row], list[Problem]]:
    """Rows with the catalog's GPU ids, and what stands in the way of layering them on it."""
    listed = isinstance(part.data, list)
    known: list[Row] = []
    problems: list[Problem] = []
    gpus: dict[str, str] = {}
    sellers = catalog.sellers() if kind == "offers" else {}
    for index, row in enumerate(rows):
        where: Path_ = (index,) if listed else ()
        if kind == "offers":
            try:
                if row["gpu"] not in gpus:
                    gpus[row["gpu"]] = catalog.resolve("gpus", row["gpu"])
                seller = sellers.get(row["provider"].casefold(), row["provider"])
                row = {**row, "gpu": gpus[row["gpu"]], "provider": seller}
            except NameProblem as problem:
                problems.append(problem.problem(part, (*where, "gpu")))
        elif kind != "engines" and catalog.has(kind, row["id"]):
            message = f"'{row['id']}' is in the catalog already"
            hint = "give it an id of its own"
            problems.append(part.problem((*where, "id"), "duplicate-id", message, hint))
        known.append(row)
    return known, problems


def _unique_key(row: Row, kind: str) -> str:
    if kind == "offers":
        return " / ".join(
            str(row[name]) for name in ("provider", "instance_type", "region", "gpu", "purchase")
        )
    return str(row.get("id", row.get("engine")))
