"""One cell with every value its estimate used, for exports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from planner.catalog.names import NameProblem
from planner.choose import best_per_configuration
from planner.errors import InputProblems, Problem, did_you_mean
from planner.estimate import estimate_cells
from planner.interop.launch import Launch
from planner.pipeline.context import Context
from planner.pipeline.decide import decide, placements

_KEYS = ("case_index", "configuration_index", "method")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cell: the case's cheapest where no GPU is named; the only bought case without one."""

    case_id: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None


def launch_of(context: Context, wanted: Wanted) -> Launch:
    """The launch of a cell: its configuration, and the settings that its memory holds for.

    Raises:
        InputProblems: there is no such case or cell, the case has no choice, or the cell can't run.
    """
    cells = decide(context)
    case_id = _case(context, cells, wanted.case_id)
    of_case = cells.filter(pl.col("case_id") == case_id)
    if wanted.gpu is None:
        chosen = of_case.filter(pl.col("is_cheapest"))
        if not chosen.height:
            hint = "name a configuration with --gpu and --count"
            raise _refused(context, "no-choice", f"'{case_id}' has no choice", hint)
    else:
        chosen = _at(context, of_case, wanted)
    row = chosen.row(0, named=True)
    if row["verdict"] in ("impossible", "unsupported"):
        raise _refused(context, row["verdict"], row["reason"] or "it can't run", "")
    known = {k: v for k, v in row.items() if v is not None}
    return Launch({**_estimate(context, row), **known, **_gpu_names(context, str(row["gpu"]))})


def _gpu_names(context: Context, gpu: str) -> dict[str, Any]:
    """What SkyPilot and dstack call the GPU: the catalog's first alias, less its memory."""
    found = context.catalog.gpus.filter(pl.col("gpu") == gpu).row(0, named=True)
    aliases = [name for name in found["aliases"] or () if name.isascii()]
    compact = [name for name in aliases if " " not in name] or aliases or [gpu]
    short = re.sub(r"-(\d+GB|SXM\d*|PCIE|PCIe|NVL)\b", "", compact[0])
    return {
        "skypilot_name": compact[0].replace(" ", ""),
        "dstack_name": short,
        "memory_gb": found["memory_gb"],
    }


def _case(context: Context, cells: pl.DataFrame, case_id: str | None) -> str:
    known = cells["case_id"].unique(maintain_order=True).to_list()
    if case_id is None and len(known) == 1:
        return str(known[0])
    if case_id in known:
        return str(case_id)
    hint = did_you_mean(case_id or "", known, limit=2) or f"the first of {len(known)}: '{known[0]}'"
    message = f"'{case_id}' is no case" if case_id else "has several cases, and --case names none"
    raise _refused(context, "unknown-case", message, hint)


def _at(context: Context, of_case: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    try:
        gpu = context.catalog.resolve("gpus", str(wanted.gpu))
    except NameProblem as error:
        raise _refused(context, "unknown-gpu", error.message, error.hint) from None
    count = wanted.gpu_count or 1
    found = of_case.filter((pl.col("gpu") == gpu) & (pl.col("gpu_count") == count))
    if not found.height:
        raise _refused(context, "unknown-gpu", f"{count}x {gpu} is not in the supply", "")
    return best_per_configuration(found.lazy()).collect(engine="in-memory")


def _refused(context: Context, code: str, message: str, hint: str) -> InputProblems:
    return InputProblems([Problem(context.scenario.file, 0, 0, code, "", message, hint)])


def _estimate(context: Context, row: dict[str, Any]) -> dict[str, Any]:
    """What the estimators filled in for this cell."""
    types = {"case_index": pl.Int64, "configuration_index": pl.Int64}
    wanted = pl.DataFrame({key: [row[key]] for key in _KEYS}, schema_overrides=types)
    for serves, frames in placements(context, wanted):
        for frame in frames:
            estimated = estimate_cells(frame, context.tables, context.settings, serves=serves)
            full = estimated.collect(engine="in-memory")
            if full.height:
                return full.row(0, named=True)
    return {}
