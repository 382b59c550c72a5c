"""Measured serving runs (throughput CSV) as cells, and their latencies against the estimate."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import estimate_inference
from planner.estimate.speed import with_speed
from planner.resolve.tables import Tables

THROUGHPUT_COLUMNS: Final = (
    "id",
    "engine",
    "model",
    "gpu",
    "concurrency",
    "input_tokens",
    "output_tokens",
    "tp_size",
    "ttft_ms",
    "tpot_ms",
)
"""Columns that tell a file of serving runs from other measurements."""

COMPONENTS: Final = {
    "tpot_ms": "time_per_output_token",
    "ttft_ms": "time_to_first_token",
}
RANDOM_LENGTHS: Final = (1024, 8192)
RANDOM_LENGTH_SHARE: Final = 0.9
"""Runs at these nominal lengths draw each request between 80 and 100 % of it."""

DRAFTING_IMAGES: Final = ("trtllm 1.2.0rc6.post3",)
_FORMATS: Final = {"fp8_block": "fp8-block", "fp8": "fp8", "nvfp4": "nvfp4", "mxfp4": "mxfp4"}


def is_throughput(columns: list[str]) -> bool:
    """Whether a file with these columns holds serving runs."""
    return set(THROUGHPUT_COLUMNS) <= set(columns)


def throughput_cells(rows: pl.DataFrame, tables: Tables) -> pl.LazyFrame:
    """One cell a measured run, with the contract's inference columns.

    `batch_size` counts sequences of one attention-data-parallel rank, so a replica holds
    `batch_size x attention_dp_size` of them whatever the concurrency of the whole fleet. A run's
    precision names the format unless the checkpoint itself is stored in that many bits. Runs in 8
    or 4 bits keep an 8-bit KV cache where the card computes in those bits.
    """
    gpus = tables.gpus.select("gpu", "fp4_dense_tflops")
    own = _own_formats(tables)
    narrow = (pl.col("precision") == "fp8") | (
        (pl.col("precision") == "fp4") & pl.col("fp4_dense_tflops").is_not_null()
    )
    return (
        rows.lazy()
        .join(gpus, on="gpu", how="left", maintain_order="left")
        .join(own, on="model", how="left", maintain_order="left")
        .with_columns(
            method=pl.lit("inference"),
            weight_format=_weight_format(),
            kv_cache_dtype=pl.when(narrow).then(pl.lit("fp8")).otherwise(pl.lit("auto")),
            concurrent_sequences=pl.coalesce(
                pl.col("batch_size") * pl.col("attention_dp_size"), "concurrency"
            ),
            gpu_count=pl.coalesce("gpus_per_replica", "tp_size"),
            tensor_parallel_size=pl.col("tp_size"),
            pipeline_parallel_size=pl.col("pp_size"),
            data_parallel_size=pl.col("attention_dp_size"),
            expert_parallel_size=pl.col("moe_ep_size"),
            nodes=pl.lit(1, dtype=pl.Int64),
            speculative_tokens=_drafted(),
            input_tokens=_mean_tokens("input_tokens"),
            output_tokens=_mean_tokens("output_tokens"),
            context_tokens=pl.col("input_tokens") + pl.col("output_tokens"),
        )
        .drop("fp4_dense_tflops", "own_bits")
    )


def _mean_tokens(name: str) -> pl.Expr:
    random = pl.col("input_tokens").is_in(RANDOM_LENGTHS) & pl.col("output_tokens").is_in(
        RANDOM_LENGTHS
    )
    return pl.when(random).then(pl.col(name) * RANDOM_LENGTH_SHARE).otherwise(pl.col(name))


def _drafted() -> pl.Expr:
    """Draft tokens of the runs whose image served speculative decoding only.

    The file has no column for it. Published launch settings of these images: three tokens from
    the model's own prediction heads, one with attention data parallelism.
    """
    image = pl.concat_str("engine", pl.lit(" "), "engine_version")
    fewer = pl.col("attention_dp_size") > 1
    count = pl.when(fewer).then(pl.lit(1.0)).otherwise(3.0)
    return pl.when(image.is_in(DRAFTING_IMAGES).fill_null(False)).then(count)


def _own_formats(tables: Tables) -> pl.LazyFrame:
    """Payload bits of the format that most of a pre-quantised checkpoint is stored in."""
    bits = tables.formats.select(checkpoint_format="weight_format", own_bits="bits_per_weight")
    size = pl.col("numel") * pl.col("count")
    return (
        tables.tensors.filter(pl.col("checkpoint_format").is_not_null())
        .group_by("model", "checkpoint_format")
        .agg(size.sum().alias("size"))
        .join(bits, on="checkpoint_format", how="left")
        .group_by("model")
        .agg(pl.col("own_bits").sort_by("size", descending=True).first())
    )


def _weight_format() -> pl.Expr:
    precision = pl.col("precision")
    wanted_bits = precision.replace_strict({"fp8": 8.0, "fp4": 4.0}, default=None)
    formats = pl.coalesce("moe_format", "gemm_format").replace_strict(_FORMATS, default=None)
    return (
        pl.when((pl.col("own_bits") == wanted_bits).fill_null(False))
        .then(pl.lit("checkpoint"))
        .otherwise(formats.fill_null("bf16"))
    )


def admitted(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Cells with `max_concurrent_sequences`: how many memory and the engine let run at once.

    A run that the estimate has no room for did run: its limit stays unknown.
    """
    usable = tables.gpus.select("gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes")
    room = pl.col("max_concurrent_sequences")
    limits = estimate_inference(cells.join(usable, on="gpu", how="left"), tables).select(
        "id", max_concurrent_sequences=pl.when(room >= 1).then(room)
    )
    return cells.join(limits, on="id", how="left", maintain_order="left")


def throughput_estimates(rows: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """Measured and estimated latency of every run, one row a run and component.

    Columns: id, component (`tpot_ms`, `ttft_ms`), unit (`ms`), measured, low, expected, high,
    note (why there is no estimate).
    """
    estimated = with_speed(admitted(throughput_cells(rows, tables), tables), tables).collect()
    parts = [
        estimated.select(
            "id",
            pl.lit(component).alias("component"),
            pl.lit("ms").alias("unit"),
            pl.col(component).alias("measured"),
            pl.col(f"{name}_low_ms").alias("low"),
            pl.col(f"{name}_ms").alias("expected"),
            pl.col(f"{name}_high_ms").alias("high"),
            pl.col("speed_note").alias("note"),
        )
        for component, name in COMPONENTS.items()
    ]
    return pl.concat(parts)
