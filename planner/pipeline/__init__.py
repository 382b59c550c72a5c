"""The steps in order: scenario file -> facts -> grid -> estimates -> choice -> plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from planner.documents import parse_document
from planner.pipeline.assemble import assemble_plan
from planner.pipeline.columns import cells_table
from planner.pipeline.context import Context, open_context, resolve_context
from planner.pipeline.decide import decide
from planner.pipeline.progress import Progress, silent
from planner.plan import Plan
from planner.scenario.read import check_scenario

DEFAULT_MAX_CELLS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """A plan, and the full table of its cells (the columns of cells.csv)."""

    plan: Plan
    cells: pl.DataFrame


def open_scenario(path: Path, *, max_cells: int = DEFAULT_MAX_CELLS) -> Context:
    """Read a scenario and check it against its schema, the catalogs and the models' facts.

    Raises:
        InputProblems: with every mistake of the file, or a grid above `max_cells`.
        OutsideFailure: a file it names can't be read.
    """
    return open_context(path, max_cells=max_cells)


def open_text(text: str, shown_as: str, folder: Path) -> Context:
    """The same for a scenario that is text, with relative names starting from `folder`.

    Raises: see open_scenario.
    """
    raw = check_scenario(parse_document(text, shown_as))
    path = folder / "scenario.yaml"
    return resolve_context(raw, path, text.encode(), max_cells=DEFAULT_MAX_CELLS)


def plan_scenario(
    path: Path,
    *,
    command: str,
    max_cells: int = DEFAULT_MAX_CELLS,
    progress: Progress = silent,
) -> Result:
    """The whole job for one scenario file.

    Raises: see open_scenario.
    """
    context = open_scenario(path, max_cells=max_cells)
    return plan_context(context, command=command, progress=progress)


def plan_context(context: Context, *, command: str, progress: Progress = silent) -> Result:
    """The plan of a scenario that is already read and checked."""
    progress("estimating")
    cells = decide(context)
    progress("choosing")
    plan = assemble_plan(context, cells, command=command)
    return Result(plan, cells_table(cells, plan))
