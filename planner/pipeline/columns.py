"""The columns of cells.csv, and cells in them: sizes in GiB, rounded."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.plan import COMPONENTS, Plan
from planner.units import BYTES_PER_GIB

GIB_DIGITS: Final = 4
FIRST_COLUMNS: Final = (
    "case_id", "workload", "model", "method", "engine", "weight_format", "kv_cache_dtype",
    "context_tokens", "concurrent_sequences", "optimizer", "sequence_tokens", "micro_batch_size",
    "gradient_checkpointing", "gpu", "gpu_count", "tensor_parallel_size",
    "pipeline_parallel_size", "expert_parallel_size", "data_parallel_size", "sharding",
    "replicas", "weights_gib", "adapter_gib", "gradients_gib", "optimizer_gib",
    "activations_gib", "logits_gib", "kv_cache_gib", "recurrent_state_gib", "overhead_gib",
    "peak_phase", "total_low_gib", "total_gib", "total_high_gib", "usable_gib", "utilization",
    "verdict", "reason", "price_state", "provider", "region", "instance_type",
    "offer_gpu_count", "purchase", "price_date", "usd_per_hour", "usd_per_month",
    "tokens_per_second", "time_to_first_token_ms", "time_per_output_token_ms",
    "usd_per_million_tokens", "is_cheapest", "is_bought",
)  # fmt: skip
MORE_COLUMNS: Final = (
    "budget_gib", "max_context_tokens", "max_concurrent_sequences", "kv_cache_tokens_capacity",
    "engine_version", "framework", "gradient_accumulation_steps", "attention", "loss_kernel",
    "packing", "torch_compile", "compute_dtype", "optimizer_state_dtype",
    "master_weights_dtype", "gradient_dtype", "adapter_dtype", "offload", "lora_rank",
    "lora_targets", "gpu_layers", "context_parallel_size", "nodes", "instances",
    "relative_speed", "note",
    "usd_per_year", "usd_per_million_input_tokens", "usd_per_million_output_tokens",
    "price_age_days", "host_ram_gb", "replica_utilization", "is_tied", "is_pareto",
    "offer_vcpus", "offer_ram_gb",
)  # fmt: skip
CELL_COLUMNS: Final = (*FIRST_COLUMNS, *MORE_COLUMNS)


_DIGITS: Final = {
    "utilization": 4,
    "usd_per_hour": 4,
    "usd_per_month": 2,
    "usd_per_year": 2,
    "usd_per_million_tokens": 4,
    "usd_per_million_input_tokens": 4,
    "usd_per_million_output_tokens": 4,
    "host_ram_gb": 1,
    "replica_utilization": 4,
    "tokens_per_second": 1,
    "time_to_first_token_ms": 1,
    "time_per_output_token_ms": 2,
}
_COUNTS: Final = ("max_context_tokens", "max_concurrent_sequences", "kv_cache_tokens_capacity")


def cells_table(cells: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Every cell with the columns of cells.csv, sizes in GiB, rounded."""
    bought = [case.case_id for case in plan.cases if case.is_bought]
    is_bought = pl.col("is_cheapest") & pl.col("case_id").is_in(bought)
    return rounded(in_gib(cells)).with_columns(is_bought=is_bought).select(CELL_COLUMNS)


def rounded(cells: pl.DataFrame) -> pl.DataFrame:
    """Money, shares and speeds with the digits that mean something; capacities as whole numbers."""
    return cells.with_columns(
        *(pl.col(name).cast(pl.Float64).round(digits) for name, digits in _DIGITS.items()),
        *(
            pl.col(name).cast(pl.Float64).clip(lower_bound=0).floor().cast(pl.Int64)
            for name in _COUNTS
        ),
    )


def with_missing(cells: pl.DataFrame) -> pl.DataFrame:
    """Columns that no estimator of this scenario made, as nulls."""
    have = set(cells.columns)
    made = {f"{component}_gib" for component in COMPONENTS} | {
        "total_low_gib", "total_gib", "total_high_gib", "usable_gib", "budget_gib", "is_bought",
    }  # fmt: skip
    wanted = [name for name in CELL_COLUMNS if name not in have and name not in made]
    return cells.with_columns(pl.lit(None, pl.Float64).alias(name) for name in wanted)


def in_gib(cells: pl.DataFrame) -> pl.DataFrame:
    """Add the components, totals, budget and usable memory in GiB; empty without an estimate."""
    sized = pl.col("verdict").is_in(["fits", "tight", "exceeds"])
    totals = {
        "total_low_gib": "total_low_bytes",
        "total_gib": "total_bytes",
        "total_high_gib": "total_high_bytes",
        "budget_gib": "budget_bytes",
    }

    def gib(value: pl.Expr) -> pl.Expr:
        return pl.when(sized).then((value / BYTES_PER_GIB).round(GIB_DIGITS))

    return cells.with_columns(
        *(gib(pl.col(f"{name}_part_bytes")).alias(f"{name}_gib") for name in COMPONENTS),
        *(gib(pl.col(column)).alias(name) for name, column in totals.items()),
        (pl.col("usable_bytes") / BYTES_PER_GIB).round(2).alias("usable_gib"),
        pl.when(sized).then(pl.col("utilization")).alias("utilization"),
    )
