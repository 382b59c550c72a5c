"""Fit an engine profile to a file of measured runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from planner.calibrate import Calibration, calibrate, profile_text
from planner.catalog.load import load_catalog
from planner.errors import InputProblems, Problem
from planner.resolve.engines import find_engine, profile_of
from planner.verify.inference import measured_frame
from planner.verify.read import facts_of_models, read_measured, tables_of


def fit_file(
    path: Path, engine: str, version: str | None, *, models: Path | None = None
) -> tuple[Calibration, str]:
    """Constants fitted to the runs of one engine (and version) in a CSV, and the profile file.

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
    rows = measured.rows
    if measured.kind == "inference":
        rows = rows.filter(
            pl.col("engine") == known.engine, pl.col("score").fill_null("yes") != "no"
        )
        if version:
            rows = rows.filter(pl.col("engine_version") == version)
    if measured.kind != "inference" or rows.is_empty():
        message = f"no inference runs of {engine} {version or ''}".rstrip()
        raise InputProblems([Problem(str(path), 0, 0, "no-runs", "", message)])
    catalog = load_catalog()
    facts, _ = facts_of_models(rows["model"].drop_nulls().unique(), models, catalog)
    used = rows.select("engine", "engine_version").unique().iter_rows()
    frame = measured_frame(rows, tables_of(facts.values(), used, catalog), catalog)
    usable = frame.filter(pl.col("unsupported_reason").is_null())
    result = calibrate(usable, known.engine, version or "")
    source = f"{usable.height} runs of {path.name}"
    return result, profile_text(known, profile_of(known, version), result, source)
