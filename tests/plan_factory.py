"""Plans and cells tables made from plain formulas, for tests of the renderers.

The numbers are plausible but belong to no estimator: what matters is that every verdict, price
state and outcome occurs, that values repeat as real ones do, and that names may be hostile.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from planner.plan import (
    COMPONENTS,
    SCHEMA_VERSION,
    Accuracy,
    Alternative,
    BudgetState,
    CellDetail,
    Flip,
    Inputs,
    LedgerLine,
    Plan,
    PlanCase,
    PlanChoice,
    PlanConfiguration,
    PlanModel,
    PlanScenario,
    PlanWorkload,
    Totals,
)

CELL_COLUMNS = (
    "case_id",
    "workload",
    "model",
    "method",
    "engine",
    "weight_format",
    "kv_cache_dtype",
    "context_tokens",
    "concurrent_sequences",
    "optimizer",
    "sequence_tokens",
    "micro_batch_size",
    "gradient_checkpointing",
    "gpu",
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "data_parallel_size",
    "sharding",
    "replicas",
    "weights_gib",
    "adapter_gib",
    "gradients_gib",
    "optimizer_gib",
    "activations_gib",
    "logits_gib",
    "kv_cache_gib",
    "recurrent_state_gib",
    "overhead_gib",
    "peak_phase",
    "total_low_gib",
    "total_gib",
    "total_high_gib",
    "usable_gib",
    "utilization",
    "verdict",
    "reason",
    "price_state",
    "provider",
    "region",
    "instance_type",
    "offer_gpu_count",
    "purchase",
    "price_date",
    "usd_per_hour",
    "usd_per_month",
    "tokens_per_second",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "usd_per_million_tokens",
    "is_cheapest",
    "is_bought",
)
MATRIX_NUMBERS = (
    "total_low_gib",
    "total_gib",
    "total_high_gib",
    "budget_gib",
    "utilization",
    *(f"{component}_gib" for component in COMPONENTS),
    "usd_per_hour",
    "usd_per_month",
)

# name, layers, hidden, kv heads, head size, attention heads, parameters, active parameters
MODELS: tuple[tuple[str, int, int, int, int, int, float, float], ...] = (
    ("meta-llama/Llama-3.1-8B-Instruct", 32, 4096, 8, 128, 32, 8.03e9, 8.03e9),
    ("Qwen/Qwen2.5-7B-Instruct", 28, 3584, 4, 128, 28, 7.62e9, 7.62e9),
    ("meta-llama/Llama-3.1-70B-Instruct", 80, 8192, 8, 128, 64, 70.6e9, 70.6e9),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 32, 4096, 8, 128, 32, 46.7e9, 12.9e9),
    ("deepseek-ai/DeepSeek-V3", 61, 7168, 1, 576, 128, 671e9, 37e9),
)
HOSTILE = (
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "a|b`c`",
    "\"quoted\" & 'single'</script><!--",
    "@SUM(A1)\ttab",
    "très-long-模型-" + "x" * 150,
)
# id, name, usable GiB, USD per hour of one (None: nobody sells it), native fp8, largest count
GPUS: tuple[tuple[str, str, float, float | None, bool, int], ...] = (
    ("t4-16gb", "NVIDIA T4 16 GB", 14.56, 0.35, False, 4),
    ("l4-24gb", "NVIDIA L4 24 GB", 22.06, 0.71, True, 8),
    ("a10g-24gb", "NVIDIA A10G 24 GB", 22.06, 1.006, False, 8),
    ("rtx4090-24gb", "GeForce RTX 4090", 23.52, 0.44, True, 4),
    ("l40s-48gb", "NVIDIA L40S 48 GB", 44.53, 1.55, True, 8),
    ("rtx6000ada-48gb", "RTX 6000 Ada 48 GB", 47.5, 1.03, True, 8),
    ("a100-sxm4-40gb", "NVIDIA A100 SXM 40 GB", 39.39, 1.29, False, 8),
    ("a100-sxm4-80gb", "NVIDIA A100 SXM 80 GB", 79.15, 1.79, False, 8),
    ("h100-sxm-80gb", "NVIDIA H100 SXM 80 GB", 79.19, 2.99, True, 8),
    ("h200-sxm-141gb", "NVIDIA H200 SXM 141 GB", 139.8, 3.8, True, 8),
    ("b200-sxm-180gb", "NVIDIA B200 SXM 180 GB", 178.3, 5.5, True, 8),
    ("mi300x-192gb", "AMD Instinct MI300X", 191.5, None, True, 8),
    ("mi325x-256gb", "AMD Instinct MI325X", 255.7, 4.6, True, 8),
    ("v100-sxm2-16gb", "NVIDIA V100 16 GB", 15.77, 0.62, False, 8),
    ("gaudi3-128gb", "Intel Gaudi 3", 125.0, 3.1, True, 8),
)
BITS = {"bf16": 16.0, "fp8": 8.0, "awq-int4-g128": 4.9, "int8": 8.1, "nf4-dq": 4.6, "fp32": 32.0}


def small(hostile: bool = False) -> tuple[Plan, pl.DataFrame]:
    """A plan of a few dozen cases; with `hostile` the names try to break every format."""
    names = [*HOSTILE[:4]] if hostile else []
    models = [*MODELS[:3], MODELS[4], *_renamed(names)]
    plan, cells = build(models=models, title=HOSTILE[0] if hostile else "")
    return explained(plan, HOSTILE[0] if hostile else "vllm"), cells


def earlier(hostile: bool = False) -> Plan:
    """What `small` may have been before: fewer models and GPU counts, other prices and limits."""
    names = [*HOSTILE[:4]] if hostile else []
    plan, _ = build(models=[*MODELS[:3], *_renamed(names)[:2]], counts=(1, 2), contexts=(8192,))
    resolved = {
        "version": 1,
        "name": HOSTILE[1] if hostile else "Support chat",
        "supply": {"gpu_counts": [1, 2]},
        "workloads": [{"name": "chat", "demand": {"requests_per_second": 2}}],
    }
    inputs = replace(plan.inputs, resolved=resolved, catalog_sha256="66aa" * 16)
    return replace(plan, inputs=inputs, planner_version="0.0.9")


def explained(plan: Plan, engine: str = "vllm") -> Plan:
    """The plan with reasons of its choices and with figures of accuracy."""
    choices = []
    for position, case in enumerate(plan.cases):
        if not case.is_bought or case.cheapest is None:
            continue
        cells = [plan.details[i].cell for i in (case.cheapest, *case.runners_up)]
        front = tuple(
            Alternative(
                label=f"{cell['gpu_count']}× {cell['gpu']} (TP{cell['gpu_count']}) from "
                f"{cell['provider']} {cell['instance_type']}, on-demand",
                usd_per_hour=cell["usd_per_hour"],
                usd_per_month=round(cell["usd_per_hour"] * 730, 2),
                latency_ms=round(90 / (place + 1), 3),
                surcharge_ratio=round(cell["usd_per_hour"] / cells[0]["usd_per_hour"] - 1, 4),
            )
            for place, cell in enumerate(cells)
        )
        near = "1× l4-24gb from aws at 0.4 USD per hour would be cheaper, but: needs 1.58x"
        flip = Flip("price", 0.2, f"{front[-1].label} wins if the choice rises by 20.0%")
        choices.append(PlanChoice(position, "memory", near, 12.5, 1, (), front, (flip,), ()))
    accuracy = (
        Accuracy("inference memory", engine, "weights", 71, 0.0003, 0.0235, 0.9577),
        Accuracy("serving speed", engine, "time to first token", 400, 0.1428, 0.7062, None),
    )
    inputs = replace(plan.inputs, accuracy=accuracy, accuracy_date="2026-10-20")
    return replace(plan, choices=tuple(choices), inputs=inputs)


def tiny() -> tuple[Plan, pl.DataFrame]:
    """A plan small enough to be read as a whole: golden files are made of it."""
    plan, cells = build(
        models=[*MODELS[:2], MODELS[4]], contexts=(8192,), sequences=(16,), counts=(1, 8)
    )
    return explained(plan), cells


def empty() -> tuple[Plan, pl.DataFrame]:
    """A plan without a single case or configuration."""
    plan, cells = tiny()
    nothing = replace(
        plan,
        cases=(),
        choices=(),
        configurations=(),
        details=(),
        matrix=dict.fromkeys(plan.matrix, ()),
        totals=Totals(0, 0, 0, 0.0, 0.0, 0.0),
    )
    return nothing, cells.clear()


def sized(cases: int, configurations: int = 60) -> tuple[Plan, pl.DataFrame]:
    """A plan of exactly that many cases and configurations."""
    lengths = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
    return build(
        models=[*MODELS, *_renamed([f"acme/assistant-{index}b" for index in range(1, 12)])],
        contexts=lengths,
        sequences=(1, 4, 16, 64),
        counts=(1, 2, 4, 8),
        limit_cases=cases,
        limit_configurations=configurations,
        buy_by_method=False,
    )


def _renamed(names: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        (name, *MODELS[index % len(MODELS)][1:6], *(p * (1 + index / 7) for p in base[6:]))
        for index, (name, base) in enumerate(zip(names, itertools.cycle(MODELS[:2])))
    ]


def build(
    models: Sequence[tuple[Any, ...]],
    contexts: Sequence[int] = (8192, 32768),
    sequences: Sequence[int] = (16, 64),
    counts: Sequence[int] = (1, 2, 4, 8),
    limit_cases: int | None = None,
    limit_configurations: int | None = None,
    title: str = "",
    buy_by_method: bool = True,
) -> tuple[Plan, pl.DataFrame]:
    """A plan and its cells table over the given models, lengths and GPU counts."""
    cases = _cases(models, contexts, sequences, limit_cases, buy_by_method)
    configurations = _configurations(counts, limit_configurations)
    cells = _estimate(_facts(models), cases, configurations)
    best = _choose(cells, cases)
    return _plan(models, cases, configurations, best, title), _cells_table(best)


def _cases(
    models: Sequence[tuple[Any, ...]],
    contexts: Sequence[int],
    sequences: Sequence[int],
    limit: int | None,
    buy_by_method: bool,
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for name, *_ in models:
        for weight_format, kv, context, load in itertools.product(
            ("bf16", "fp8", "awq-int4-g128"), ("bf16", "fp8"), contexts, sequences
        ):
            rows.append(
                {
                    "workload": "chat",
                    "model": name,
                    "method": "inference",
                    "weight_format": weight_format,
                    "kv_cache_dtype": kv,
                    "context_tokens": context,
                    "concurrent_sequences": load,
                }
            )
        for method, length, batch, checkpointing in itertools.product(
            ("full", "lora", "qlora"), contexts[:4], (1, 4), ("full", "none")
        ):
            rows.append(
                {
                    "workload": "weekly-tune",
                    "model": name,
                    "method": method,
                    "weight_format": "nf4-dq" if method == "qlora" else "bf16",
                    "optimizer": "adamw",
                    "sequence_tokens": length,
                    "micro_batch_size": batch,
                    "gradient_checkpointing": checkpointing,
                }
            )
    if limit is not None:
        step = len(rows) / limit
        rows = [rows[int(index * step)] for index in range(limit)]
    for index, row in enumerate(rows):
        axes = [f"{k}={v}" for k, v in row.items() if k not in ("workload", "model")]
        row["case"] = index
        row["case_id"] = "/".join([row["workload"], row["model"].rpartition("/")[2], *axes])
        buys = [row["workload"], row["model"]]
        row["bought_key"] = "/".join(
            buys + [row["method"]] * (buy_by_method and row["method"] != "inference")
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _configurations(counts: Sequence[int], limit: int | None) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for (gpu, name, usable, price, fp8, most), count in itertools.product(GPUS, counts):
        sold = price is not None and count <= most
        rows.append(
            {
                "gpu": gpu,
                "gpu_name": name,
                "gpu_count": count,
                "usable_gib": usable,
                "fp8": fp8,
                "price_state": "priced" if sold else "unpriced" if price is None else "no-offer",
                "usd_per_hour": round(price * count * 1.02**count, 4) if sold and price else None,
                "provider": ("lambda", "nebius", "gcp", "aws")[len(rows) % 4] if sold else None,
            }
        )
    frame = pl.DataFrame(rows[:limit], infer_schema_length=None)
    over = pl.col("usd_per_hour") > 36
    return frame.with_row_index("configuration").with_columns(
        pl.col("configuration").cast(pl.Int64),
        pl.when(over).then(pl.lit("over-limit")).otherwise("price_state").alias("price_state"),
        pl.format("{}x{}", "gpu", "gpu_count").alias("configuration_id"),
    )


def _facts(models: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    names = ("model", "layers", "hidden", "kv_heads", "head_dim", "heads", "parameters", "active")
    return pl.DataFrame(
        [dict(zip(names, row, strict=True)) for row in models], infer_schema_length=None
    )


def _estimate(
    facts: pl.DataFrame, cases: pl.DataFrame, configurations: pl.DataFrame
) -> pl.DataFrame:
    gib, training = 1 / 2**30, pl.col("method") != "inference"
    share = pl.col("gpu_count")
    weights = pl.col("parameters") * pl.col("bits") / 8 * gib / share
    trainable = (
        pl.when(pl.col("method") == "full").then(pl.col("parameters")).otherwise(40e6) / share
    )
    tokens = pl.col("sequence_tokens") * pl.col("micro_batch_size")
    saved = pl.when(pl.col("gradient_checkpointing") == "full").then(2).otherwise(28)
    kv_bytes = pl.when(pl.col("kv_cache_dtype") == "fp8").then(1).otherwise(2)
    kv_share = pl.min_horizontal(share, pl.col("kv_heads"))
    kv = (
        2.0 * pl.col("layers") * pl.col("kv_heads") * pl.col("head_dim") * kv_bytes
        * pl.col("context_tokens") * pl.col("concurrent_sequences") * gib / kv_share
    )  # fmt: skip
    adapters = pl.col("method").is_in(["lora", "qlora"])
    parts = {
        "weights_gib": weights,
        "adapter_gib": pl.when(adapters).then(40e6 * 2 * gib / share),
        "gradients_gib": pl.when(training).then(trainable * 2 * gib),
        "optimizer_gib": pl.when(training).then(trainable * 8 * gib),
        "activations_gib": pl.when(training)
        .then(tokens * pl.col("hidden") * pl.col("layers") * saved * gib)
        .otherwise(pl.col("hidden") * 8192 * 6 * gib),
        "logits_gib": pl.when(training)
        .then(tokens * 128_256 * 6 * gib)
        .otherwise(256 * 128_256 * 4 * gib),
        "kv_cache_gib": pl.when(~training).then(kv),
        "recurrent_state_gib": pl.lit(None, pl.Float64),
        "overhead_gib": 0.9 + 0.25 * pl.col("gpu_count"),
    }
    bits = pl.col("weight_format").replace_strict(BITS, return_dtype=pl.Float64)
    grid = cases.join(facts, on="model", how="left", maintain_order="left")
    grid = grid.with_columns(bits=bits).join(configurations, how="cross")
    grid = grid.with_columns(**{name: part.round(4) for name, part in parts.items()})
    unsupported = (pl.col("weight_format") == "fp8") & ~pl.col("fp8")
    impossible = pl.col("heads") % pl.col("gpu_count") != 0
    total = pl.sum_horizontal(*parts).round(4)
    grid = grid.with_columns(total_gib=total, budget_gib=(pl.col("usable_gib") * 0.95).round(4))
    grid = grid.with_columns(
        total_low_gib=(pl.col("total_gib") * 0.95).round(4),
        total_high_gib=(pl.col("total_gib") * 1.07).round(4),
        utilization=(pl.col("total_gib") / pl.col("usable_gib")).round(4),
        reason=pl.when(unsupported)
        .then(pl.format("{} has no FP8 arithmetic", "gpu_name"))
        .when(impossible)
        .then(pl.format("{} heads do not divide by {}", "heads", "gpu_count")),
    )
    verdict = (
        pl.when(unsupported)
        .then(pl.lit("unsupported"))
        .when(impossible)
        .then(pl.lit("impossible"))
        .when(pl.col("total_high_gib") <= pl.col("budget_gib"))
        .then(pl.lit("fits"))
        .when(pl.col("total_gib") <= pl.col("budget_gib"))
        .then(pl.lit("tight"))
        .otherwise(pl.lit("exceeds"))
    )
    speed = pl.col("gpu_count") * pl.col("usable_gib") * 2e9 / pl.col("active") * 8
    return grid.with_columns(
        verdict=verdict,
        usd_per_month=(pl.col("usd_per_hour") * 730).round(2),
        tokens_per_second=speed.round(1),
        max_context_tokens=pl.when(~training).then(
            ((pl.col("budget_gib") - pl.col("weights_gib")).clip(0) * 8192 // 16).cast(pl.Int64)
        ),
        max_concurrent_sequences=pl.when(~training).then(
            (pl.col("budget_gib") * 4 // (1 + pl.col("context_tokens") / 8192)).cast(pl.Int64)
        ),
    )


def _choose(cells: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    allowed = (pl.col("verdict") == "fits") & (pl.col("price_state") == "priced")
    rank = (
        pl.when(allowed)
        .then(pl.struct("usd_per_hour", "gpu_count", "configuration").rank("ordinal").over("case"))
        .otherwise(None)
    )
    ranked = cells.with_columns(rank=rank)
    ranked = ranked.with_columns(
        rank=pl.col("rank").rank("ordinal").over("case"),
    ).with_columns(is_cheapest=pl.col("rank").eq(1).fill_null(False))
    per_key = (
        ranked.filter("is_cheapest")
        .sort("usd_per_hour", "case")
        .group_by("bought_key", maintain_order=True)
        .agg(pl.col("case").first())
        .with_columns(is_bought=pl.lit(True))
    )
    without = cases.filter(~pl.col("bought_key").is_in(per_key["bought_key"].to_list()))
    without = without.group_by("bought_key", maintain_order=True).agg(pl.col("case").first())
    bought = pl.concat([per_key.select("case"), without.select("case")])
    return ranked.with_columns(is_bought=pl.col("case").is_in(bought["case"].to_list()))


def _cells_table(best: pl.DataFrame) -> pl.DataFrame:
    null = {"pipeline_parallel_size": 1, "expert_parallel_size": 1, "data_parallel_size": 1}
    missing = [name for name in CELL_COLUMNS if name not in best.columns]
    full = best.with_columns(
        tensor_parallel_size="gpu_count",
        replicas=pl.lit(1),
        engine=pl.when(pl.col("method") == "inference").then(pl.lit("vllm")),
        sharding=pl.lit("none"),
        instance_type=pl.format("{}-{}g", "provider", "gpu_count"),
        region=pl.lit("eu-west"),
        offer_gpu_count="gpu_count",
        purchase=pl.lit("on-demand"),
        price_date=pl.lit("2026-10-15"),
        peak_phase=pl.when(pl.col("method") != "inference").then(pl.lit("backward")),
    ).with_columns(
        pl.lit(null.get(name)).alias(name)
        for name in missing
        if name not in ("tensor_parallel_size", "replicas", "engine", "sharding")
        and name not in ("instance_type", "region", "offer_gpu_count", "purchase", "price_date")
        and name != "peak_phase"
    )
    return full.select(*CELL_COLUMNS, "max_context_tokens", "max_concurrent_sequences")


def _ledger(cell: Mapping[str, Any]) -> tuple[LedgerLine, ...]:
    lines = []
    for component in COMPONENTS:
        size = cell[f"{component}_gib"]
        if size is None:
            continue
        items = ("cuda_context", "communication") if component == "overhead" else (component,)
        for item in items:
            part = size / len(items)
            lines.append(
                LedgerLine(
                    item=item,
                    component=component,
                    low_gib=round(part * 0.95, 4),
                    expected_gib=round(part, 4),
                    high_gib=round(part * 1.07, 4),
                    formula="{parameters} * {bits_per_parameter} / 8 / {tensor_parallel_size}",
                    substituted=f"8,030,261,248 * 16 / 8 / {cell['gpu_count']}",
                    source="config.json of the model; format table",
                )
            )
    return tuple(lines)


def _details(
    cases: pl.DataFrame, best: pl.DataFrame, keep: int = 3
) -> tuple[list[CellDetail], dict[int, list[int]]]:
    ranked = best.filter(pl.col("rank") <= keep).sort("case", "rank")
    table = _cells_table(ranked).to_dicts()
    details: list[CellDetail] = []
    per_case: dict[int, list[int]] = {}
    for case, cell in zip(ranked["case"], table, strict=True):
        first = per_case.setdefault(case, [])
        price = details[first[0]].cell["usd_per_hour"] if first else None
        surcharge = round(cell["usd_per_hour"] / price - 1, 4) if price else None
        first.append(len(details))
        details.append(CellDetail(cell=cell, ledger=_ledger(cell), surcharge_ratio=surcharge))
    return details, per_case


def _outcome(rows: pl.DataFrame) -> str:
    if (rows["verdict"] == "fits").any():
        states = set(rows.filter(pl.col("verdict") == "fits")["price_state"])
        return "over-limit" if "over-limit" in states else "no-price"
    return "nothing-fits"


def _plan_cases(
    cases: pl.DataFrame, best: pl.DataFrame, per_case: Mapping[int, list[int]]
) -> tuple[PlanCase, ...]:
    bought = set(best.filter("is_bought")["case"].to_list())
    rest = {
        key[0]: _outcome(rows)
        for key, rows in best.filter(~pl.col("case").is_in(list(per_case))).group_by("case")
    }
    found = []
    head = {"case", "case_id", "workload", "model", "method", "bought_key"}
    for row in cases.to_dicts():
        indices = per_case.get(row["case"], [])
        outcome = "chosen" if indices else rest[row["case"]]
        found.append(
            PlanCase(
                case_id=row["case_id"],
                workload=row["workload"],
                model=row["model"],
                method=row["method"],
                values={k: v for k, v in row.items() if k not in head and v is not None},
                bought_key=row["bought_key"],
                is_bought=row["case"] in bought,
                outcome=outcome,
                sentence="The cheapest of all that fit."
                if indices
                else f"{outcome}: the smallest shortfall is on the largest card.",
                cheapest=indices[0] if indices else None,
                runners_up=tuple(indices[1:]),
            )
        )
    return tuple(found)


def _matrix(best: pl.DataFrame, reasons: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    index = {reason: position for position, reason in enumerate(reasons)}
    columns: dict[str, pl.Series] = {
        "case": best["case"],
        "configuration": best["configuration"],
        "verdict": best["verdict"],
        "price_state": best["price_state"],
        "reason": best["reason"].replace_strict(index, default=None, return_dtype=pl.Int64),
        "advice": best.select(
            advice=pl.when(pl.col("verdict") == "exceeds").then(pl.lit(0, pl.Int64))
        )["advice"],
        "layout": best.select(pl.format("TP {}", "gpu_count").alias("layout"))["layout"],
        **{name: best[name] for name in MATRIX_NUMBERS},
        "offer": best.select(
            pl.format("{} {}-{}g, eu-west", "provider", "provider", "gpu_count").alias("offer")
        )["offer"],
        "replicas": pl.Series("replicas", [1] * best.height),
        "tokens_per_second": best["tokens_per_second"],
        "time_to_first_token_ms": pl.Series([None] * best.height, dtype=pl.Float64),
        "time_per_output_token_ms": (1000 / best["tokens_per_second"]).round(2),
        "max_context_tokens": best["max_context_tokens"],
        "max_concurrent_sequences": best["max_concurrent_sequences"],
        "is_cheapest": best["is_cheapest"],
    }
    return {name: tuple(series.to_list()) for name, series in columns.items()}


def _workloads(cases: pl.DataFrame) -> tuple[PlanWorkload, ...]:
    found = []
    axes = ("model", "weight_format", "kv_cache_dtype", "context_tokens", "concurrent_sequences")
    tune = ("model", "method", "sequence_tokens", "micro_batch_size", "gradient_checkpointing")
    for name, order in (("chat", axes), ("weekly-tune", tune)):
        rows = cases.filter(pl.col("workload") == name)
        if rows.is_empty():
            continue
        values = {axis: tuple(rows[axis].unique(maintain_order=True)) for axis in order}
        found.append(
            PlanWorkload(
                name=name,
                tags=("prod",),
                methods=tuple(rows["method"].unique(maintain_order=True)),
                for_each=("model",) if name == "chat" else ("model", "method"),
                axes=values,
                fixed={"engine": "vllm"} if name == "chat" else {"optimizer": "adamw"},
            )
        )
    return tuple(found)


def _totals(cases: Sequence[PlanCase], details: Sequence[CellDetail]) -> Totals:
    bought = [case for case in cases if case.is_bought]
    hourly = [details[c.cheapest].cell["usd_per_hour"] for c in bought if c.cheapest is not None]
    return Totals(
        bought=len(hourly),
        incomplete=len(bought) - len(hourly),
        hourly_only=0,
        usd_per_hour=round(sum(hourly), 4),
        usd_per_month=round(sum(hourly) * 730, 2),
        usd_per_year=round(sum(hourly) * 8760, 2),
    )


def _plan(
    models: Sequence[tuple[Any, ...]],
    cases: pl.DataFrame,
    configurations: pl.DataFrame,
    best: pl.DataFrame,
    title: str,
) -> Plan:
    reasons = tuple(best["reason"].drop_nulls().unique(maintain_order=True).to_list())
    details, per_case = _details(cases, best)
    plan_cases = _plan_cases(cases, best, per_case)
    totals = _totals(plan_cases, details)
    answered = totals.bought
    return Plan(
        schema_version=SCHEMA_VERSION,
        planner_version="0.1.0",
        scenario=PlanScenario(
            stem="support-chat",
            title=title or "Support chat and its weekly fine-tune",
            description="Serving at peak load, and one adapter run a week.",
            file="scenarios/support-chat.yaml",
            tags=("prod", "support"),
            estimator="architecture",
            currency="USD",
            hours_per_month=730.0,
            as_of="2026-11-01",
            constraints={"memory_headroom": 0.05, "allow_tight": False, "max_usd_per_hour": 36},
        ),
        inputs=Inputs(
            scenario_sha256="9c41" * 16,
            catalog_sha256="77ab" * 16,
            resolved={"version": 1, "name": title or "Support chat and its weekly fine-tune"},
            models=tuple(
                PlanModel(
                    model=row[0],
                    parameters=int(row[6]),
                    active_parameters=int(row[7]),
                    source="catalog, revision 0e9e39f",
                    assumptions=("no multi-token prediction head",) if row[1] == 61 else (),
                )
                for row in models
            ),
            oldest_price_date="2026-09-28",
            newest_price_date="2026-10-15",
            undated_offers=1,
            stale_offers=0,
            command="planner report scenarios/support-chat.yaml --output reports",
        ),
        workloads=_workloads(cases),
        cases=plan_cases,
        configurations=tuple(
            PlanConfiguration(
                configuration_id=row["configuration_id"],
                label=f"{row['gpu_count']}x {row['gpu_name'].removeprefix('NVIDIA ')}",
                gpu=row["gpu"],
                gpu_name=row["gpu_name"],
                gpu_count=row["gpu_count"],
                usable_gib=row["usable_gib"],
                usd_per_hour=row["usd_per_hour"],
                offer=f"{row['provider']}, eu-west, on-demand" if row["provider"] else "",
            )
            for row in configurations.to_dicts()
        ),
        matrix=_matrix(best, reasons),
        reasons=reasons,
        advice=("fits with 2,048 tokens of context at this concurrency",),
        details=tuple(details),
        budgets=(
            BudgetState("ceiling", "all", 6000.0, totals.usd_per_month, "error", "broken"),
            BudgetState("chat", "workload chat", 90000.0, totals.usd_per_month, "warn", "kept"),
        ),
        totals=totals,
        headline=f"{answered} of {totals.bought} purchases have a configuration that fits; "
        f"together they cost ${totals.usd_per_month:,.0f} a month.",
        cells_total=best.height,
        offers_left_out=("8x MI300X: no provider in the list has a price for it",),
        notes=("Prices are list prices without tax.",),
    )
