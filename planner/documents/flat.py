"""Flat tables: a schema of one mapping with plain values as a quick test of a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

RowRule = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]
_TEXT_RULES: Final = frozenset({"type", "description", "minLength", "enum", "pattern"})
_NUMBER_RULES: Final = frozenset(
    {"type", "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)


def row_rule(schema: Mapping[str, Any]) -> RowRule | None:
    """A test that only rows without any violation pass; None where the schema is not so simple.

    The schema is one of a mapping or a list of them, and the mapping holds texts and numbers only.
    """
    listed, alone = (schema.get(branch, {}) for branch in ("then", "else"))
    name = str(alone.get("$ref", "")).rpartition("/")[2]
    if listed.get("items") != alone or name not in schema.get("$defs", {}):
        return None
    row = schema["$defs"][name]
    if set(row) - {"type", "additionalProperties", "required", "properties", "description"}:
        return None
    tests = {key: _test(field) for key, field in row.get("properties", {}).items()}
    if row.get("additionalProperties") is not False or None in tests.values():
        return None
    required = frozenset(row.get("required", ()))

    def is_right(values: Mapping[str, Any]) -> bool:
        if not required <= values.keys():
            return False
        for key, value in values.items():
            test = tests.get(key)
            if test is None or not test(value):
                return False
        return True

    return is_right


def _test(field: Mapping[str, Any]) -> Test | None:
    if field.get("type") == "string" and set(field) <= _TEXT_RULES:
        return _text_test(field)
    if field.get("type") == "number" and set(field) <= _NUMBER_RULES:
        return _number_test(field)
    return None


def _text_test(field: Mapping[str, Any]) -> Test:
    shortest, allowed = field.get("minLength", 0), field.get("enum")
    pattern = re.compile(field.get("pattern", ""))

    def test(value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) >= shortest
            and (allowed is None or value in allowed)
            and pattern.search(value) is not None
        )

    return test


def _number_test(field: Mapping[str, Any]) -> Test:
    least, most = field.get("minimum", float("-inf")), field.get("maximum", float("inf"))
    above = field.get("exclusiveMinimum", float("-inf"))
    below = field.get("exclusiveMaximum", float("inf"))

    def test(value: Any) -> bool:
        return type(value) in (int, float) and least <= value <= most and above < value < below

    return test
