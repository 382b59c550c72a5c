"""Axes become cases and supply becomes configurations; the grid is their product.

Pure: a Scenario and small tables in, frames out. Cases hold one row a point of the demand grid
with the columns of CASE_SCHEMA; configurations one row a GPU, count and parallel layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.layouts import (
    CONFIGURATION_SCHEMA,
    DEFAULT_GPUS_PER_NODE,
    serving_configurations,
    training_configurations,
)
from planner.scenario.axes import AXES, DEFAULT_WEIGHT_FORMAT, slug
from planner.scenario.model import Scenario, Supply, Value, Workload

_AXIS_TYPES: Final[dict[str, Any]] = {
    "method": pl.String,
    "weight_format": pl.String,
    "kv_cache_dtype": pl.String,
    "context_tokens": pl.Int64,
    "concurrent_sequences": pl.Int64,
    "max_num_seqs": pl.Int64,
    "max_num_batched_tokens": pl.Int64,
    "optimizer": pl.String,
    "sequence_tokens": pl.Int64,
    "micro_batch_size": pl.Int64,
    "gradient_accumulation_steps": pl.Int64,
    "gradient_checkpointing": pl.String,
    "attention": pl.String,
    "loss_kernel": pl.String,
    "packing": pl.Boolean,
    "torch_compile": pl.Boolean,
    "lora_rank": pl.Int64,
    "compute_dtype": pl.String,
    "optimizer_state_dtype": pl.String,
    "master_weights_dtype": pl.String,
    "gradient_dtype": pl.String,
    "adapter_dtype": pl.String,
    "optimizer_in_backward": pl.Boolean,
    "offload": pl.String,
}
_SERVING_SETTINGS: Final[dict[str, Any]] = {
    "engine": pl.String,
    "engine_version": pl.String,
    "gpu_memory_utilization": pl.Float64,
    "enforce_eager": pl.Boolean,
    "block_size": pl.Int64,
    "prefix_cache_share": pl.Float64,
    "cpu_offload_gib": pl.Float64,
    "lora_adapters": pl.Int64,
    "gpu_layers": pl.Int64,
    "draft_model": pl.String,
    "speculative_tokens": pl.Int64,
    "speculative_acceptance": pl.Float64,
    "images_per_prompt": pl.Int64,
    "videos_per_prompt": pl.Int64,
    "requests_per_second": pl.Float64,
    "concurrent_users": pl.Float64,
    "seconds_between_requests": pl.Float64,
    "peak_factor": pl.Float64,
    "target_utilisation": pl.Float64,
    "input_tokens_mean": pl.Float64,
    "input_tokens_p95": pl.Float64,
    "output_tokens_mean": pl.Float64,
    "output_tokens_p95": pl.Float64,
    "objective_time_to_first_token_ms": pl.Float64,
    "objective_time_per_output_token_ms": pl.Float64,
    "objective_end_to_end_ms": pl.Float64,
}
_TRAINING_SETTINGS: Final[dict[str, Any]] = {
    "framework": pl.String,
    "framework_version": pl.String,
    "kbit_upcast": pl.Boolean,
    "lora_targets": pl.String,
    "lora_dropout": pl.Float64,
    "training_tokens": pl.Float64,
    "epochs": pl.Float64,
    "runs_per_month": pl.Float64,
}
CASE_SCHEMA: Final[dict[str, Any]] = {
    "case_index": pl.Int64,
    "case_id": pl.String,
    "workload": pl.String,
    "model": pl.String,
    **_AXIS_TYPES,
    **_SERVING_SETTINGS,
    **_TRAINING_SETTINGS,
    "bought_key": pl.String,
}


def model_slugs(models: Iterable[str]) -> dict[str, str]:
    """The shortest readable slug of each model that is unique among them."""
    names = list(dict.fromkeys(models))
    short = {name: slug(name.rpartition("/")[2]) for name in names}
    taken = list(short.values())
    return {name: short[name] if taken.count(short[name]) == 1 else slug(name) for name in names}


def cases_frame(scenario: Scenario) -> pl.DataFrame:
    """Every case of every workload in declared order (CASE_SCHEMA)."""
    slugs = model_slugs(model.model for w in scenario.workloads for model in w.models)
    parts = [_workload_cases(workload, slugs) for workload in scenario.workloads]
    cases = pl.concat(parts, how="vertical") if parts else pl.DataFrame(schema=CASE_SCHEMA)
    return cases.with_columns(
        case_index=pl.int_range(pl.len(), dtype=pl.Int64),
    ).select(list(CASE_SCHEMA))


def _axis_order(workload: Workload) -> list[str]:
    """Varying axes: those of the matrix in declared order, then those that only includes set."""
    extra = [axis for entry in workload.include for axis in entry if axis != "model"]
    return list(dict.fromkeys([*workload.matrix, *extra]))


def _workload_cases(workload: Workload, slugs: Mapping[str, str]) -> pl.DataFrame:
    order = _axis_order(workload)
    main = _products(workload, order, {})
    for entry in workload.exclude:
        matches = [pl.col(axis).eq_missing(pl.lit(value)) for axis, value in entry.items()]
        main = main.filter(~pl.all_horizontal(matches))
    frames = [main, *(_products(workload, order, entry) for entry in workload.include)]
    cases = pl.concat(frames, how="vertical")
    return (
        cases.with_columns(_settings(workload, pl.col("method") == "inference"))
        .with_columns(_case_id(workload, order, slugs), _bought_key(workload))
        .unique("case_id", keep="first", maintain_order=True)
        .with_columns(
            pl.lit(workload.name).alias("workload"), pl.lit(0, pl.Int64).alias("case_index")
        )
        .select(pl.col(name).cast(dtype) for name, dtype in CASE_SCHEMA.items())
    )


def _products(
    workload: Workload, order: Sequence[str], chosen: Mapping[str, Value]
) -> pl.DataFrame:
    """The product of all axes, in declared order, with the axes in `chosen` set."""
    methods = [str(chosen["method"])] if "method" in chosen else list(workload.methods)
    parts = []
    for position, method in enumerate(methods):
        models = [m.model for m in workload.models if chosen.get("model", m.model) == m.model]
        frame = pl.DataFrame({"model": models}, schema={"model": pl.String})
        frame = frame.with_row_index("_model")
        for axis, dtype in _AXIS_TYPES.items():
            values = _axis_values(workload, axis, method, chosen)
            column = pl.DataFrame({axis: values}, schema={axis: dtype}, strict=False)
            if axis in order and axis != "method":
                column = column.with_row_index(f"_{axis}")
            frame = frame.join(column, how="cross")
        if "method" in order:
            frame = frame.with_columns(pl.lit(position, pl.UInt32).alias("_method"))
        parts.append(frame)
    ranks = ["_model", *(f"_{axis}" for axis in order)]
    return pl.concat(parts, how="vertical").sort(ranks, maintain_order=True).drop(ranks)


def _axis_values(
    workload: Workload, axis: str, method: str, chosen: Mapping[str, Value]
) -> list[Value | None]:
    if axis == "method":
        return [method]
    if method not in AXES[axis].methods:
        return [None]
    if axis in chosen:
        return [chosen[axis]]
    if axis in workload.matrix:
        return list(workload.matrix[axis])
    if axis in workload.fixed:
        return [workload.fixed[axis]]
    if axis == "weight_format":
        return [DEFAULT_WEIGHT_FORMAT[method]]
    return [None]


def _settings(workload: Workload, serves: pl.Expr) -> list[pl.Expr]:
    """What is fixed for the whole workload, in the cases it applies to."""
    engine, demand, objectives = workload.engine, workload.demand, workload.objectives
    serving: dict[str, Any] = {
        "engine": engine.name,
        "engine_version": engine.version,
        "gpu_memory_utilization": engine.gpu_memory_utilization,
        "enforce_eager": engine.enforce_eager,
        "block_size": engine.block_size,
        "prefix_cache_share": engine.prefix_cache_share,
        "cpu_offload_gib": engine.cpu_offload_gib,
        "lora_adapters": engine.lora_adapters,
        "gpu_layers": engine.gpu_layers,
        "draft_model": engine.draft_model,
        "speculative_tokens": engine.speculative_tokens,
        "speculative_acceptance": engine.speculative_acceptance,
        "images_per_prompt": engine.images_per_prompt,
        "videos_per_prompt": engine.videos_per_prompt,
        "objective_time_to_first_token_ms": objectives.time_to_first_token_ms,
        "objective_time_per_output_token_ms": objectives.time_per_output_token_ms,
        "objective_end_to_end_ms": objectives.end_to_end_ms,
    }
    training: dict[str, Any] = {
        "framework": workload.framework,
        "framework_version": None,
        "kbit_upcast": None,
        "training_tokens": demand.training_tokens if demand else None,
        "epochs": demand.epochs if demand else None,
        "runs_per_month": demand.runs_per_month if demand else None,
    }
    for name in _SERVING_SETTINGS.keys() - serving.keys():
        serving[name] = getattr(demand, name) if demand else None
    adapters = {"lora_targets": workload.lora.targets, "lora_dropout": workload.lora.dropout}
    adapts = pl.col("method").is_in(["lora", "dora", "qlora"])
    types = {**_SERVING_SETTINGS, **_TRAINING_SETTINGS}
    rules = ((serves, serving), (~serves, training), (adapts, adapters))
    columns = [
        pl.when(applies).then(pl.lit(value, types[name])).otherwise(None).alias(name)
        for applies, values in rules
        for name, value in values.items()
    ]
    if engine.lora_rank is not None:
        rank = pl.when(serves).then(engine.lora_rank).otherwise(pl.col("lora_rank"))
        columns.append(rank.cast(pl.Int64).alias("lora_rank"))
    return columns


def _case_id(workload: Workload, order: Sequence[str], slugs: Mapping[str, str]) -> pl.Expr:
    parts = [
        pl.lit(slug(workload.name)),
        pl.col("model").replace_strict(slugs, return_dtype=pl.String),
    ]
    parts += [
        pl.when(pl.col(axis).is_not_null()).then(
            pl.format(f"{axis}={{}}", pl.col(axis).cast(pl.String))
        )
        for axis in order
    ]
    return pl.concat_str(parts, separator="/", ignore_nulls=True).alias("case_id")


def _bought_key(workload: Workload) -> pl.Expr:
    """Cases with the same key are alternatives of which one is bought."""
    parts = [
        pl.lit(slug(workload.name)),
        *(pl.col(axis).cast(pl.String) for axis in workload.for_each),
    ]
    return pl.concat_str(parts, separator="/", ignore_nulls=True).alias("bought_key")


def grid_size(scenario: Scenario, gpus_total: int) -> tuple[int, str]:
    """Cells before anything is expanded, and the sizes by axis in words.

    Counts every combination of axes (before excludes) times GPU x count x layout.
    """
    total = 0
    words = []
    gpus = gpus_total if scenario.supply.gpus == ("all",) else len(scenario.supply.gpus)
    for workload in scenario.workloads:
        cells = 0
        for method in workload.methods:
            cases = len(workload.models)
            for axis, values in workload.matrix.items():
                if axis != "method" and method in AXES[axis].methods:
                    cases *= len(values)
            cells += cases * gpus * _layouts_count(scenario.supply, method)
        total += cells
        sizes = ", ".join(f"{axis} {len(values)}" for axis, values in workload.matrix.items())
        words.append(
            f"workload '{workload.name}': {cells:,} cells = models {len(workload.models)}"
            f"{', ' if sizes else ''}{sizes}, GPUs {gpus}, counts {len(scenario.supply.gpu_counts)}"
        )
    return total, "; ".join(words)


def _layouts_count(supply: Supply, method: str) -> int:
    one_gpu = pl.DataFrame(
        {"gpu": ["any"], "max_gpus_per_node": [None]},
        schema={"gpu": pl.String, "max_gpus_per_node": pl.Int64},
    )
    alone = Supply(**{**{f: getattr(supply, f) for f in Supply.__slots__}, "gpus": ("any",)})
    make = serving_configurations if method == "inference" else training_configurations
    return make(alone, one_gpu).height


__all__ = [
    "CASE_SCHEMA",
    "CONFIGURATION_SCHEMA",
    "DEFAULT_GPUS_PER_NODE",
    "cases_frame",
    "grid_size",
    "model_slugs",
    "serving_configurations",
    "slug",
    "training_configurations",
]
