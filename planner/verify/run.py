"""One file of measured runs, estimated: the rows that every summary and report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from planner.catalog.load import Catalog, load_catalog
from planner.verify.columns import Kind
from planner.verify.read import Measured, facts_of_models, read_measured, tables_of, typed

GROUPS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "inference": ("engine", "component"),
    "training": ("framework", "component"),
    "throughput": ("engine", "component"),
}
"""What a summary groups by where the user does not say."""

_ABOUT: Final = (
    "engine",
    "engine_version",
    "framework",
    "framework_version",
    "model",
    "method",
    "weight_format",
    "gpu",
    "gpu_count",
    "tensor_parallel_size",
)


@dataclass(frozen=True, slots=True)
class Verified:
    """Measured runs beside their estimates.

    `rows` has id, component, measured, low, expected, high, unit, reason, scored, card_gib, and
    what the file says about the run (engine, model, gpu, ...). `remarks` are what of the input was
    not used, `notes` what the engines' profiles say of themselves (a version they don't know).
    """

    kind: Kind
    rows: pl.DataFrame
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verify_file(
    path: Path, *, models: Path | None = None, catalog: Catalog | None = None
) -> Verified:
    """Estimate every row of a CSV of measured runs from its inputs alone.

    Raises:
        InputProblems: the file is of no known kind.
        OutsideFailure: it can't be read.
    """
    return verify_rows(read_measured(path), models=models, catalog=catalog)


def verify_rows(
    measured: Measured, *, models: Path | None = None, catalog: Catalog | None = None
) -> Verified:
    """The same for rows that are read already."""
    from planner.verify.names import unknown_formats, with_ids

    known = catalog or load_catalog()
    named = with_ids(measured, models, known)
    measured = named.measured
    if measured.kind == "inference":
        from planner.verify.inference_cells import with_versions

        measured = replace(measured, rows=with_versions(measured.rows))
    rows = measured.rows
    facts, reasons = facts_of_models(rows["model"].drop_nulls().unique(), models, known)
    estimate = {
        "inference": _inference,
        "training": _training,
        "throughput": _throughput,
    }[measured.kind]
    estimated = estimate(rows, tuple(facts.values()), known)
    found = _with_facts(estimated, rows, reasons, named.reasons)
    remarks = measured.remarks
    if measured.kind == "inference":
        remarks += unknown_formats(measured, facts, known)
    return Verified(measured.kind, found, remarks, _profile_notes(rows))


def _profile_notes(rows: pl.DataFrame) -> tuple[str, ...]:
    """Notes of the profiles that rows were estimated with, each once."""
    from planner.resolve.engines import find_engine, profile_of

    if "engine" not in rows.columns:
        return ()
    notes = []
    for name, version in rows.select("engine", "engine_version").unique().sort(pl.all()).rows():
        try:
            engine = find_engine(name or "")
        except KeyError:
            continue
        note = profile_of(engine, version).note
        about = "" if engine.title in note else f"{engine.title} {version or ''}".rstrip() + ": "
        notes += [f"{about}{note}"] if note else []
    return tuple(dict.fromkeys(notes))


def _inference(rows: pl.DataFrame, facts: Any, catalog: Catalog) -> pl.DataFrame:
    from planner.verify.inference import inference_estimates

    used = rows.select("engine", "engine_version").unique().iter_rows()
    return inference_estimates(rows, tables_of(facts, used, catalog), catalog)


def _throughput(rows: pl.DataFrame, facts: Any, catalog: Catalog) -> pl.DataFrame:
    from planner.verify.throughput import throughput_estimates

    numbers = typed(rows)
    used = numbers.select("engine", "engine_version").unique().iter_rows()
    parts = throughput_estimates(numbers, tables_of(facts, used, catalog, speed=True))
    return parts.with_columns(card_gib=pl.lit(None, dtype=pl.Float64))


def _training(rows: pl.DataFrame, facts: Any, catalog: Catalog) -> pl.DataFrame:
    from planner.verify.training import cells_from_rows, estimates

    cells = cells_from_rows(typed(rows)).join(
        catalog.gpus.select("gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes"),
        on="gpu",
        how="left",
        maintain_order="left",
    )
    frame = estimates(cells, tables_of(facts, (), catalog))
    reasons = [
        name for name in ("unsupported_reason", "impossible_reason") if name in frame.columns
    ]
    return frame.select(
        "id",
        pl.col("metric").alias("component"),
        pl.lit("gib").alias("unit"),
        pl.col("measured_gib").cast(pl.Float64).alias("measured"),
        pl.col("estimated_low_gib").alias("low"),
        pl.col("estimated_gib").alias("expected"),
        pl.col("estimated_high_gib").alias("high"),
        pl.coalesce(*reasons, pl.lit(None, dtype=pl.String)).alias("note"),
        (pl.col("usable_bytes") / 2**30).alias("card_gib"),
    )


def _with_facts(
    estimated: pl.DataFrame,
    rows: pl.DataFrame,
    reasons: Mapping[str, str],
    unknown_names: Mapping[str, str],
) -> pl.DataFrame:
    """The rows with what is known about each run, and why it has no estimate.

    `reasons` are by model; `unknown_names`, of cards and engines, by run: these are not estimated.
    """
    about = [name for name in _ABOUT if name in rows.columns]
    scored = (
        pl.col("score").fill_null("yes") != "no"
        if "score" in rows.columns
        else pl.lit(True, dtype=pl.Boolean)
    )
    unknown = pl.col("model").replace_strict(dict(reasons), default=None, return_dtype=pl.String)
    nameless = pl.when(pl.col("model").is_null()).then(pl.lit("the run names no model"))
    no_estimate = pl.when(pl.col("expected").is_null())
    unnamed = pl.col("id").replace_strict(dict(unknown_names), default=None, return_dtype=pl.String)
    usable = pl.col("expected").is_finite() & unnamed.is_null()
    bounds = [
        pl.when(usable).then(name).otherwise(None).alias(name)
        for name in ("low", "expected", "high")
    ]
    return (
        estimated.with_columns(*bounds)
        .join(rows.select("id", *about, scored=scored), on="id", how="left", maintain_order="left")
        .with_columns(
            reason=no_estimate.then(
                pl.coalesce(
                    nameless, unknown, unnamed, "note", pl.lit("no estimate for these inputs")
                )
            )
        )
        .drop("note")
    )
