"""What was decided about each case, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.choose import Limits, allowed_verdicts
from planner.choose.money import usd_text
from planner.pipeline.columns import CELL_COLUMNS
from planner.plan import CellDetail, PlanCase
from planner.scenario.model import Supply


def plan_cases(
    cells: pl.DataFrame,
    finalists: pl.DataFrame,
    bought: set[int],
    limits: Limits,
    supply: Supply,
) -> tuple[PlanCase, ...]:
    """Every case with its outcome in words. Axis values are those of its own columns."""
    chosen: dict[int, list[int]] = {}
    for index, case in enumerate(finalists["case_index"].to_list()):
        chosen.setdefault(case, []).append(index)
    outcomes = {row["case_index"]: row for row in _outcomes(cells, limits).iter_rows(named=True)}
    first = finalists.unique("case_index", keep="first", maintain_order=True)
    words = dict(zip(first["case_index"], first.select(_choice_words()).to_series(), strict=True))
    axes = [name for name in CELL_COLUMNS if name in _CASE_VALUES]
    heads = cells.unique("case_index", keep="first", maintain_order=True).sort("case_index")
    cases, ways = [], ways_words(supply)
    for row in heads.iter_rows(named=True):
        case = row["case_index"]
        indices = chosen.get(case, [])
        outcome, sentence = _outcome(outcomes[case], words.get(case), ways)
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
    return pl.format("{} at ${} per hour", offer_label(), usd_text(pl.col("usd_per_hour")))


def offer_label() -> pl.Expr:
    """What is taken, and from whom: `2 replicas of 1× h100 (TP2) from 2 × acme x1, spot`."""
    layout = layout_words()
    many = pl.when(pl.col("replicas") > 1).then(pl.format("{} replicas of ", "replicas"))
    in_layout = pl.when(layout.str.len_chars() > 0).then(pl.format(" ({})", layout))
    machine = pl.format("{}× {}", "gpu_count", "gpu")
    seller = pl.when(pl.col("purchase") != "owned").then(pl.format("{} ", "provider"))
    instances = pl.when(pl.col("instances") > 1).then(pl.format("{} × ", "instances"))
    offer = [pl.lit(" from "), instances, seller, pl.format("{}, {}", "instance_type", "purchase")]
    spread = pl.when(pl.col("nodes") > 1).then(pl.format(" on {} nodes", "nodes"))
    return pl.concat_str([many, machine, in_layout, spread, *offer], ignore_nulls=True)


def ways_words(supply: Supply) -> str:
    """How the supply may buy, in words: `on-demand or spot, from aws or lambda`."""
    parts = [" or ".join(supply.purchase)]
    parts += [f"from {' or '.join(supply.providers)}"] * bool(supply.providers)
    parts += [f"in {' or '.join(supply.regions)}"] * bool(supply.regions)
    parts += [f"as {' or '.join(supply.instance_types)}"] * bool(supply.instance_types)
    for least, unit in ((supply.min_vcpus, "vCPUs"), (supply.min_ram_gb, "GB of host memory")):
        if least is not None:
            parts.append(f"with at least {least:g} {unit}")
    return ", ".join(parts)


def _outcomes(cells: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Per case: how many cells fall at which hurdle, and the smallest factor that is missing.

    The hurdles in their order: a verdict that may be chosen, the objectives, an offer, the limits.
    """
    needs = pl.col("total_bytes") / pl.col("budget_bytes")
    verdict, state = pl.col("verdict"), pl.col("price_state")
    fits = verdict.is_in(allowed_verdicts(limits))
    meets = fits & pl.col("meets_objectives").fill_null(True)
    over = meets & (state == "over-limit")
    return cells.group_by("case_index", maintain_order=True).agg(
        fits=fits.sum(),
        tight=(verdict == "tight").sum(),
        estimated=verdict.is_in(["fits", "tight", "exceeds"]).sum(),
        meets=meets.sum(),
        misses=(fits & ~meets).sum(),
        over_limit=over.sum(),
        least_over=pl.col("reason").filter(over).sort_by(pl.col("rank_cost_usd").filter(over))
        .first(),
        not_held=(meets & (state == "no-offer")).sum(),
        offer_reason=pl.col("offer_reason").filter(meets).drop_nulls().first(),
        eligible=pl.col("is_eligible").sum(),
        needs=needs.filter(verdict == "exceeds").min(),
        reason=pl.col("reason").drop_nulls().first(),
    )  # fmt: skip


def _outcome(row: Mapping[str, Any], choice: str | None, ways: str) -> tuple[str, str]:
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
    if not row["meets"]:
        return "misses-objective", "fits, but no configuration meets the objectives"
    what = "that fits and meets the objectives" if row["misses"] else "that fits"
    if row["over_limit"]:
        return "over-limit", f"the cheapest {what} is above the limits: {row['least_over']}"
    if row["not_held"]:
        return (
            "no-price",
            f"no offer holds what {what.removeprefix('that ')}: {row['offer_reason']}",
        )
    return "no-price", f"nothing {what} is sold this way: {ways}"


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
        whole = f"None of the {asked} purchases has an answer."
        return "The purchase has no answer." if asked == 1 else whole
    counts: dict[str, int] = {}
    for index in chosen:
        machine = _machine(details[index].cell, gpu_names)
        counts[machine] = counts.get(machine, 0) + 1
    if asked == 1:
        return f"The cheapest answer is {_replicas(details[chosen[0]].cell, gpu_names)}."
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


def _machine(cell: Mapping[str, Any], gpu_names: Mapping[str, str]) -> str:
    name = gpu_names.get(cell["gpu"], cell["gpu"])
    return f"one {name}" if cell["gpu_count"] == 1 else f"{cell['gpu_count']}× {name}"


def _replicas(cell: Mapping[str, Any], gpu_names: Mapping[str, str]) -> str:
    """`2 replicas of one L4 on 2 × g6.xlarge from aws, spot`."""
    many = f"{cell['replicas']} replicas of " if (cell["replicas"] or 1) > 1 else ""
    count = f"{cell['instances']} × " if (cell["instances"] or 1) > 1 else ""
    seller = "" if cell["purchase"] == "owned" else f" from {cell['provider']}"
    offer = f"{count}{cell['instance_type']}{seller}, {cell['purchase']}"
    return f"{many}{_machine(cell, gpu_names)} on {offer}"


_SHOWN_MACHINES: Final = 3


def _shares(counts: Mapping[str, int]) -> str:
    """`5 on one L4, 2 on 2× H100 and 1 on another machine`, the most common first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} on {machine}" for machine, count in ordered[:_SHOWN_MACHINES]]
    rest = sum(count for _, count in ordered[_SHOWN_MACHINES:])
    if rest:
        shown.append(f"{rest} on other machines" if rest > 1 else "1 on another machine")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
