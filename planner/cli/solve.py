"""`planner solve`: the largest value that still fits."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.options import max_cells
from planner.cli.tables_text import show_table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--for",
    "wanted",
    type=click.Choice(["context_tokens", "concurrent_sequences"]),
    required=True,
    help="The axis to solve for; the other axes keep the scenario's values.",
)
@click.option("--gpu", help="Only this GPU.")
@click.option("--count", type=click.IntRange(min=1), help="Only this GPU count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@max_cells
def solve(
    file: Path, wanted: str, gpu: str | None, count: int | None, as_json: bool, max_cells: int
) -> None:
    """Find the largest context or concurrency of each serving case that still fits.

    \b
    The answer counts expected bytes (the column "bound"), as the verdict "tight" does; "fits"
    counts the high end of the range, so that a cell at its answer is tight more often than not.
    Where the answer is 0, "reason" says what leaves no room.
    Example:
      planner solve scenarios/support-chat.yaml --for context_tokens --gpu H100
    """
    import polars as pl

    from planner.catalog.names import NameProblem
    from planner.choose import best_per_configuration
    from planner.cli.explain import refused
    from planner.cli.review_options import project_of
    from planner.pipeline.decide import decide
    from planner.pipeline.project import open_in_project
    from planner.pipeline.solved import SOLVED, solved_columns

    context = open_in_project(file, project_of(file.parent), max_cells=max_cells)
    supply = context.scenario.supply
    cells = decide(context).filter(pl.col("method") == "inference")
    if not cells.height:
        raise refused(file, "for", f"no serving case to find {wanted} for", "")
    if gpu is not None:
        try:
            gpu_id = context.catalog.resolve("gpus", gpu)
        except NameProblem as error:
            raise refused(file, "gpu", error.message, error.hint) from None
        cells = cells.filter(pl.col("gpu") == gpu_id)
        if not cells.height:
            hint = f"GPUs of the supply: {', '.join(supply.gpus)}"
            raise refused(file, "gpu", f"{gpu_id} is not in the supply of a serving case", hint)
    if count is not None:
        cells = cells.filter(pl.col("gpu_count") == count)
        if not cells.height:
            hint = f"counts of the supply: {', '.join(map(str, supply.gpu_counts))}"
            raise refused(file, "count", f"no serving cell has {count} GPUs", hint)
    _, given = SOLVED[wanted]
    best = best_per_configuration(cells.lazy()).collect(engine="in-memory")
    shown = best.select(
        "case_id",
        "gpu",
        "gpu_count",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        given,
        pl.col(wanted).alias(f"asked_{wanted}"),
        *solved_columns(wanted),
    )
    show_table(shown.to_dicts(), as_json=as_json)
