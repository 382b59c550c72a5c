"""`planner verify` and `planner calibrate`: measured runs against estimates, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import InputProblems, Problem, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from planner.verify.run import Verified

_UNESTIMATED_SHOWN = 20


def _known_engine(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from planner.resolve.engines import find_engine

    try:
        return None if value is None else find_engine(value).engine
    except KeyError as error:
        raise click.BadParameter(str(error.args[0])) from None


def _known_cache_dtype(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from planner.estimate.kv_cache import ELEMENT_BYTES

    known = ("auto", *ELEMENT_BYTES)
    if value is None or value in known:
        return value
    hint = did_you_mean(value, known) or f"known: {', '.join(known)}"
    raise click.BadParameter(f"'{value}' is not a known cache dtype; {hint}")


def case_options(function: Any) -> Any:
    """Options that describe the run behind a log or a tool's output."""
    counts = (
        "gpu-count",
        "tensor-parallel-size",
        "pipeline-parallel-size",
        "max-model-len",
        "max-num-seqs",
        "max-num-batched-tokens",
        "block-size",
        "batch-size",
        "input-tokens",
        "output-tokens",
    )
    options = [
        click.option("--model", help="Model of the run whose log or tool's output FILE is."),
        click.option("--engine", callback=_known_engine, help="Default: the one whose log it is."),
        click.option("--engine-version", help="Of that run."),
        click.option("--weight-format", help="Default: the checkpoint's own."),
        click.option("--gpu", help="GPU id or name, such as L4, H100, 'rtx 4090'."),
        click.option("--kv-cache-dtype", callback=_known_cache_dtype, help="Of that run."),
        *(click.option(f"--{n}", type=click.IntRange(min=1), help="Of that run.") for n in counts),
        click.option(
            "--gpu-layers", type=click.IntRange(min=0), help="Layers on the GPU (llama.cpp)."
        ),
        click.option(
            "--gpu-memory-utilization",
            type=click.FloatRange(min=0, max=1, min_open=True),
            help="Share of the card, of that run.",
        ),
        click.option("--enforce-eager", is_flag=True, help="That run made no CUDA graphs."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


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
@case_options
def verify(
    files: tuple[Path, ...],
    as_json: bool,
    by: str,
    models: Path | None,
    all_rows: bool,
    **case: Any,
) -> None:
    """Compare measured runs with what the planner estimates from their inputs alone.

    FILE is a CSV of inference, training or serving-speed runs (docs/verify.md has the columns), or
    the output of a tool or an engine: a vLLM, SGLang or llama.cpp log, nvidia-smi csv, gpustat
    --json, nvtop -s, torch.cuda.memory_stats(). Options describe the run behind it as far as the
    output does not.

    \b
    Examples:
      planner verify runs.csv
      planner verify runs.csv --by engine,engine_version,component --models configs/
      planner verify server.log --model Qwen/Qwen3-8B --gpu L4
    """
    from planner.verify.run import GROUPS

    parts = []
    for file in files:
        verified = _verified(file, models, case)
        if all_rows:
            verified = _scored(verified)
        groups = tuple(name.strip() for name in by.split(",") if name.strip())
        parts.append((verified, groups or GROUPS[verified.kind]))
        _check_groups(verified, parts[-1][1], file)
    for remark in dict.fromkeys(text for verified, _ in parts for text in verified.remarks):
        click.echo(f"warning: {remark}", err=True)
    if as_json:
        rows = [row for verified, _ in parts for row in _json_rows(verified)]
        summaries = [line for verified, groups in parts for line in _summary(verified, groups)]
        notes = list(dict.fromkeys(note for verified, _ in parts for note in verified.notes))
        click.echo(json.dumps({"rows": rows, "summary": summaries, "notes": notes}, indent=1))
        return
    for verified, groups in parts:
        _print_text(verified, groups)


def _verified(file: Path, models: Path | None, case: Mapping[str, Any]) -> Verified:
    from planner.verify.case import read_case
    from planner.verify.read import is_measured
    from planner.verify.run import verify_file, verify_rows

    told = {name: None if value in (None, False) else str(value) for name, value in case.items()}
    told["enforce_eager"] = "true" if case.get("enforce_eager") else None
    given = [name for name, value in told.items() if value is not None]
    if not is_measured(file, described=bool(given)):
        return verify_rows(read_case(file, told, models=models), models=models)
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{file} is a CSV of runs, which {options} can't describe")
    return verify_file(file, models=models)


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
    if verified.rows["id"].n_unique() == 1:
        _print_rows(verified.rows)
        _print_notes(verified)
        return
    for line in summary_text(summary(verified.rows, groups), groups):
        click.echo(line)
    counts = confusion(verified.rows)
    if any(counts.values()):
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        click.echo(f"verdicts on measured totals: {told}")
    _print_unestimated(verified.rows)
    _print_notes(verified)


def _print_notes(verified: Verified) -> None:
    for note in verified.notes:
        click.echo(f"note: {note}")


def _print_rows(rows: pl.DataFrame) -> None:
    """Every component of one run: measured, estimate, and where it lies in the range."""
    for row in rows.to_dicts():
        unit = {"tokens": "", "ms": " ms"}.get(row["unit"], " GiB")
        digits = 0 if row["unit"] == "tokens" else 2
        measured = f"{row['measured']:,.{digits}f}{unit}"
        if row["expected"] is None:
            click.echo(f"{row['component']:22} measured {measured}; {row['reason']}")
            continue
        low, expected, high = (f"{row[n]:,.{digits}f}" for n in ("low", "expected", "high"))
        inside = row["low"] <= row["measured"] <= row["high"]
        place = "in range" if inside else "out of range"
        click.echo(
            f"{row['component']:22} measured {measured}, expected {expected}"
            f" ({low} to {high}), {place}"
        )


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


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--engine", required=True, help="Engine whose profile is fitted.")
@click.option(
    "--engine-version", "version", help="Only runs of this version; 0.22 takes 0.22.1 in too."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Profile file to write (YAML)."
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of org--name.json configs for models the catalog lacks.",
)
def calibrate(
    file: Path, engine: str, version: str | None, output: Path | None, models: Path | None
) -> None:
    """Fit an engine profile's constants to your own measured runs.

    FILE is a CSV of inference runs as for verify. Constants with too few runs stay as they are.

    \b
    Example:
      planner calibrate runs.csv --engine vllm --engine-version 0.22 -o vllm-0.22.yaml
    """
    from planner.verify.fit import fit_file

    result, text, remarks = fit_file(file, engine, version, models=models)
    for remark in remarks:
        click.echo(f"warning: {remark}", err=True)
    for one in result.fitted:
        click.echo(
            f"{one.name}: {one.value:.6g} (was {one.before:.6g}), 90 % within"
            f" {100 * one.error:.1f} %, {one.points} runs"
        )
    for name, reason in result.unchanged.items():
        click.echo(f"{name}: {reason}, unchanged")
    if result.left_out:
        click.echo(
            f"left out: {result.left_out} runs of an older worker, with a profile of its own"
        )
    if output is not None:
        output.write_text(text, "utf-8")
        click.echo(f"wrote {output}")
