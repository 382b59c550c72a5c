"""CSV files as documents: one mapping a line, with the place of every cell found when asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from planner.documents import Document, Mark, load_schema
from planner.documents.reader import MAX_FILE_BYTES, Path_, json_path
from planner.errors import InputProblems, OutsideFailure, Problem

MAX_CSV_BYTES: Final = MAX_FILE_BYTES * 10


@dataclass
class CsvDocument(Document):
    """A CSV file. A price book has a million cells, of which hardly one is ever pointed at."""

    header: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """First and last line of each row."""

    def mark(self, path: Path_, *, key: bool = False) -> Mark:
        """Where a path stands: a cell where the row has it, else its line."""
        if not path or not isinstance(path[0], int) or not path[0] < len(self.spans):
            return Mark(1, 1)
        first, last = self.spans[path[0]]
        name = path[1] if len(path) > 1 else None
        if name not in self.header or name not in self.data[path[0]]:
            return Mark(first, 1)
        columns = _columns(self.lines[first - 1]) if first == last else []
        position = self.header.index(str(name))
        return Mark(first, columns[position] if position < len(columns) else 1)


def read_csv(path: Path, schema: str, *, shown_as: str | None = None) -> CsvDocument:
    """A CSV file with a header as a list of mappings, blank cells left out, numbers read by schema.

    Raises:
        InputProblems: missing, a directory, too large, not UTF-8, empty, without a usable header.
        OutsideFailure: the file is there but the system refuses to read it.
    """
    name = shown_as or str(path)
    text = _csv_text(path, name)
    reader = csv.reader(io.StringIO(text, newline=None))
    header = next(_cells(reader, name), None)
    if not header or not any(cell.strip() for cell in header):
        raise InputProblems([Problem(name, 1, 1, "empty", "$", "the file is empty")])
    header = [cell.strip() for cell in header]
    _refuse_separator(header, name)
    document = CsvDocument(name, [], header=header, lines=text.splitlines())
    columns = _number_columns(schema)
    numbers = [key in columns for key in header]
    previous = reader.line_num
    for cells in _cells(reader, name):
        first, previous = previous + 1, reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        document.spans.append((first, reader.line_num))
        if len(cells) > len(header):
            _report_cells(document, len(cells))
        document.data.append(_row(header, cells, numbers))
    return document


def _cells(reader: Any, name: str) -> Iterator[list[str]]:
    """The rows of a reader; what it can't split is said at its line."""
    try:
        yield from reader
    except csv.Error as error:
        message = f"can't be read as CSV: {error}"
        problem = Problem(name, reader.line_num, 1, "unreadable", "$", message)
        raise InputProblems([problem]) from None


def _csv_text(path: Path, name: str) -> str:
    if path.is_dir():
        message = "is a directory, expected a CSV file"
        raise InputProblems([Problem(name, 0, 0, "unreadable", "", message)])
    if path.exists() and not path.is_file():
        raise InputProblems([Problem(name, 0, 0, "unreadable", "", "is no regular file")])
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            message = f"is larger than {MAX_CSV_BYTES:,} bytes"
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


def _report_cells(document: CsvDocument, cells: int) -> None:
    """A row with more cells than the header: text with a comma, most likely."""
    first, last = document.spans[-1]
    columns = _columns(document.lines[first - 1]) if first == last else []
    wanted = len(document.header)
    document.problems.append(
        Problem(
            document.file,
            first,
            columns[wanted] if len(columns) > wanted else 1,
            "csv-cells",
            json_path((len(document.spans) - 1,)),
            f"has {cells} cells under {wanted} column names",
            "put text with commas in double quotes",
        )
    )


def _row(header: Sequence[str], cells: Sequence[str], numbers: Sequence[bool]) -> dict[str, Any]:
    return {
        key: _number(text) if number else text
        for key, number, cell in zip(header, numbers, cells, strict=False)
        if (text := cell.strip())
    }


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
        for name, rule in definition.get("properties", {}).items():
            if rule.get("type") in ("number", "integer"):
                found.add(name)
    return frozenset(found)
