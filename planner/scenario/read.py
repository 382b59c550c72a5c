"""A scenario file becomes a document, its schema problems, and data without the broken parts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.documents import Document, load_document
from planner.documents.schema import violations
from planner.errors import Problem


@dataclass(slots=True)
class RawScenario:
    """A scenario as written.

    `data` is the document without the parts that break the schema (None in lists, so that indices
    keep their meaning), `broken` the paths that were taken out: the checks of meaning run on the
    rest, so that one run reports every mistake once. `broken_kinds` are kinds of catalog entries
    whose own files have mistakes, so that names of them may be missing.
    """

    document: Document
    problems: list[Problem]
    data: dict[str, Any]
    broken: set[tuple[str | int, ...]]
    broken_kinds: set[str] = field(default_factory=set)


def read_scenario(path: Path) -> RawScenario:
    """Read a scenario file and check it against its schema.

    Raises:
        InputProblems: the file can't be read or is not YAML.
        OutsideFailure: the system refuses to read it.
    """
    return check_scenario(load_document(path))


def check_scenario(document: Document) -> RawScenario:
    """Check a document against the scenario schema and set the broken parts aside."""
    problems = list(document.problems)
    data = copy.deepcopy(document.data)
    broken: set[tuple[str | int, ...]] = set()
    surprises = {problem.path for problem in problems}
    for where, problem in violations(document, "scenario"):
        # A value that YAML itself makes doubtful is reported once, as that.
        if problem.path not in surprises:
            problems.append(problem)
        if problem.code not in ("missing-key", "unknown-key"):
            broken.add(where)
    for where in sorted(broken, key=len, reverse=True):
        data = _without(data, where)
    if not isinstance(data, dict):
        data = {}
    return RawScenario(document, sorted(set(problems)), data, broken)


def _without(data: Any, path: tuple[str | int, ...]) -> Any:
    if not path:
        return None
    parent = data
    for part in path[:-1]:
        try:
            parent = parent[part]
        except (KeyError, IndexError, TypeError):
            return data
    last = path[-1]
    if isinstance(parent, list) and isinstance(last, int) and last < len(parent):
        parent[last] = None
    elif isinstance(parent, dict):
        parent.pop(last, None)
    return data
