"""`planner init`: a repository of scenarios, ready to review."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import click

import planner
from planner.errors import OutsideFailure

_FILES: Final = {
    "planner.yaml": "planner.yaml",
    "scenarios/example.yaml": "example.yaml",
    ".github/workflows/planner-diff.yml": "planner-diff.yml",
    ".github/workflows/planner-comment.yml": "planner-comment.yml",
    ".pre-commit-config.yaml": "pre-commit-config.yaml",
    ".gitignore": "gitignore",
}


@click.command()
@click.argument(
    "folder", default=".", type=click.Path(path_type=Path, file_okay=False), metavar="[FOLDER]"
)
def init(folder: Path) -> None:
    """Write a commented scenario, planner.yaml, a workflow and hooks into FOLDER.

    A file that is there already stays as it is, and is named.

    \b
    Example:
      planner init capacity && cd capacity && planner report scenarios/example.yaml
    """
    for name, template in _FILES.items():
        target = folder / name
        if target.exists():
            click.echo(f"{target}: is there already, kept")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(template_text(template), "utf-8")
        except OSError as error:
            raise OutsideFailure(f"can't write {target}: {error.strerror or error}") from error
        click.echo(f"{target}: written")
    click.echo("next: planner report scenarios/example.yaml && planner check")


def template_text(name: str) -> str:
    """A template with the planner's version put in."""
    text = (resources.files("planner") / "review" / "templates" / name).read_text("utf-8")
    return text.replace("{version}", planner.__version__)
