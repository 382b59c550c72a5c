"""Errors as people and CI read them."""

from __future__ import annotations

import os
import traceback

import click

import planner
from planner.errors import InputProblems, PlannerError, Problem

ANNOTATIONS_SHOWN = 10


def show_error(error: PlannerError) -> None:
    """Print an error to standard error; on GitHub as annotations of the lines at fault too."""
    if not isinstance(error, InputProblems):
        click.echo(f"error: {error}", err=True)
        return
    for problem in error.problems:
        click.echo(str(problem), err=True)
    count = len(error.problems)
    click.echo(f"{count} problem{'s' if count != 1 else ''} found", err=True)
    if os.environ.get("GITHUB_ACTIONS"):
        for problem in error.problems[:ANNOTATIONS_SHOWN]:
            click.echo(annotation(problem), err=True)


def annotation(problem: Problem) -> str:
    """A problem as a GitHub workflow command."""
    text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    place = f"file={_property(problem.file)}"
    if problem.line:
        place += f",line={problem.line},col={problem.col}"
    return f"::error {place},title=planner {_property(problem.code)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def show_bug(error: Exception) -> None:
    """A message for an error that should not exist, with the trace only where it is asked for."""
    said = str(error).strip().splitlines() or [""]
    click.echo(
        f"error: this is a bug in planner {planner.__version__}: "
        f"{type(error).__name__}: {said[0]}\n"
        "Please report it with the command you ran; PLANNER_TRACE=1 prints where it happened.",
        err=True,
    )
    if os.environ.get("PLANNER_TRACE"):
        traceback.print_exception(error)
