"""Fit an engine profile to a file of measured runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from planner.calibrate import Calibration, calibrate
from planner.catalog.load import load_catalog
from planner.errors import InputProblems, Problem
from planner.resolve.engines import find_engine, parse_version, profile_of
from planner.verify.inference import measured_frame
from planner.verify.inference_cells import of_v0_workers
from planner.verify.names import unknown_formats, with_ids
from planner.verify.profile_file import profile_text
from planner.verify.read import facts_of_models, read_measured, tables_of


def _of_version(versions: pl.Series, wanted: str) -> pl.Series:
    """Whether a run's version is the wanted one or begins with it: 0.22 holds 0.22.1, not 0.2."""
    parts = parse_version(wanted)

    def belongs(version: str | None) -> bool:
        own = parse_version(version)
        if parts is None or own is None:
            return version == wanted
        return own[: len(parts)] == parts

    return pl.Series([belongs(version) for version in versions], dtype=pl.Boolean)


def fit_file(
    path: Path, engine: str, version: str | None, *, models: Path | None = None
) -> tuple[Calibration, str, tuple[str, ...]]:
    """Constants fitted to the runs of one engine (and version) in a CSV, and the profile file.

    With them what of the file was not used, for the user to read: runs with names that the catalog
    does not know take no part.

    Raises:
        InputProblems: the file has no inference runs of that engine and version.
        OutsideFailure: it can't be read.
    """
    measured = read_measured(path)
    try:
        known = find_engine(engine)
    except KeyError as error:
        message = str(error.args[0])
        raise InputProblems([Problem(str(path), 0, 0, "unknown-engine", "", message)]) from None
    catalog = load_catalog()
    named = with_ids(measured, models, catalog)
    rows = named.measured.rows.filter(~pl.col("id").is_in(list(named.reasons)))
    there = ""
    if measured.kind == "inference":
        rows = of_v0_workers(rows).filter(
            pl.col("engine") == known.engine, pl.col("score").fill_null("yes") != "no"
        )
        versions = sorted(rows["engine_version"].drop_nulls().unique())
        there = f"the file has runs of {', '.join(versions)}" if versions else ""
        if version:
            rows = rows.filter(_of_version(rows["engine_version"], version))
    if measured.kind != "inference" or rows.is_empty():
        message = f"no inference runs of {engine} {version or ''}".rstrip()
        raise InputProblems([Problem(str(path), 0, 0, "no-runs", "", message, there)])
    facts, _ = facts_of_models(rows["model"].drop_nulls().unique(), models, catalog)
    used = rows.select("engine", "engine_version").unique().iter_rows()
    frame = measured_frame(rows, tables_of(facts.values(), used, catalog), catalog)
    reason = pl.coalesce("unsupported_reason", "impossible_reason")
    usable = frame.filter(reason.is_null())
    profile = profile_of(known, version)
    result = calibrate(usable, known.engine, version or "", profile.by_model_type)
    source = f"{usable.height - result.left_out} runs of {path.name}"
    used_rows = replace(named.measured, rows=rows)
    remarks = (*named.measured.remarks, *unknown_formats(used_rows, facts, catalog))
    return result, profile_text(known, profile, result, source), remarks
