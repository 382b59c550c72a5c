"""plan.json: the Plan as a file, written the same every time and read back with every check.

The layout is for people and diffs: one case, configuration, detail and matrix column a line.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from planner import plan as plan_module
from planner.documents import load_schema
from planner.errors import InputProblems, OutsideFailure, Problem
from planner.plan import SCHEMA_VERSION, Plan

_ROWS_CHECKED_BY_SCHEMA: Final = 50
_MAX_PROBLEMS: Final = 20


def write_plan(plan: Plan) -> bytes:
    """The plan as UTF-8 JSON; equal plans give equal bytes.

    Raises:
        ValueError: a number is not finite, which no plan may hold.
    """
    parts = []
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        parts.append(f'"{field.name}": {_block(value)}')
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _block(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return "{\n" + ",\n".join(f" {_line(k)}: {_line(v)}" for k, v in fields) + "\n}"
    if isinstance(value, Mapping):
        return "{\n" + ",\n".join(f" {_line(k)}: {_line(v)}" for k, v in value.items()) + "\n}"
    if isinstance(value, tuple | list) and value:
        return "[\n" + ",\n".join(f" {_line(item)}" for item in value) + "\n]"
    return _line(value)


def _plain(value: Any) -> Any:
    if type(value) in _RECORDS:
        return {name: getattr(value, name) for name in value.__slots__}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


_RECORDS: Final[frozenset[Any]] = frozenset(
    kind for kind in vars(plan_module).values() if dataclasses.is_dataclass(kind)
)
# A plan is a tree: looking for circles would cost a third of the time.
_line: Final = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(", ", ": "),
    default=_plain,
).encode


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        InputProblems: it is not a plan of this version; every violation with its place.
        OutsideFailure: the file can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutsideFailure(f"can't read {path}: {error.strerror or error}") from error
    return parse_plan(content, str(path))


def parse_plan(content: bytes, file: str) -> Plan:
    """The plan in `content`; `file` names it in messages. Raises InputProblems."""
    try:
        data = json.loads(content, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _refused(file, "not-utf-8", "the file is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise InputProblems(
            [Problem(file, error.lineno, error.colno, "not-json", "", error.msg)]
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refused(file, "not-json", str(error)) from error
    if not isinstance(data, dict):
        raise _refused(file, "wrong-type", "a plan is a JSON object")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise _refused(
            file,
            "unknown-version",
            f"schema_version is {version!r}; this planner reads {SCHEMA_VERSION}",
            "make the plan again with this version",
        )
    problems = [*_schema_problems(data, file), *_index_problems(data, file)]
    if problems:
        raise InputProblems(problems[:_MAX_PROBLEMS])
    plan: Plan = _build(Plan, data)
    return plan


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _refused(file: str, code: str, message: str, hint: str = "") -> InputProblems:
    return InputProblems([Problem(file, 0, 0, code, "$", message, hint)])


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load_schema("plan"))


def _schema_problems(data: Mapping[str, Any], file: str) -> list[Problem]:
    """Violations of plan.schema.json.

    The matrix may hold millions of values: the schema sees its first rows, `_column_problems`
    every value.
    """
    matrix = data.get("matrix")
    short = dict(data)
    if isinstance(matrix, dict):
        short["matrix"] = {
            name: column[:_ROWS_CHECKED_BY_SCHEMA] if isinstance(column, list) else column
            for name, column in matrix.items()
        }
    found = [
        Problem(file, 0, 0, "schema", error.json_path, error.message[:300])
        for error in _validator().iter_errors(short)
    ]
    return found or _column_problems(data["matrix"], file)


def _column_problems(matrix: Mapping[str, list[Any]], file: str) -> list[Problem]:
    """Values of a wrong type or outside the allowed words, anywhere in the matrix."""
    rules = load_schema("plan")["properties"]["matrix"]["properties"]
    found = []
    for name, column in matrix.items():
        items = rules[name]["items"]
        kinds = {type(value) for value in column}
        bad = sorted(kind.__name__ for kind in kinds - _allowed_types(items))
        if bad:
            found.append(
                Problem(file, 0, 0, "schema", f"$.matrix.{name}", f"holds values of type {bad[0]}")
            )
        elif "enum" in items and (strange := sorted(set(column) - set(items["enum"]))):
            found.append(
                Problem(file, 0, 0, "schema", f"$.matrix.{name}", f"{strange[0]!r} is not allowed")
            )
    return found


_TYPES: Final[dict[str, set[type]]] = {
    "integer": {int},
    "number": {int, float},
    "string": {str},
    "boolean": {bool},
    "null": {type(None)},
}


def _allowed_types(items: Mapping[str, Any]) -> set[type]:
    if "enum" in items:
        return {str}
    kinds = items["type"]
    return set().union(*(_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)))


def _index_problems(data: Mapping[str, Any], file: str) -> list[Problem]:
    """Columns of unequal length, and indices that point nowhere."""
    matrix = data.get("matrix")
    if not isinstance(matrix, dict) or not all(isinstance(c, list) for c in matrix.values()):
        return []
    found = []
    lengths = {len(column) for column in matrix.values()}
    if len(lengths) > 1:
        message = f"columns have different lengths: {sorted(lengths)}"
        found.append(Problem(file, 0, 0, "bad-table", "$.matrix", message))
    for name, target in (
        ("case", "cases"),
        ("configuration", "configurations"),
        ("reason", "reasons"),
        ("advice", "advice"),
    ):
        used = [index for index in matrix.get(name, ()) if isinstance(index, int)]
        if used and isinstance(data.get(target), list) and max(used) >= len(data[target]):
            found.append(_points_nowhere(file, f"$.matrix.{name}", max(used), target))
    details = data.get("details")
    cases = data.get("cases")
    if isinstance(details, list) and isinstance(cases, list):
        for position, case in enumerate(cases):
            used = _detail_indices(case)
            if used and max(used) >= len(details):
                found.append(_points_nowhere(file, f"$.cases[{position}]", max(used), "details"))
    return found


def _detail_indices(case: Any) -> list[int]:
    if not isinstance(case, dict):
        return []
    runners = case.get("runners_up")
    indices = [case.get("cheapest"), *(runners if isinstance(runners, list) else ())]
    return [index for index in indices if isinstance(index, int)]


def _points_nowhere(file: str, path: str, index: int, target: str) -> Problem:
    return Problem(file, 0, 0, "bad-index", path, f"{index} is beyond the end of {target}")


def _build(kind: Any, value: Any) -> Any:
    """A dataclass, tuple or mapping of the given type from plain JSON values."""
    if kind in _RECORDS:
        hints = _hints(kind)
        # A field with a default may be absent: the schema has refused what must not be.
        known = {name: hint for name, hint in hints.items() if name in value}
        return kind(**{name: _build(hint, value[name]) for name, hint in known.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _build(inner, value)
    if origin is tuple:
        item = arguments[0]
        if item is Any or item in (str, int, float):
            return tuple(value)
        return tuple(_build(item, entry) for entry in value)
    if origin is not None and isinstance(value, dict):
        inner = arguments[1]
        return {k: v if inner is Any else _build(inner, v) for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
