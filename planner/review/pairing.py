"""Which thing of the base is which thing of the head: ids first, then single substitutions."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.plan import Plan

_NOT_IDENTITY: Final = frozenset({"version", "name", "description", "tags", "budgets"})
_SAME_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Item:
    """Something that may have a counterpart: its id, group and the values that describe it."""

    id: str
    group: str
    values: Mapping[str, Any]


def paired(base: Sequence[Item], head: Sequence[Item]) -> list[tuple[Item | None, Item | None]]:
    """Every item of both sides, with its counterpart where there is exactly one.

    Equal ids are the same thing. What is left is paired inside a group when its values are equal,
    or differ only in axes of which exactly one value vanished and exactly one appeared (a context
    raised, a model swapped): anything looser would be a guess. Head order, then what was removed.
    """
    by_id = {item.id: item for item in base}
    left_head = [item for item in head if item.id not in by_id]
    taken = {item.id for item in head if item.id in by_id}
    left_base = [item for item in base if item.id not in taken]
    guessed: dict[str, Item] = {}
    for group in dict.fromkeys(item.group for item in left_head):
        guessed |= _substituted(
            [item for item in left_base if item.group == group],
            [item for item in left_head if item.group == group],
            _swaps(_of(base, group), _of(head, group)),
        )
    used = {item.id for item in guessed.values()}
    pairs: list[tuple[Item | None, Item | None]] = [
        (by_id.get(item.id) or guessed.get(item.id), item) for item in head
    ]
    return [*pairs, *((item, None) for item in left_base if item.id not in used)]


def _of(items: Iterable[Item], group: str) -> list[Item]:
    return [item for item in items if item.group == group]


def _swaps(base: Sequence[Item], head: Sequence[Item]) -> dict[str, tuple[Any, Any]]:
    """Axis -> (old, new) where exactly one value vanished and exactly one appeared."""
    swaps = {}
    axes = dict.fromkeys(axis for item in (*base, *head) for axis in item.values)
    for axis in axes:
        old = {_frozen(item.values.get(axis)) for item in base}
        new = {_frozen(item.values.get(axis)) for item in head}
        if len(old - new) == 1 and len(new - old) == 1:
            swaps[axis] = ((old - new).pop(), (new - old).pop())
    return swaps


def _substituted(
    base: Sequence[Item], head: Sequence[Item], swaps: Mapping[str, tuple[Any, Any]]
) -> dict[str, Item]:
    wanted: dict[Hashable, list[Item]] = {}
    for item in head:
        wanted.setdefault(_signature(item.values, {}), []).append(item)
    found: dict[str, list[Item]] = {}
    for item in base:
        matches = wanted.get(_signature(item.values, {})) or wanted.get(
            _signature(item.values, swaps)
        )
        for match in matches or ():
            found.setdefault(match.id, []).append(item)
    lone = {head_id: items[0] for head_id, items in found.items() if len(items) == 1}
    uses = [item.id for item in lone.values()]
    return {head_id: item for head_id, item in lone.items() if uses.count(item.id) == 1}


def _signature(values: Mapping[str, Any], swaps: Mapping[str, tuple[Any, Any]]) -> Hashable:
    replaced = {}
    for axis, value in values.items():
        frozen = _frozen(value)
        swap = swaps.get(axis)
        replaced[axis] = swap[1] if swap and swap[0] == frozen else frozen
    for axis, (old, new) in swaps.items():
        if axis not in values and old is None:
            replaced[axis] = new
    return frozenset((axis, value) for axis, value in replaced.items() if value is not None)


def _frozen(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value


def renamed_scenarios(base: Mapping[str, Plan], head: Mapping[str, Plan]) -> dict[str, str]:
    """Head stem -> base stem, for files that were renamed.

    A new file is an old one under another name where what it asks is equal, or where it is the
    only one that holds at least half of the old one's cases.
    """
    gone = {stem: plan for stem, plan in base.items() if stem not in head}
    renames: dict[str, str] = {}
    for stem, plan in head.items():
        if stem in base:
            continue
        near = [old for old, other in gone.items() if _same_question(other, plan)] or [
            old for old, other in gone.items() if _shared_cases(other, plan) >= _SAME_SHARE
        ]
        if len(near) == 1:
            renames[stem] = near[0]
            del gone[near[0]]
    return renames


def _same_question(one: Plan, other: Plan) -> bool:
    return _question(one.inputs.resolved) == _question(other.inputs.resolved)


def _question(resolved: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in resolved.items() if key not in _NOT_IDENTITY}
    return json.dumps(kept, sort_keys=True, default=str)


def _shared_cases(one: Plan, other: Plan) -> float:
    mine, theirs = {c.case_id for c in one.cases}, {c.case_id for c in other.cases}
    return len(mine & theirs) / max(len(mine), len(theirs), 1)
