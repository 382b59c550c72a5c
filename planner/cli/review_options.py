"""What the commands of a review share: where the project is, the day, where output goes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import InputProblems, OutsideFailure, Problem

if TYPE_CHECKING:
    from planner.review.project import Project


def as_of(function: Any) -> Any:
    """The day from which ages of prices and ends of waivers are counted."""
    return click.option(
        "--as-of",
        "day",
        metavar="YYYY-MM-DD",
        help="Day from which ages of prices and ends of waivers are counted; default today.",
    )(function)


def day_of(text: str | None) -> date:
    """The day as given, or today.

    Raises:
        InputProblems: it is no date.
    """
    if text is None:
        return date.today()
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = Problem("--as-of", 0, 0, "bad-date", "", f"'{text}' is no date", "YYYY-MM-DD")
        raise InputProblems([problem]) from None


def project_of(folder: Path) -> Project:
    """The project that a folder belongs to; without a project file that of the current folder.

    The current folder is where `planner report` writes `reports/` by default.
    """
    from planner.review.project import Project, find_project

    found = find_project(folder)
    return found if found.file is not None else Project(Path())


def files_or_project(files: tuple[Path, ...]) -> tuple[tuple[Path, ...], Project]:
    """The scenario files as named, else those of the project; and the project.

    Raises:
        InputProblems: no file is named and the project has none.
    """
    project = project_of(files[0].parent if files else Path())
    return files or tuple(_relative(path) for path in project.scenario_files()), project


def shown_files(files: Iterable[Path]) -> dict[str, str]:
    """Scenario name -> its file as a user of this folder writes it."""
    return {path.stem: _relative(path).as_posix() for path in files}


def _relative(path: Path) -> Path:
    shown = os.path.relpath(path)
    return path if shown.startswith("..") else Path(shown)


def emit(text: str, output: Path | None) -> None:
    """Print, or write to a file whose folder is made.

    Raises:
        OutsideFailure: the file can't be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, "utf-8")
    except OSError as error:
        raise OutsideFailure(f"can't write {output}: {error.strerror or error}") from error


def further_files(pairs: tuple[str, ...], known: tuple[str, ...]) -> list[tuple[str, Path]]:
    """`FORMAT=FILE` options taken apart.

    Raises:
        InputProblems: no such format, or no file.
    """
    found, problems = [], []
    for pair in pairs:
        name, _, file = pair.partition("=")
        if name not in known or not file:
            hint = f"write FORMAT=FILE with FORMAT one of {', '.join(known)}"
            problems.append(Problem("--also", 0, 0, "bad-value", "", f"'{pair}'", hint))
        found.append((name, Path(file)))
    if problems:
        raise InputProblems(problems)
    return found


def tell_github(values: dict[str, str]) -> None:
    """Step outputs, where GitHub asks for them."""
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        lines = "".join(f"{name}={value}\n" for name, value in values.items())
        with Path(path).open("a", encoding="utf-8") as handle:
            handle.write(lines)
