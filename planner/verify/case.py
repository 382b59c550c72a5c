"""One run whose case is on the command line and whose figures are in a tool's output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from planner.errors import InputProblems, OutsideFailure, Problem
from planner.verify.logs import Reading, read_output
from planner.verify.read import Measured

COLUMNS: Final = (
    "engine",
    "engine_version",
    "model",
    "weight_format",
    "gpu",
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_dtype",
    "block_size",
    "gpu_memory_utilization",
    "enforce_eager",
    "batch_size",
    "input_tokens",
    "output_tokens",
    "total_gpu_memory_gib",
    "weights_gib",
    "activation_peak_gib",
    "non_torch_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "total_gib",
    "total_metric",
    "scope",
    "notes",
    "score",
)
"""Columns of a file of measured inference runs, beside `id`."""


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
