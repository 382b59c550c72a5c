"""Reading catalog rows: the same code for shipped files and for a user's own.

A source is a YAML file (one entry or a list), a CSV file (one entry a line), or a part of a
document that is already read. Mistakes carry the file, the line and the column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from planner.catalog.names import NameProblem
from planner.documents import Document, Mark, check_document, load_document, load_schema
from planner.documents.reader import MAX_FILE_BYTES, json_path
from planner.errors import InputProblems, OutsideFailure, Problem

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
        for name in ("usable_gib", "average_bits"):
            spread = row.get(name)
            if spread and not spread["low"] <= spread["expected"] <= spread["high"]:
                yield part.problem(
                    (*where, name), "bad-range", "must rise from low over expected to high"
                )


def _against(
    catalog: Catalog, part: Document, rows: list[Row], kind: str
) -> tuple[list[Row], list[Problem]]:
    """Rows with the catalog's GPU ids, and what stands in the way of layering them on it."""
    listed = isinstance(part.data, list)
    known: list[Row] = []
    problems: list[Problem] = []
    for index, row in enumerate(rows):
        where: Path_ = (index,) if listed else ()
        if kind == "offers":
            try:
                row = {**row, "gpu": catalog.resolve("gpus", row["gpu"])}
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


def read_csv(path: Path, schema: str, *, shown_as: str | None = None) -> Document:
    """A CSV file with a header as a list of mappings, blank cells left out, numbers read by schema.

    Raises:
        InputProblems: missing, a directory, too large, not UTF-8, empty, without a usable header.
        OutsideFailure: the file is there but the system refuses to read it.
    """
    name = shown_as or str(path)
    text = _csv_text(path, name)
    lines = text.splitlines()
    reader = csv.reader(io.StringIO(text))
    header = next(reader, None)
    if not header or not any(cell.strip() for cell in header):
        raise InputProblems([Problem(name, 1, 1, "empty", "$", "the file is empty")])
    header = [cell.strip() for cell in header]
    _refuse_separator(header, name)
    document = Document(name, [])
    document.values[()] = Mark(1, 1)
    numbers = _number_columns(schema)
    previous = reader.line_num
    for cells in reader:
        first, previous = previous + 1, reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        columns = _columns(lines[first - 1]) if first == reader.line_num else [1] * len(cells)
        _add_row(document, header, cells, first, columns, numbers)
    return document


def _csv_text(path: Path, name: str) -> str:
    if path.is_dir():
        message = "is a directory, expected a CSV file"
        raise InputProblems([Problem(name, 0, 0, "unreadable", "", message)])
    if path.exists() and not path.is_file():
        raise InputProblems([Problem(name, 0, 0, "unreadable", "", "is no regular file")])
    try:
        if path.stat().st_size > MAX_FILE_BYTES * 10:
            message = f"is larger than {MAX_FILE_BYTES * 10:,} bytes"
            raise InputProblems([Problem(name, 0, 0, "unreadable", "", message)])
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputProblems([Problem(name, 0, 0, "unreadable", "", "no such file")]) from None
    except UnicodeDecodeError:
        problem = Problem(name, 1, 1, "not-utf8", "", "is not UTF-8 text", "save it as UTF-8")
        raise InputProblems([problem]) from None
    except OSError as error:
        raise OutsideFailure(f"{name}: can't be read: {error.strerror}") from error


def _refuse_separator(header: list[str], name: str) -> None:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        message = "the columns are not separated by commas"
        raise InputProblems(
            [Problem(name, 1, 1, "csv-separator", "$", message, "save it as comma-separated CSV")]
        )
    doubled = sorted({cell for cell in header if cell and header.count(cell) > 1})
    if doubled:
        message = f"the column '{doubled[0]}' is given twice"
        raise InputProblems([Problem(name, 1, 1, "duplicate-key", "$", message)])


def _add_row(
    document: Document,
    header: list[str],
    cells: list[str],
    line: int,
    columns: list[int],
    numbers: frozenset[str],
) -> None:
    index = len(document.data)
    document.values[(index,)] = Mark(line, 1)
    if len(cells) > len(header):
        message = f"has {len(cells)} cells under {len(header)} column names"
        document.problems.append(
            Problem(
                document.file,
                line,
                columns[len(header)] if len(columns) > len(header) else 1,
                "csv-cells",
                json_path((index,)),
                message,
                "put text with commas in double quotes",
            )
        )
    row: Row = {}
    for position, (key, cell) in enumerate(zip(header, cells, strict=False)):
        text = cell.strip()
        if not text:
            continue
        mark = Mark(line, columns[position] if position < len(columns) else 1)
        document.values[(index, key)] = document.keys[(index, key)] = mark
        row[key] = _number(text) if key in numbers else text
    document.data.append(row)


def _columns(line: str) -> list[int]:
    """1-based column at which each cell of a line begins."""
    starts, quoted = [1], False
    for position, character in enumerate(line, start=1):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            starts.append(position + 1)
    return starts


def _number(text: str) -> int | float | str:
    """A number as written, or the text itself, for the schema to complain about."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    return value if value - value == 0 else text  # no infinities, no NaN


def _number_columns(schema: str) -> frozenset[str]:
    found = set()
    for definition in load_schema(schema).get("$defs", {}).values():
        for name, field in definition.get("properties", {}).items():
            if field.get("type") in ("number", "integer"):
                found.add(name)
    return frozenset(found)
