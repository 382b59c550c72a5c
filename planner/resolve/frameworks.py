"""Training presets and optimizers from the catalog, as the tables that the estimator reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from planner.catalog.load import catalog_rows

OPTIMIZER_SCHEMA: Final[dict[str, Any]] = {
    "optimizer": pl.String,
    "full_states": pl.Float64,
    "state_bytes": pl.Float64,
    "state_block": pl.Float64,
    "factored": pl.Boolean,
    "low_rank": pl.Float64,
    "paged": pl.Boolean,
    "step_copies": pl.Float64,
    "step_per_tensor": pl.Boolean,
    "master_bytes": pl.Float64,
    "aliases": pl.List(pl.String),
    "source": pl.String,
}
FRAMEWORK_SCHEMA: Final[dict[str, Any]] = {
    "framework": pl.String,
    "title": pl.String,
    "compute_dtype": pl.String,
    "autocast": pl.Boolean,
    "optimizer": pl.String,
    "optimizer_implementation": pl.String,
    "adapter_dtype": pl.String,
    "kbit_upcast": pl.Boolean,
    "gradient_checkpointing": pl.String,
    "attention": pl.String,
    "loss_kernel": pl.String,
    "offload": pl.String,
    "packing": pl.Boolean,
    "torch_compile": pl.Boolean,
    "lora_dropout": pl.Float64,
    "micro_batch_size": pl.Int64,
    "gradient_accumulation_steps": pl.Int64,
    "logits_fp32_copies": pl.Float64,
    "logits_backward_copies": pl.Float64,
    "transformers_version": pl.Float64,
    "holds_logits": pl.Boolean,
    "loss_chunk_tokens": pl.Int64,
    "chunk_saved_bytes": pl.Float64,
    "sequence_parallel": pl.Boolean,
    "bucket_bytes": pl.Float64,
    "prefetched_layers": pl.Float64,
    "fsdp_root_holds_embeddings": pl.Boolean,
    "fsdp_fp32_master": pl.Boolean,
    "kernel_temporaries": pl.Boolean,
    "varying_lengths": pl.Boolean,
    "own_model_code": pl.Boolean,
    "kbit_saved_hidden_bytes": pl.Float64,
    "keeps_frozen_inputs": pl.Boolean,
    "fsdp_reserve_mib": pl.Float64,
    "context_mib": pl.Float64,
    "context_mib_low": pl.Float64,
    "context_mib_high": pl.Float64,
    "nccl_mib": pl.Float64,
    "nccl_mib_high": pl.Float64,
    "gemm_workspaces": pl.Float64,
    "activations_spread": pl.Float64,
    "mfu_low": pl.Float64,
    "mfu": pl.Float64,
    "mfu_high": pl.Float64,
    "kbit_speed": pl.Float64,
    "source": pl.String,
}
_OPTIMIZER_DEFAULTS: Final[dict[str, Any]] = {
    "state_block": 0,
    "factored": False,
    "step_per_tensor": False,
    "low_rank": 0,
    "paged": False,
    "master_bytes": 0,
    "aliases": [],
}


def optimizers_frame(entries: Iterable[Mapping[str, Any]] | None = None) -> pl.DataFrame:
    """One row an optimizer of the catalog, or of the given entries (OPTIMIZER_SCHEMA)."""
    listed = catalog_rows("optimizers") if entries is None else entries
    rows = [{**_OPTIMIZER_DEFAULTS, **entry, "optimizer": entry["id"]} for entry in listed]
    return _frame(rows, OPTIMIZER_SCHEMA)


def frameworks_frame(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> pl.DataFrame:
    """One row a preset (FRAMEWORK_SCHEMA), with the user's `overrides` by preset laid over it."""
    resolved: dict[str, dict[str, Any]] = {}
    for entry in catalog_rows("frameworks"):
        base = resolved.get(str(entry.get("like", "")), {})
        resolved[entry["id"]] = {**base, **entry, "framework": entry["id"]}
    for name, changes in (overrides or {}).items():
        resolved[name] = {**resolved[name], **changes}
    return _frame(list(resolved.values()), FRAMEWORK_SCHEMA).with_columns(_allocator_columns())


def _allocator_columns() -> list[pl.Expr]:
    """Shares of the allocator's cache as `reserve_<class>_<part>`, the same for every preset."""
    return [
        pl.lit(float(row[part])).alias(f"reserve_{row['id']}_{part}")
        for row in catalog_rows("training_allocator")
        for part in ("loss", "layer", "saved", "high")
    ]


def _frame(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    picked = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(picked, schema=dict(schema), orient="row", strict=False)
