"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

DEFAULT_MAX_CELLS = 5_000_000


def scenario_files(function: Any) -> Any:
    """One or more scenario files."""
    return click.argument(
        "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
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
