"""`planner verify` and `planner calibrate`: measured runs against estimates, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import InputProblems, Problem

if TYPE_CHECKING:
    import polars as pl

    from planner.verify.run import Verified

_UNESTIMATED_SHOWN = 20


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option("--json", "as_json", is_flag=True, help="Print rows and summary as JSON.")
@click.option(
    "--by", default="", metavar="COLUMNS", help="Group by these, such as engine,component."
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of org--name.json configs for models the catalog lacks.",
)
@click.option("--all", "all_rows", is_flag=True, help="Score rows that are marked score = no too.")
@click.pass_context
def verify(
    context: click.Context,
    files: tuple[Path, ...],
    as_json: bool,
    by: str,
    models: Path | None,
    all_rows: bool,
) -> None:
    """Compare measured runs with what the planner estimates from their inputs alone.

    FILE is a CSV of inference, training or serving-speed runs (docs/verify.md has the columns).

    \b
    Examples:
      planner verify runs.csv
      planner verify runs.csv --by engine,engine_version,component --models configs/
    """
    import polars as pl

    from planner.verify.run import GROUPS, verify_file

    parts = []
    for file in files:
        verified = verify_file(file, models=models)
        if all_rows:
            verified = _scored(verified)
        groups = tuple(name.strip() for name in by.split(",") if name.strip())
        parts.append((verified, groups or GROUPS[verified.kind]))
        _check_groups(verified, parts[-1][1], file)
    if as_json:
        rows = [row for verified, _ in parts for row in _json_rows(verified)]
        summaries = [line for verified, groups in parts for line in _summary(verified, groups)]
        click.echo(json.dumps({"rows": rows, "summary": summaries}, indent=1))
        return
    for verified, groups in parts:
        _print_text(verified, groups)
    pl.Config.restore_defaults()


def _scored(verified: Verified) -> Verified:
    import dataclasses

    import polars as pl

    return dataclasses.replace(verified, rows=verified.rows.with_columns(scored=pl.lit(True)))


def _check_groups(verified: Verified, groups: Sequence[str], file: Path) -> None:
    unknown = [name for name in groups if name not in verified.rows.columns]
    if unknown:
        known = ", ".join(verified.rows.columns)
        message = f"--by: no column {', '.join(unknown)}"
        raise InputProblems([Problem(str(file), 0, 0, "unknown-column", "", message, known)])


def _json_rows(verified: Verified) -> list[dict[str, Any]]:
    from planner.verify.score import ROW_COLUMNS

    return verified.rows.select(*ROW_COLUMNS, "scored").to_dicts()


def _summary(verified: Verified, groups: Sequence[str]) -> list[dict[str, Any]]:
    from planner.verify.score import summary

    return [{"kind": verified.kind, **line} for line in summary(verified.rows, groups).to_dicts()]


def _print_text(verified: Verified, groups: Sequence[str]) -> None:
    from planner.verify.score import confusion, summary, summary_text

    click.echo(f"{verified.kind}: {verified.rows['id'].n_unique()} runs")
    for line in summary_text(summary(verified.rows, groups), groups):
        click.echo(line)
    counts = confusion(verified.rows)
    if any(counts.values()):
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        click.echo(f"verdicts on measured totals: {told}")
    _print_unestimated(verified.rows)


def _print_unestimated(rows: pl.DataFrame) -> None:
    import polars as pl

    missing = (
        rows.filter(pl.col("reason").is_not_null())
        .group_by("reason", maintain_order=True)
        .agg(pl.col("id").unique(maintain_order=True))
        .sort(pl.col("id").list.len(), descending=True)
    )
    if missing.is_empty():
        return
    click.echo(f"without an estimate: {sum(len(ids) for ids in missing['id'])}")
    for reason, ids in missing.select("reason", "id").head(_UNESTIMATED_SHOWN).iter_rows():
        shown = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
        click.echo(f"  {len(ids):4}  {reason}: {shown}")
