"""Plans from files, of this version and of older ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from planner.errors import InputProblems, OutsideFailure, Problem
from planner.plan import SCHEMA_VERSION, Plan
from planner.report.plan_json import parse_plan

PLAN_FILE: Final = "plan.json"
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: Final[dict[int, Upgrade]] = {}
"""Version -> how a plan of it becomes one of the next. A change of the format adds a step here."""

ADDED: Final[Mapping[tuple[str, ...], Any]] = {
    ("notes",): [],
    ("warnings",): [],
    ("offers_left_out",): [],
    ("budgets",): [],
    ("inputs", "stale_offers"): None,
    ("inputs", "undated_offers"): 0,
    ("scenario", "as_of"): None,
    ("scenario", "description"): "",
}
"""Fields that a plan of this version may lack, with what stands in for them."""


def read_plans(path: Path) -> dict[str, Plan]:
    """The plans in a file, or in a folder and the folders in it, by scenario name.

    Raises:
        InputProblems: no plan there, one that can't be read, or two of one name.
        OutsideFailure: the system refuses to read.
    """
    files = [path] if path.is_file() else plan_files(path)
    if not files:
        hint = "name a plan.json, a folder with plans, or a git revision"
        raise InputProblems(
            [Problem(str(path), 0, 0, "no-plan", "", "there is no plan.json here", hint)]
        )
    plans: dict[str, Plan] = {}
    for file in files:
        plan = read_any_plan(file)
        if plan.scenario.stem in plans:
            message = f"a second plan of the scenario '{plan.scenario.stem}'"
            raise InputProblems([Problem(str(file), 0, 0, "same-name", "", message)])
        plans[plan.scenario.stem] = plan
    return plans


def plan_files(folder: Path) -> list[Path]:
    """plan.json in a folder, or in each folder of it."""
    own = folder / PLAN_FILE
    return [own] if own.is_file() else sorted(folder.glob(f"*/{PLAN_FILE}"))


def read_any_plan(path: Path) -> Plan:
    """A plan of this version or an older one.

    Raises:
        InputProblems: it isn't one, or a newer planner wrote it.
        OutsideFailure: the system refuses to read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutsideFailure(f"can't read {path}: {error.strerror or error}") from error
    return parse_any_plan(content, str(path))


def parse_any_plan(content: bytes, file: str) -> Plan:
    """The same from bytes."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return parse_plan(content, file)  # says what is wrong, with its place
    if not isinstance(data, dict):
        return parse_plan(content, file)
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        message = f"a newer planner wrote this plan (version {version} of the format)"
        hint = f"this planner reads versions up to {SCHEMA_VERSION}: upgrade it"
        problem = Problem(file, 0, 0, "newer-version", "$.schema_version", message, hint)
        raise InputProblems([problem])
    changed = False
    while isinstance(version, int) and version in UPGRADES and version < SCHEMA_VERSION:
        data = UPGRADES[version](data)
        version += 1
        data["schema_version"] = version
        changed = True
    changed = _filled(data) or changed
    return parse_plan(json.dumps(data).encode() if changed else content, file)


def _filled(data: dict[str, Any]) -> bool:
    changed = False
    for path, value in ADDED.items():
        holder: Any = data
        for part in path[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] not in holder:
            holder[path[-1]] = value
            changed = True
    return changed
