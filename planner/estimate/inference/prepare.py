"""Cells with everything the inference formulas read: facts of the model, card and engine.

Facts are computed on the distinct models, formats and layouts in the cells, then joined; what a run
left to the engine is settled with them (`settings`).
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from planner.estimate.inference.draft import with_draft
from planner.estimate.inference.model_facts import (
    format_columns,
    format_facts,
    gpu_facts,
    model_facts,
    stored_facts,
)
from planner.estimate.inference.runner import uses_second_runner
from planner.estimate.inference.settings import settle
from planner.estimate.inference.workers import worker
from planner.estimate.kv_cache import cache_by_rank
from planner.estimate.weights import SPLIT_EVEN, SPLIT_WITH_OUTPUT, weights_by_rank
from planner.resolve.engine_families import with_families
from planner.resolve.tables import Tables

INPUTS: Final[dict[str, Any]] = {
    "model": pl.String,
    "weight_format": pl.String,
    "engine": pl.String,
    "engine_version": pl.String,
    "kv_cache_dtype": pl.String,
    "context_tokens": pl.Int64,
    "concurrent_sequences": pl.Int64,
    "max_num_seqs": pl.Int64,
    "max_num_batched_tokens": pl.Int64,
    "gpu_memory_utilization": pl.Float64,
    "enforce_eager": pl.Boolean,
    "block_size": pl.Int64,
    "prefix_cache_share": pl.Float64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "lora_adapters": pl.Int64,
    "lora_rank": pl.Int64,
    "cpu_offload_gib": pl.Float64,
    "gpu_layers": pl.Int64,
    "has_host_weights": pl.Boolean,
    "draft_model": pl.String,
    "speculative_tokens": pl.Int64,
    "images_per_prompt": pl.Int64,
    "videos_per_prompt": pl.Int64,
    "attention": pl.String,
    "gpu": pl.String,
    "gpu_count": pl.Int64,
    "usable_low_bytes": pl.Float64,
    "usable_bytes": pl.Float64,
    "usable_high_bytes": pl.Float64,
    "memory_headroom": pl.Float64,
    "tensor_parallel_size": pl.Int64,
    "pipeline_parallel_size": pl.Int64,
    "data_parallel_size": pl.Int64,
    "expert_parallel_size": pl.Int64,
}
"""Columns the estimator reads; those a frame lacks count as null."""

_PARALLEL: Final = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "expert_parallel_size",
)

_FACT_KEYS: Final = (
    "model",
    "weight_format",
    "engine",
    "engine_version",
    "gpu",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "draft_model",
    "kv_cache_dtype",
    "has_adapters",
    "has_cpu_offload",
    "has_drafting",
)


def facts_of(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """What is known about each combination of model, format, engine, GPU and layout in cells.

    Gathered at once: what is built on cells with hundreds of columns is then planned on a table,
    not on all the joins behind it.
    """
    keys = _inputs(cells).select(_FACT_KEYS).unique()
    return _facts(_now(keys), tables)


def with_facts(cells: pl.LazyFrame, facts: pl.LazyFrame) -> pl.LazyFrame:
    """Cells with inputs completed and the facts of facts_of; one row a cell, in order."""
    keys = list(_FACT_KEYS)
    return settle(
        _inputs(cells).join(facts, on=keys, how="left", nulls_equal=True, maintain_order="left")
    )


def _inputs(cells: pl.LazyFrame) -> pl.LazyFrame:
    have = cells.collect_schema().names()
    missing = [pl.lit(None, dtype=kind).alias(n) for n, kind in INPUTS.items() if n not in have]
    typed = [pl.col(n).cast(kind) for n, kind in INPUTS.items() if n in have]
    return cells.with_columns(*typed, *missing).with_columns(
        *(pl.col(name).fill_null(1) for name in _PARALLEL),
        (pl.col("lora_adapters") > 0).fill_null(False).alias("has_adapters"),
        (pl.col("cpu_offload_gib") > 0).fill_null(False).alias("has_cpu_offload"),
        (pl.col("speculative_tokens") > 0).fill_null(False).alias("has_drafting"),
    )


def _facts(keys: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Everything known about each combination of _FACT_KEYS, one row a combination.

    Step by step: planning joins of hundreds of columns at once takes longer than doing them.
    """
    of_run = ["engine", "engine_version"]
    constants = tables.engines.drop("by_model_type", "fallback_reasons")
    reasons = tables.engines.filter(pl.col("worker") == "").select(*of_run, "fallback_reasons")
    known = (
        keys.join(model_facts(tables), on="model", how="left")
        .join(gpu_facts(tables), on="gpu", how="left")
        .join(stored_facts(tables), on="model", how="left")
        .join(format_facts(tables), on="weight_format", how="left")
        .with_columns(*format_columns())
        .join(reasons, on=of_run, how="left", nulls_equal=True)
        .with_columns(worker())
        .drop("fallback_reasons")
    )
    by_worker = _now(known).join(constants, on=[*of_run, "worker"], how="left", nulls_equal=True)
    profiled = _now(
        with_families(_now(by_worker), tables.engines)
        .with_columns(*_derived_keys(), uses_second_runner(), _runs_format())
        .drop("weight_families")
    )
    weights = weights_by_rank(tables, profiled.select(_WEIGHT_KEYS).unique().rename(_HELD))
    cache = cache_by_rank(tables, profiled.select(_CACHE_KEYS).unique())
    back = {new: old for old, new in _HELD.items()}
    held = profiled.join(weights.rename({**back, **_RANK}), on=list(_WEIGHT_KEYS), how="left")
    cached = _now(held).join(cache, on=list(_CACHE_KEYS), how="left")
    return _now(with_draft(_now(cached), tables))


def _now(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.collect(engine="in-memory").lazy()


_WEIGHT_KEYS: Final = (
    "model",
    "held_format",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "vocab_padding",
    "expert_padding",
    "is_fused",
    "has_single_experts",
    "layer_split",
    "leaves_embedding",
)
_HELD: Final = {"held_format": "weight_format"}
_RANK: Final = {"weights_bytes": "rank_weights_bytes"}
_CACHE_KEYS: Final = ("model", "tensor_parallel_size", "pipeline_parallel_size", "layer_split")


def _runs_format() -> pl.Expr:
    """Whether the engine runs weights of this family, as `runs_format`; true where none is told."""
    named = pl.col("weight_families").list.contains(pl.col("weight_family"))
    unknown = pl.col("weight_families").is_null() | pl.col("weight_family").is_null()
    return (unknown | named).fill_null(True).alias("runs_format")


def _derived_keys() -> list[pl.Expr]:
    split = pl.when(pl.col("split_counts_output") > 0)
    doubles = (pl.col("weight_format") == "nf4") & (pl.col("nf4_double_quantises") > 0)
    return [
        pl.when(doubles).then(pl.lit("nf4-dq")).otherwise("weight_format").alias("held_format"),
        pl.max_horizontal(pl.col("mxfp4_expert_padding").fill_null(1), 1)
        .cast(pl.Int64)
        .alias("expert_padding"),
        pl.col("vocab_padding_rows").fill_null(1).cast(pl.Int64).alias("vocab_padding"),
        (pl.col("has_fused_linears").fill_null(0) > 0).alias("is_fused"),
        (pl.col("keeps_single_experts").fill_null(0) > 0).alias("has_single_experts"),
        (
            (pl.col("embedding_on_cpu").fill_null(0) > 0)
            & ~pl.col("tied_embeddings").fill_null(True)
            & (pl.col("pipeline_parallel_size") > 1)
        ).alias("leaves_embedding"),
        split.then(pl.lit(SPLIT_WITH_OUTPUT)).otherwise(pl.lit(SPLIT_EVEN)).alias("layer_split"),
    ]
