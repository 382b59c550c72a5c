"""JSON Schema (2020-12) errors as problems with a position and a way out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from planner.documents.flat import row_rule
from planner.documents.reader import Document, Path_
from planner.errors import Problem, did_you_mean

_SHOWN_LIMIT: Final = 12
_TYPE_WORDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def shipped_folder(name: str) -> Path:
    """A top-level data folder (`schemas`, `scenarios`): inside the wheel, else in the checkout."""
    inside = Path(str(resources.files("planner"))) / "_shipped" / name
    if inside.is_dir():
        return inside
    return Path(__file__).resolve().parents[2] / name


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The schema `schemas/<name>.schema.json`."""
    path = shipped_folder("schemas") / f"{name}.schema.json"
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    registry: Any = Registry()
    for path in sorted(shipped_folder("schemas").glob("*.schema.json")):
        content = json.loads(path.read_text("utf-8"))
        registry = registry.with_resource(path.name, Resource.from_contents(content))
    return Draft202012Validator(load_schema(name), registry=registry)


def check_document(document: Document, schema: str) -> list[Problem]:
    """Every violation of `schemas/<schema>.schema.json`, with its place, in file order."""
    return sorted({problem for _, problem in violations(document, schema)})


def violations(document: Document, schema: str) -> list[tuple[Path_, Problem]]:
    """Every violation with the path of the value or key at fault."""
    return [
        (tuple(error.absolute_path), problem)
        for error in _errors(document.data, schema)
        for problem in _explain(error, document)
    ]


def _errors(data: Any, schema: str) -> Iterator[Any]:
    """Errors of the validator, which sees of a long table only the rows that are not plainly right.

    It takes a third of a millisecond a row, and a price book has a hundred thousand.
    """
    validator, is_right = _validator(schema), row_rule(load_schema(schema))
    table = isinstance(data, list) and all(isinstance(row, dict) for row in data)
    if not table or is_right is None:
        yield from validator.iter_errors(data)
        return
    for index, row in enumerate(data):
        if not is_right(row):
            for error in validator.iter_errors(row):
                error.relative_path.appendleft(index)
                yield error


def _explain(error: Any, document: Document) -> Iterator[Problem]:
    path: Path_ = tuple(error.absolute_path)
    rule = error.validator
    if rule in ("anyOf", "oneOf") and error.context:
        yield from _explain_alternatives(error, document, path)
    elif rule == "additionalProperties":
        yield from _unknown_keys(error, document, path)
    elif rule == "required":
        yield from _missing_keys(error, document, path)
    elif rule == "propertyNames":
        key = str(error.instance)
        yield document.problem(
            (*path, key),
            "bad-name",
            f"'{key}' is not allowed as a name",
            _pattern_hint(error.schema),
            key=True,
        )
    else:
        yield _value_problem(error, document, path)


def _explain_alternatives(error: Any, document: Document, path: Path_) -> Iterator[Problem]:
    """Of several allowed shapes, speak about the one the user meant: the one of the same type."""
    by_branch: dict[int, list[Any]] = {}
    for inner in error.context:
        by_branch.setdefault(inner.relative_schema_path[0], []).append(inner)
    same_type = [
        errors
        for errors in by_branch.values()
        if not any(e.validator == "type" and not e.relative_path for e in errors)
    ]
    if same_type:
        best = min(
            same_type, key=lambda errors: (-max(len(e.absolute_path) for e in errors), len(errors))
        )
        for inner in best:
            yield from _explain(inner, document)
        return
    wanted = []
    for branch in error.schema[error.validator]:
        wanted.extend(_types_of(branch))
    yield document.problem(
        path, "wrong-type", f"{_shown(error.instance)} is not {_one_of(dict.fromkeys(wanted))}"
    )


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    if "$ref" in schema:
        return [str(schema["$ref"]).rpartition("/")[2].replace("_", " ")]
    kinds = schema.get("type", [])
    if "enum" in schema and not kinds:
        return [str(value) for value in schema["enum"]]
    return [_TYPE_WORDS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _one_of(words: Iterable[str]) -> str:
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"


def _unknown_keys(error: Any, document: Document, path: Path_) -> Iterator[Problem]:
    known = list(error.schema.get("properties", {}))
    patterns = error.schema.get("patternProperties", {})
    missing = set(error.schema.get("required", ())) - set(error.instance)
    for key in error.instance:
        if key in known or any(_matches(pattern, key) for pattern in patterns):
            continue
        hint = did_you_mean(key, sorted(missing)) or did_you_mean(key, known)
        if not hint and known:
            listed = ", ".join(known[:_SHOWN_LIMIT]) + (
                ", ..." if len(known) > _SHOWN_LIMIT else ""
            )
            hint = f"known keys: {listed}"
        yield document.problem(
            (*path, key), "unknown-key", f"'{key}' is not a known key", hint, key=True
        )


def _matches(pattern: str, key: str) -> bool:
    import re

    return re.search(pattern, key) is not None


def _missing_keys(error: Any, document: Document, path: Path_) -> Iterator[Problem]:
    known = set(error.schema.get("properties", {}))
    strangers = [key for key in error.instance if key not in known]
    for key in error.validator_value:
        if key in error.instance:
            continue
        # A near miss is reported once, as the unknown key it is.
        if error.schema.get("additionalProperties") is False and did_you_mean(key, strangers):
            continue
        yield document.problem(path, "missing-key", f"'{key}' is required")


def _value_problem(error: Any, document: Document, path: Path_) -> Problem:
    rule, wanted, value = error.validator, error.validator_value, error.instance
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        words = _one_of([_TYPE_WORDS.get(kind, kind) for kind in kinds])
        written = document.written.get(path, _shown(value))
        return document.problem(
            path, "wrong-type", f"{written} is not {words}", _type_hint(value, kinds, written)
        )
    if rule == "enum":
        options = [str(option) for option in wanted]
        hint = did_you_mean(str(value), options) or f"allowed: {', '.join(options)}"
        return document.problem(path, "bad-value", f"{_shown(value)} is not allowed", hint)
    if rule == "const":
        return document.problem(
            path, "bad-value", f"{_shown(value)} is not allowed", f"write {wanted}"
        )
    bounds = {
        "minimum": f"must be at least {wanted}",
        "maximum": f"must be at most {wanted}",
        "exclusiveMinimum": f"must be greater than {wanted}",
        "exclusiveMaximum": f"must be less than {wanted}",
        "minItems": "must not be empty" if wanted == 1 else f"must have at least {wanted} entries",
        "maxItems": f"must have at most {wanted} entries",
        "minLength": "must not be empty",
        "maxLength": f"must be at most {wanted} characters long",
        "minProperties": "must not be empty",
        "uniqueItems": "lists a value twice",
        "multipleOf": f"must be a multiple of {wanted}",
    }
    if rule in bounds:
        return document.problem(
            path,
            "out-of-range" if "imum" in rule.lower() else "bad-value",
            f"{_shown(value)} {bounds[rule]}",
        )
    if rule == "pattern":
        return document.problem(
            path, "bad-value", f"{_shown(value)} is not allowed here", _pattern_hint(error.schema)
        )
    return document.problem(path, f"schema-{rule}", error.message)


def _type_hint(value: Any, kinds: list[str], written: str) -> str:
    if isinstance(value, str) and {"integer", "number"} & set(kinds):
        plain = value.replace("_", "").replace(",", "")
        try:
            float(plain)
        except ValueError:
            return ""
        return f"remove the quotes: {plain}"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and kinds == ["string"]:
        return f'put it in quotes: "{written}"'
    if kinds == ["array"] and not isinstance(value, (dict, list)) and value is not None:
        return f"write [{value}]"
    return ""


def _pattern_hint(schema: Mapping[str, Any]) -> str:
    described = str(schema.get("description", ""))
    return f"expected: {described}" if described else f"expected to match {schema.get('pattern')}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:57]}...'"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return str(value)
