"""Scenarios as a project plans them: with its price books and assumptions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputProblems, Problem
from planner.pipeline import DEFAULT_MAX_CELLS, plan_context
from planner.pipeline.context import Context, resolve_context
from planner.plan import Plan
from planner.review.lock import LOCK_FILE, write_lock
from planner.review.project import Project, find_project
from planner.scenario.read import read_scenario


def open_in_project(path: Path, project: Project, *, max_cells: int = DEFAULT_MAX_CELLS) -> Context:
    """Read, check and resolve a scenario with the project's defaults under its own values.

    Raises:
        InputProblems: with every mistake of the file.
        OutsideFailure: a file it names can't be read.
    """
    raw = read_scenario(path)
    for data in (raw.data, raw.document.data):
        if isinstance(data, dict):
            fill(data, project, path.parent)
    return resolve_context(raw, path, path.read_bytes(), max_cells=max_cells)


def fill(data: dict[str, Any], project: Project, folder: Path) -> None:
    """Put the project's assumptions and price books under a scenario's own, in place."""
    for section, key in (("assumptions", "hours_per_month"), ("constraints", "memory_headroom")):
        if key in project.assumptions:
            own = data.setdefault(section, {})
            if isinstance(own, dict):
                own.setdefault(key, project.assumptions[key])
    if project.prices:
        catalog = data.setdefault("catalog", {})
        if isinstance(catalog, dict):
            own_books = catalog.get("prices")
            books = [os.path.relpath(project.folder / name, folder) for name in project.prices]
            catalog["prices"] = [*books, *(own_books if isinstance(own_books, list) else [])]


def plan_files(files: Iterable[Path], project: Project) -> dict[str, Plan]:
    """The plans of scenario files by scenario name.

    Raises:
        InputProblems: with every mistake of every file; nothing is planned then.
    """
    contexts: list[Context] = []
    problems: list[Problem] = []
    for file in files:
        try:
            contexts.append(open_in_project(file, project))
        except InputProblems as error:
            problems.extend(error.problems)
    if problems:
        raise InputProblems(problems)
    plans: dict[str, Plan] = {}
    for context in contexts:
        stem = context.scenario.stem
        if stem in plans:
            message = f"a second scenario named '{stem}'"
            raise InputProblems([Problem(context.scenario.file, 0, 0, "same-name", "", message)])
        plans[stem] = plan_context(context, command=f"planner report {stem}.yaml").plan
    return plans


def lock_files(plan: Plan) -> Mapping[str, bytes]:
    """The committed plan, to be written beside the report's other files."""
    return {LOCK_FILE: write_lock(plan)}


def write_plans(output: Path, folder: Path, files: Iterable[Path] = ()) -> None:
    """Plan a project and write `<output>/<scenario>/plan.json`: what another process asks for."""
    from planner.report.plan_json import write_plan

    project = find_project(folder)
    for stem, plan in plan_files(list(files) or project.scenario_files(), project).items():
        target = output / stem
        target.mkdir(parents=True, exist_ok=True)
        (target / "plan.json").write_bytes(write_plan(plan))
