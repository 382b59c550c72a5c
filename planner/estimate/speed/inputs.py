"""Inputs of the speed model: defaults for what a cell leaves open, and the facts joined to it."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from planner.estimate.kv_cache import element_bytes
from planner.estimate.speed.sums import model_sums
from planner.resolve.tables import Tables

OTHER: Final = "other"
DEFAULT_CONTEXT_TOKENS: Final = 4096
INPUT_SHARE_OF_CONTEXT: Final = 0.75
DEFAULT_ACCEPTANCE: Final = 0.65
_GPU_FACTS: Final = (
    "architecture",
    "memory_bandwidth_bytes_per_second",
    "bf16_dense_tflops",
    "fp16_dense_tflops",
    "fp8_dense_tflops",
    "int8_dense_tops",
    "fp4_dense_tflops",
    "interconnect",
    "interconnect_bytes_per_second",
    "max_gpus_per_node",
)
OPTIONAL_INPUTS: Final[dict[str, Any]] = {
    "engine": pl.String,
    "engine_version": pl.String,
    "kv_cache_dtype": pl.String,
    "context_tokens": pl.Int64,
    "concurrent_sequences": pl.Int64,
    "max_num_seqs": pl.Int64,
    "input_tokens": pl.Float64,
    "output_tokens": pl.Float64,
    "input_tokens_mean": pl.Float64,
    "output_tokens_mean": pl.Float64,
    "tensor_parallel_size": pl.Int64,
    "pipeline_parallel_size": pl.Int64,
    "expert_parallel_size": pl.Int64,
    "data_parallel_size": pl.Int64,
    "nodes": pl.Int64,
    "prefix_cache_share": pl.Float64,
    "speculative_tokens": pl.Float64,
    "speculative_acceptance": pl.Float64,
    "max_concurrent_sequences": pl.Float64,
    "enforce_eager": pl.Boolean,
    "poll_interval_steps": pl.Int64,
    "gpu_layers": pl.Int64,
    "cpu_offload_gib": pl.Float64,
}


def prepared(cells: pl.LazyFrame, tables: Tables, speed: pl.LazyFrame) -> pl.LazyFrame:
    """Cells with the working columns of the model, all named `s_...`.

    `s_sequences` in flight in the replica, `s_rank_sequences` of one pass of one attention rank,
    `s_input_tokens`, `s_output_tokens`, parallel sizes `s_tp`, `s_pp`, `s_dp`, `s_ranks`; model
    sums, GPU facts and calibrated constants under `s_` and their own names.
    """
    present = cells.collect_schema()
    missing = {name: kind for name, kind in OPTIONAL_INPUTS.items() if name not in present}
    untyped = {n: k for n, k in OPTIONAL_INPUTS.items() if present.get(n) == pl.Null}
    work = cells.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in (missing | untyped).items()
    )
    work = work.with_columns(_sizes()).with_columns(_load())
    return _with_facts(work, tables, speed).drop(*missing)


def _sizes() -> list[pl.Expr]:
    def size(name: str, short: str) -> pl.Expr:
        return pl.max_horizontal(pl.col(name).fill_null(1), 1).cast(pl.Float64).alias(short)

    context = pl.col("context_tokens").fill_null(DEFAULT_CONTEXT_TOKENS)
    input_tokens = pl.coalesce(
        "input_tokens", "input_tokens_mean", context * INPUT_SHARE_OF_CONTEXT
    )
    output_tokens = pl.coalesce(
        "output_tokens", "output_tokens_mean", context * (1 - INPUT_SHARE_OF_CONTEXT)
    )
    return [
        size("tensor_parallel_size", "s_tp"),
        size("pipeline_parallel_size", "s_pp"),
        size("data_parallel_size", "s_dp"),
        size("nodes", "s_nodes"),
        size("concurrent_sequences", "s_asked"),
        pl.max_horizontal(input_tokens.cast(pl.Float64), 1.0).alias("s_input_tokens"),
        pl.max_horizontal(output_tokens.cast(pl.Float64), 1.0).alias("s_output_tokens"),
        pl.col("prefix_cache_share").fill_null(0.0).clip(0.0, 1.0).alias("s_cached_share"),
        pl.col("speculative_tokens").fill_null(0).cast(pl.Float64).alias("s_drafted"),
        pl.col("engine").fill_null(OTHER).alias("s_engine_name"),
        pl.col("enforce_eager").fill_null(False).alias("s_eager"),
        pl.max_horizontal(pl.col("poll_interval_steps").fill_null(1), 1).alias("s_poll"),
    ]


def _load() -> list[pl.Expr]:
    """Sequences really in flight: as many as asked for, as memory and max_num_seqs admit."""
    admitted = pl.min_horizontal("max_num_seqs", "max_concurrent_sequences").fill_null(float("inf"))
    flying = pl.max_horizontal(pl.min_horizontal(pl.col("s_asked"), admitted), 1.0)
    return [
        flying.alias("s_sequences"),
        (flying / pl.col("s_dp") / pl.col("s_pp")).clip(lower_bound=1.0).alias("s_rank_sequences"),
        (pl.col("s_tp") * pl.col("s_dp")).alias("s_ranks"),
    ]


def _with_facts(work: pl.LazyFrame, tables: Tables, speed: pl.LazyFrame) -> pl.LazyFrame:
    """Two joins only: cells are wide, and every join copies them."""
    pairs = work.select("model", "weight_format").unique()
    engines = (
        speed.select(pl.col("engine").unique()).collect(engine="in-memory")["engine"].to_list()
    )
    engine = pl.col("s_engine_name")
    return (
        work.with_columns(
            s_engine=pl.when(engine.is_in(engines)).then(engine).otherwise(pl.lit(OTHER))
        )
        .join(
            _model_facts(tables, pairs),
            on=["model", "weight_format"],
            how="left",
            maintain_order="left",
        )
        .join(_hardware(tables, speed), on=["gpu", "s_engine"], how="left", maintain_order="left")
        .with_columns(
            s_cache_bytes=element_bytes(pl.col("kv_cache_dtype"), pl.col("s_model_bytes")),
            s_acceptance=pl.col("speculative_acceptance").fill_null(DEFAULT_ACCEPTANCE),
            s_on_host=pl.any_horizontal(
                pl.col("gpu_layers") < pl.col("s_num_hidden_layers"), pl.col("cpu_offload_gib") > 0
            ).fill_null(False),
        )
    )


def _model_facts(tables: Tables, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Model sums by (model, weight_format), and the width of the model's own dtype."""
    width = pl.when(pl.col("dtype") == "fp32").then(4.0).otherwise(2.0)
    sums = model_sums(tables, pairs).join(
        tables.models.select("model", model_bytes=width), on="model", how="left"
    )
    return _prefixed(sums, ("model", "weight_format"))


def _hardware(tables: Tables, speed: pl.LazyFrame) -> pl.LazyFrame:
    """Facts and constants of every GPU with every engine; unmeasured ones take `other`."""
    known = speed.select("architecture", family_key="architecture").unique()
    gpus = (
        tables.gpus.select("gpu", *_GPU_FACTS)
        .join(known, on="architecture", how="left")
        .with_columns(pl.col("family_key").fill_null(OTHER))
    )
    constants = speed.rename({"architecture": "family_key"})
    joined = gpus.join(constants, on="family_key").rename({"engine": "s_engine"})
    return _prefixed(joined, ("gpu", "s_engine"))


def _prefixed(frame: pl.LazyFrame, keys: tuple[str, ...]) -> pl.LazyFrame:
    names = frame.collect_schema().names()
    return frame.rename({name: f"s_{name}" for name in names if name not in keys})
