"""What was decided about each case, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.pipeline.columns import CELL_COLUMNS
from planner.plan import CellDetail, PlanCase


def plan_cases(
    cells: pl.DataFrame, finalists: pl.DataFrame, bought: set[int]
) -> tuple[PlanCase, ...]:
    """Every case with its outcome in words. Axis values are those of its own columns."""
    chosen: dict[int, list[int]] = {}
    for index, case in enumerate(finalists["case_index"].to_list()):
        chosen.setdefault(case, []).append(index)
    outcomes = {row["case_index"]: row for row in _outcomes(cells).iter_rows(named=True)}
    first = finalists.unique("case_index", keep="first", maintain_order=True)
    words = dict(zip(first["case_index"], first.select(_choice_words()).to_series(), strict=True))
    axes = [name for name in CELL_COLUMNS if name in _CASE_VALUES]
    heads = cells.unique("case_index", keep="first", maintain_order=True).sort("case_index")
    cases = []
    for row in heads.iter_rows(named=True):
        case = row["case_index"]
        indices = chosen.get(case, [])
        outcome, sentence = _outcome(outcomes[case], words.get(case))
        cases.append(
            PlanCase(
                case_id=row["case_id"],
                workload=row["workload"],
                model=row["model"],
                method=row["method"],
                values={name: row[name] for name in axes if row.get(name) is not None},
                bought_key=row["bought_key"],
                is_bought=case in bought,
                outcome=outcome,
                sentence=sentence,
                cheapest=indices[0] if indices else None,
                runners_up=tuple(indices[1:]),
            )
        )
    return tuple(cases)


_CASE_VALUES: Final = frozenset({
    "engine", "engine_version", "framework", "weight_format", "kv_cache_dtype", "context_tokens",
    "concurrent_sequences", "optimizer", "sequence_tokens", "micro_batch_size",
    "gradient_checkpointing", "gradient_accumulation_steps", "attention", "loss_kernel",
    "packing", "torch_compile", "compute_dtype", "optimizer_state_dtype",
    "master_weights_dtype", "gradient_dtype", "adapter_dtype", "offload", "lora_rank",
    "lora_targets",
})  # fmt: skip


def _choice_words() -> pl.Expr:
    layout = layout_words()
    return pl.format(
        "{}× {}{} from {} at ${} per hour",
        pl.col("gpu_count"),
        pl.col("gpu"),
        pl.when(layout.str.len_chars() > 0).then(pl.format(" ({})", layout)).otherwise(pl.lit("")),
        pl.col("provider"),
        pl.col("usd_per_hour").round(2),
    )


def _outcomes(cells: pl.DataFrame) -> pl.DataFrame:
    """Per case: how many cells fall at which hurdle, and the smallest factor that is missing."""
    needs = pl.col("total_bytes") / pl.col("budget_bytes")
    verdict, fits = pl.col("verdict"), pl.col("verdict") == "fits"
    misses = ~pl.col("meets_objectives").fill_null(True)
    return cells.group_by("case_index", maintain_order=True).agg(
        cells=pl.len(),
        fits=fits.sum(),
        tight=(verdict == "tight").sum(),
        estimated=verdict.is_in(["fits", "tight", "exceeds"]).sum(),
        priced=(fits & (pl.col("price_state") == "priced")).sum(),
        over_limit=(fits & (pl.col("price_state") == "over-limit")).sum(),
        misses=(fits & misses).sum(),
        eligible=pl.col("is_eligible").sum(),
        needs=needs.filter(verdict == "exceeds").min(),
        reason=pl.col("reason").drop_nulls().first(),
    )


def _outcome(row: Mapping[str, Any], choice: str | None) -> tuple[str, str]:
    if row["eligible"] and choice:
        return "chosen", choice
    if not row["fits"]:
        if row["tight"]:
            return "nothing-fits", "only tight fits: the high estimate is above the budget"
        if not row["estimated"]:
            return "nothing-fits", row["reason"] or "no configuration can run it"
        times = math.ceil(row["needs"] * 100) / 100
        return (
            "nothing-fits",
            f"fits nowhere: the nearest configuration needs {times:g}× its memory",
        )
    if row["misses"] == row["fits"]:
        return "misses-objective", "fits, but no configuration meets the objectives"
    if row["over_limit"]:
        return "over-limit", "fits, but every priced configuration is above the limits"
    return "no-price", "fits, but no configuration that fits has a price"


def layout_words() -> pl.Expr:
    """The parallel layout in the field's abbreviations: `TP2 PP2`, `FSDP4`; empty for one GPU."""
    parts = [
        pl.when(pl.col(column) > 1).then(pl.format(f"{word}{{}}", pl.col(column)))
        for word, column in (
            ("TP", "tensor_parallel_size"),
            ("PP", "pipeline_parallel_size"),
            ("EP", "expert_parallel_size"),
            ("CP", "context_parallel_size"),
        )
    ]
    data = pl.col("data_parallel_size")
    sharded = pl.when(data > 1).then(
        pl.format(
            "{}{}",
            pl.when(pl.col("sharding") == "none").then(pl.lit("DP")).otherwise(
                pl.col("sharding").str.to_uppercase()
            ),
            data,
        )
    )  # fmt: skip
    return pl.concat_str([*parts, sharded], separator=" ", ignore_nulls=True)


def headline(
    cases: Sequence[PlanCase], details: Sequence[CellDetail], gpu_names: Mapping[str, str]
) -> str:
    """The finding in one sentence: how many purchases have an answer, and on what."""
    asked = len({case.bought_key for case in cases})
    chosen = [case.cheapest for case in cases if case.is_bought and case.cheapest is not None]
    if not chosen:
        return f"None of the {asked} purchases has a configuration that fits and has a price."
    counts: dict[str, int] = {}
    for index in chosen:
        cell = details[index].cell
        name = gpu_names.get(cell["gpu"], cell["gpu"])
        machine = f"one {name}" if cell["gpu_count"] == 1 else f"{cell['gpu_count']}× {name}"
        counts[machine] = counts.get(machine, 0) + 1
    if asked == 1:
        return f"The cheapest answer is {next(iter(counts))}."
    every = "Both" if asked == 2 else f"All {asked}"
    said = every if len(chosen) == asked else f"{len(chosen)} of {asked}"
    missing = asked - len(chosen)
    tail = (
        "" if not missing else " One has no answer." if missing == 1 else f" {missing} have none."
    )
    if len(counts) == 1 and len(chosen) > 1:
        together = "both" if len(chosen) == 2 else "all"
        return f"{said} purchases have an answer, {together} on {next(iter(counts))}.{tail}"
    has = "has" if len(chosen) == 1 else "have"
    return f"{said} purchases {has} an answer: {_shares(counts)}.{tail}"


_SHOWN_MACHINES: Final = 3


def _shares(counts: Mapping[str, int]) -> str:
    """`5 on one L4, 2 on 2× H100 and 1 on another machine`, the most common first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} on {machine}" for machine, count in ordered[:_SHOWN_MACHINES]]
    rest = sum(count for _, count in ordered[_SHOWN_MACHINES:])
    if rest:
        shown.append(f"{rest} on other machines" if rest > 1 else "1 on another machine")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
