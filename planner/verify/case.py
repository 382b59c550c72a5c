"""One run whose case is on the command line and whose figures are in a tool's output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from planner.errors import InputProblems, OutsideFailure, Problem
from planner.verify.columns import INFERENCE_COLUMNS as COLUMNS
from planner.verify.logs import Reading, read_output
from planner.verify.read import Measured


def read_case(path: Path, case: Mapping[str, str | None]) -> Measured:
    """A measured run from a tool's output and its case (columns of the file format as text).

    What the output says of its own run (version, memory fraction, the card's memory) is used where
    the case does not say it.

    Raises:
        OutsideFailure: the file can't be read.
        InputProblems: nothing in it is recognised.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise OutsideFailure(f"{path}: {error.strerror or error}") from error
    reading = read_output(text)
    if reading is None:
        message = "no memory figures recognised in this output"
        hint = "vLLM, SGLang and llama.cpp logs, nvidia-smi csv, gpustat, nvtop, torch stats"
        raise InputProblems([Problem(str(path), 0, 0, "unknown-output", "", message, hint)])
    return Measured("inference", _row(path, case, reading), path)


def _row(path: Path, case: Mapping[str, str | None], reading: Reading) -> pl.DataFrame:
    values: dict[str, str | None] = dict.fromkeys(COLUMNS)
    values |= {name: str(value) for name, value in reading.values.items() if name in COLUMNS}
    values |= {name: value for name, value in case.items() if value is not None}
    values["scope"] = "per-gpu"
    row = {"id": path.name, **values}
    return pl.DataFrame([row], schema=dict.fromkeys(("id", *COLUMNS), pl.String))
