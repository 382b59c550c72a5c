"""Which fields of a scenario changed, in the words of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from planner.review.words import MINUS

_SILENT: Final = frozenset({"version", "name", "description", "tags", "budgets", "workloads"})
_CHOICE_ONLY: Final = frozenset({"matrix", "include", "exclude", "models", "for_each"})
_SHORT: Final = 40


def changed_fields(
    before: Mapping[str, Any], after: Mapping[str, Any], workload: str, *, alternatives: bool
) -> list[str]:
    """Fields that can move a case of `workload`, as `demand.requests_per_second 4 → 8`.

    `alternatives` also names the axes and models to choose from, which move a purchase but not a
    single case.
    """
    rows = list(_changes(_without(before), _without(after), ""))
    old, new = _workload(before, workload), _workload(after, workload)
    skipped = frozenset() if alternatives else _CHOICE_ONLY
    old = {key: value for key, value in old.items() if key not in skipped}
    new = {key: value for key, value in new.items() if key not in skipped}
    rows += _changes(old, new, "")
    if not alternatives:
        rows = [row for row in rows if not row.startswith("models")]
    return list(dict.fromkeys(rows))


def _without(resolved: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resolved.items() if key not in _SILENT}


def _workload(resolved: Mapping[str, Any], name: str) -> dict[str, Any]:
    for entry in resolved.get("workloads") or ():
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return {key: value for key, value in entry.items() if key not in ("name", "tags")}
    return {}


def _changes(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _changes(before.get(key), after.get(key), inner)
    elif isinstance(before, list) and isinstance(after, list):
        gone = [_short(value) for value in before if value not in after]
        come = [_short(value) for value in after if value not in before]
        parts = [f"{MINUS} {', '.join(gone)}"] * bool(gone) + [f"+ {', '.join(come)}"] * bool(come)
        yield f"{path}: {' '.join(parts) or 'reordered'}"
    elif before is None:
        yield f"{path}: {_short(after)} (not set before)"
    elif after is None:
        yield f"{path}: {_short(before)} → not set"
    else:
        yield f"{path} {_short(before)} → {_short(after)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "id" in value:
        value = value["id"]
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
