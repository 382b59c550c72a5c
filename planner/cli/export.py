"""`planner export`: from a plan to a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from planner.cli.review_options import emit, project_of

_TARGETS: Final = (
    "vllm", "sglang", "llama.cpp", "trl", "accelerate", "deepspeed", "torchtune", "kubernetes",
    "skypilot", "dstack",
)  # fmt: skip


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--case", "case_id", help="Case id, as in cells.csv; needed where there are several.")
@click.option("--to", "target", type=click.Choice(_TARGETS), help="Default: the case's own engine.")
@click.option("--gpu", help="GPU id or name; default the case's cheapest choice.")
@click.option("--count", type=click.IntRange(min=1), help="GPUs, with --gpu.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File.")
def export(
    file: Path,
    case_id: str | None,
    target: str | None,
    gpu: str | None,
    count: int | None,
    output: Path | None,
) -> None:
    """Write the launch of a case's choice, with the values that its estimate used.

    \b
    Examples:
      planner export scenarios/chat.yaml --case ID
      planner export scenarios/chat.yaml --case ID --to kubernetes -o chat.yaml
    """
    from planner.interop.exports import EXPORTS, default_target
    from planner.interop.launch import refuse
    from planner.pipeline.launch import Wanted, launch_of
    from planner.pipeline.project import open_in_project

    context = open_in_project(file, project_of(file.parent))
    launch = launch_of(context, Wanted(case_id, gpu, count))
    name = target or default_target(launch)
    if name not in EXPORTS:
        raise refuse(
            name, f"there is no launch of {name} to export", f"known: {', '.join(_TARGETS)}"
        )
    emit(EXPORTS[name](launch), output)
