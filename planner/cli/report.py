"""`planner report`: the main job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from planner.cli.options import max_cells, scenario_files
from planner.errors import InputProblems, Problem
from planner.pipeline.progress import Progress

if TYPE_CHECKING:
    from planner.plan import Plan

_STEPS: Final = 5


@click.command()
@scenario_files
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    help="Folder that gets one folder per scenario.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="An earlier plan.json, or a folder of reports: adds the view What changed.",
)
@click.option(
    "--also",
    metavar="FORMATS",
    default="",
    callback=lambda context, option, value: also_formats(value),
    help="Further files, separated by commas: xlsx, parquet, markdown, text.",
)
@max_cells
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def report(
    files: tuple[Path, ...],
    output: Path,
    base: Path | None,
    also: tuple[str, ...],
    max_cells: int,
    quiet: bool,
) -> None:
    """Estimate every cell and write report.html, three CSV files and plan.json.

    Without a FILE the scenarios of planner.yaml are meant. plan.lock.json beside the report is
    the small part to commit: what was chosen, and from which inputs.

    \b
    For each FILE the folder OUTPUT/<name of the file> is replaced as a whole, or not at all.
    Examples:
      planner report scenarios/support-chat.yaml -o reports
      planner report scenarios/support-chat.yaml --base old/plan.json --also xlsx,parquet
    """
    from planner.cli.review_options import files_or_project
    from planner.pipeline import plan_context
    from planner.pipeline.project import lock_files, open_in_project
    from planner.report import render_report
    from planner.report.files import write_folder
    from planner.report.text import summary

    files, project = files_or_project(files)
    refuse_same_names(files)
    contexts = []
    problems: list[Problem] = []
    for file in files:
        try:
            contexts.append(open_in_project(file, project, max_cells=max_cells))
        except InputProblems as error:
            problems.extend(error.problems)
    if problems:
        # Nothing is written while any of the files is wrong.
        raise InputProblems(problems)
    bases = _bases(base, {context.scenario.stem for context in contexts})
    for context in contexts:
        name = context.scenario.stem
        command = f"planner report {name}.yaml"
        with progress_bar(name, quiet=quiet) as progress:
            result = plan_context(context, command=command, progress=progress)
            progress("rendering")
            rendered = render_report(result.plan, result.cells, base=bases.get(name), also=also)
            progress("writing")
            write_folder(output / name, {**rendered, **lock_files(result.plan)})
        if not quiet:
            click.echo(summary(result.plan, color=colour_wanted()))
            click.echo(f"{output / name}/report.html")


def also_formats(value: str) -> tuple[str, ...]:
    """The formats in `xlsx,parquet`, each known."""
    from planner.report import ALSO_FILES

    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    for name in names:
        if name not in ALSO_FILES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(ALSO_FILES)}")
    return names


def _bases(base: Path | None, stems: set[str]) -> dict[str, Plan]:
    """The earlier plan of each scenario; a single plan file stands for the only scenario.

    Raises:
        InputProblems: a single plan for several scenarios that are not its own.
    """
    if base is None:
        return {}
    from planner.review.read import read_plans

    found = read_plans(base)
    known = {stem: plan for stem, plan in found.items() if stem in stems}
    if known:
        return known
    if len(stems) == 1 and len(found) == 1:
        return dict.fromkeys(stems, next(iter(found.values())))
    message = f"holds no plan of {', '.join(sorted(stems))}"
    hint = f"it has {', '.join(sorted(found))}"
    raise InputProblems([Problem(str(base), 0, 0, "no-plan", "", message, hint)])


def refuse_same_names(files: tuple[Path, ...]) -> None:
    """Two files of one name would write one folder.

    Raises:
        InputProblems: naming the second of them.
    """
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem.strip(".") == "":
            message = "a name of dots only makes no folder name"
            raise InputProblems([Problem(str(file), 0, 0, "bad-name", "", message, "rename it")])
        other = seen.setdefault(file.stem, file)
        if other is not file:
            message = f"has the name of {other}, and both would write the folder '{file.stem}'"
            raise InputProblems(
                [Problem(str(file), 0, 0, "same-name", "", message, "rename one of them")]
            )


def colour_wanted() -> bool:
    """Colour only on a terminal, and never against NO_COLOR."""
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, silence in pipes."""
    if quiet or not sys.stderr.isatty():
        yield lambda step: None
        return
    with click.progressbar(
        length=_STEPS, label=name, file=sys.stderr, item_show_func=lambda step: step
    ) as bar:
        yield lambda step: bar.update(1, step)
