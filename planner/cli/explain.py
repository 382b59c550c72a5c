"""`planner explain`: one cell's ledger with formulas."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from planner.cli.ledger_text import ledger_text
from planner.cli.options import max_cells
from planner.errors import InputProblems, Problem, did_you_mean


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--case", "case_id", required=True, help="Case id, as in cells.csv.")
@click.option("--gpu", required=True, help="GPU id or name.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@max_cells
def explain(file: Path, case_id: str, gpu: str, count: int, as_json: bool, max_cells: int) -> None:
    """Show how the memory of one cell adds up, with the numbers put into the formulas.

    \b
    Example:
      planner explain scenarios/guide-llama3-8b.yaml \\
        --case "train/llama-3-8b-guide/method=full" --gpu H100 --count 2
    """
    import polars as pl

    from planner.catalog.names import NameProblem
    from planner.choose import best_per_configuration
    from planner.cli.review_options import project_of
    from planner.pipeline.advice import advice_words
    from planner.pipeline.decide import decide
    from planner.pipeline.details import cell_details
    from planner.pipeline.project import open_in_project

    context = open_in_project(file, project_of(file.parent), max_cells=max_cells)
    try:
        gpu_id = context.catalog.resolve("gpus", gpu)
    except NameProblem as error:
        raise refused(file, "gpu", error.message, error.hint) from None
    cells = decide(context)
    cases = cells["case_id"].unique(maintain_order=True).to_list()
    if case_id not in cases:
        hint = did_you_mean(case_id, cases) or f"{len(cases)} cases, the first is '{cases[0]}'"
        raise refused(file, "case", f"'{case_id}' is no case of this scenario", hint)
    at = cells.filter(
        (pl.col("case_id") == case_id) & (pl.col("gpu") == gpu_id) & (pl.col("gpu_count") == count)
    )
    if not at.height:
        supply = context.scenario.supply
        hint = f"GPUs {', '.join(supply.gpus)}; counts {', '.join(map(str, supply.gpu_counts))}"
        raise refused(file, "gpu", f"{count}x {gpu_id} is not in the supply", hint)
    best = best_per_configuration(at.lazy()).collect(engine="in-memory")
    detail = cell_details(context, best, all_ledgers=True)[0]
    advice = advice_words(context, best)[0]
    if as_json:
        lines = [asdict(line) for line in detail.ledger]
        found = {"cell": dict(detail.cell), "ledger": lines, "advice": advice}
        click.echo(json.dumps(found, indent=2, default=str))
    else:
        click.echo(ledger_text(detail.cell, detail.ledger, advice=advice))


def refused(file: Path, option: str, message: str, hint: str) -> InputProblems:
    """A wrong option as an input problem."""
    return InputProblems(
        [Problem(str(file), 0, 0, f"unknown-{option}", f"--{option}", message, hint)]
    )
