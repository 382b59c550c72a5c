"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

DEFAULT_MAX_CELLS = 5_000_000


LOCK_ENDING = ".lock.yaml"


def _without_locks(
    ctx: click.Context, param: click.Parameter, files: tuple[Path, ...]
) -> tuple[Path, ...]:
    """`scenarios/*.yaml` names the locks beside the scenarios too; a lock alone is an error."""
    scenarios = tuple(file for file in files if not file.name.endswith(LOCK_ENDING))
    if files and not scenarios:
        raise click.BadParameter(f"'{files[0]}' is a lock; name the scenario it belongs to")
    return scenarios


def scenario_files(function: Any) -> Any:
    """Scenario files, those of planner.yaml where none is named; locks among them are left out."""
    return click.argument(
        "files",
        nargs=-1,
        type=click.Path(path_type=Path),
        metavar="[FILE...]",
        callback=_without_locks,
    )(function)


def max_cells(function: Any) -> Any:
    """The largest grid that is expanded."""
    return click.option(
        "--max-cells",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_CELLS,
        show_default=True,
        help="Refuse a grid with more cells than this.",
    )(function)
