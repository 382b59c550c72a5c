"""`planner validate`: schema and meaning, all mistakes at once."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.options import max_cells, scenario_files
from planner.errors import InputProblems, Problem


@click.command()
@scenario_files
@max_cells
def validate(files: tuple[Path, ...], max_cells: int) -> None:
    """Check scenario files against their schema, the catalogs and the models.

    \b
    Prints every mistake as file:line:col: error[code] path: message, and exits with 2.
    Example:
      planner validate scenarios/*.yaml
    """
    from planner.cli.review_options import files_or_project
    from planner.pipeline.project import open_in_project

    files, project = files_or_project(files)
    problems: list[Problem] = []
    for file in files:
        try:
            open_in_project(file, project, max_cells=max_cells)
        except InputProblems as error:
            problems.extend(error.problems)
        else:
            click.echo(f"{file}: ok")
    if problems:
        raise InputProblems(problems)
