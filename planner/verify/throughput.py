"""Measured serving runs (throughput CSV) as cells, and their latencies against the estimate."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import estimate_inference
from planner.estimate.speed import with_speed
from planner.resolve.tables import Tables

COMPONENTS: Final = {
    "tpot_ms": "time_per_output_token",
    "ttft_ms": "time_to_first_token",
}
RANDOM_LENGTHS: Final = (1024, 8192)
RANDOM_LENGTH_SHARE: Final = 0.9
"""Runs at these nominal lengths draw each request between 80 and 100 % of it."""

HELD_OUTPUT_SHARE: Final = 0.75
"""Half is the mean of requests that started apart, all of it what the last token needs."""

DRAFTING_IMAGES: Final = ("trtllm 1.2.0rc6.post3",)
UNNUMBERED_IMAGE: Final = "nightly-dev"
POLL_BUSY_SEQUENCES: Final = 16
_NUMBERS: Final = (
    "concurrency",
    "batch_size",
    "input_tokens",
    "output_tokens",
    "tp_size",
    "pp_size",
    "attention_dp_size",
    "moe_ep_size",
    "gpus_per_replica",
)
_TEXTS: Final = (
    "engine",
    "engine_version",
    "model",
    "gpu",
    "precision",
    "gemm_format",
    "moe_format",
)
_BITS: Final = {"fp8": 8.0, "int8": 8.0, "fp4": 4.0, "int4": 4.0}
_FORMATS: Final = {
    "fp8_block": "fp8-block",
    "fp8": "fp8",
    "nvfp4": "nvfp4",
    "mxfp4": "mxfp4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
    "int4_wo": "int4-w4a16-g128",
    "int8_wo": "int8-w8a16",
    "sq": "int8-w8a8",
}
_BY_PRECISION: Final = {
    "bf16": "bf16",
    "fp16": "fp16",
    "fp8": "fp8",
    "fp4": "nvfp4",
    "int4": "int4-w4a16-g128",
    "int8": "int8-w8a8",
}


def throughput_cells(rows: pl.DataFrame, tables: Tables) -> pl.LazyFrame:
    """One cell a measured run, with the contract's inference columns.

    `batch_size` counts sequences of one attention-data-parallel rank, so a replica holds
    `batch_size x attention_dp_size` of them whatever the concurrency of the whole fleet. A run's
    precision names the format unless the checkpoint itself is stored in that many bits. Runs in 8
    or 4 bits keep an 8-bit KV cache where the card computes in those bits.
    """
    gpus = tables.gpus.select("gpu", "fp4_dense_tflops", "architecture")
    own = _own_formats(tables)
    narrow = pl.col("precision").is_in(["fp8", "int8"]) | (
        (pl.col("precision") == "fp4") & pl.col("fp4_dense_tflops").is_not_null()
    )
    return (
        _complete(rows)
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
            poll_interval_steps=_poll_interval(),
            input_tokens=_mean_tokens("input_tokens"),
            output_tokens=_mean_tokens("output_tokens"),
            context_tokens=_held_tokens(),
        )
        .drop("fp4_dense_tflops", "architecture", "own_bits")
    )


def _complete(rows: pl.DataFrame) -> pl.LazyFrame:
    """The rows with every column that a cell is made of, in its type; absent ones are null."""
    have = set(rows.columns)
    kinds = dict.fromkeys(_NUMBERS, pl.Int64) | dict.fromkeys(_TEXTS, pl.String)
    measured = dict.fromkeys(COMPONENTS, pl.Float64)
    return rows.lazy().with_columns(
        (pl.col(name).cast(kind, strict=False) if name in have else pl.lit(None, kind)).alias(name)
        for name, kind in (kinds | measured).items()
    )


def _mean_tokens(name: str) -> pl.Expr:
    random = pl.col("input_tokens").is_in(RANDOM_LENGTHS) & pl.col("output_tokens").is_in(
        RANDOM_LENGTHS
    )
    return pl.when(random).then(pl.col(name) * RANDOM_LENGTH_SHARE).otherwise(pl.col(name))


def _held_tokens() -> pl.Expr:
    """Tokens a running request holds as engines admit it: between the mean and its last token.

    Engines admit by what is free now and push back what does not fit after all; running requests
    are spread over their outputs.
    """
    held = pl.col("input_tokens") + HELD_OUTPUT_SHARE * pl.col("output_tokens")
    return held.ceil().cast(pl.Int64)


def _drafted() -> pl.Expr:
    """Draft tokens of the runs whose image served speculative decoding only.

    The file has no column for it. Published launch settings of these images: three tokens from
    the model's own prediction heads, one with attention data parallelism.
    """
    image = pl.concat_str("engine", pl.lit(" "), "engine_version")
    fewer = pl.col("attention_dp_size") > 1
    count = pl.when(fewer).then(pl.lit(1.0)).otherwise(3.0)
    return pl.when(image.is_in(DRAFTING_IMAGES).fill_null(False)).then(count)


def _poll_interval() -> pl.Expr:
    """Steps between looks at the request queue in the published SGLang runs on Blackwell.

    Their launch settings: `--scheduler-recv-interval` 10, and 30 from 16 sequences on. Images
    without a release number did without it.
    """
    blackwell = pl.col("architecture").fill_null("").str.starts_with("Blackwell")
    plain = pl.col("engine_version").fill_null("") != UNNUMBERED_IMAGE
    busy = pl.col("concurrency") >= POLL_BUSY_SEQUENCES
    steps = pl.when(busy).then(pl.lit(30)).otherwise(pl.lit(10))
    return pl.when((pl.col("engine") == "sglang") & blackwell & plain).then(steps)


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
    """The checkpoint as it is stored where that has the run's bits, else the run's own format.

    A run without a precision served the checkpoint, which is in 16 bits unless it was quantised.
    Null where the run names a format that is not known.
    """
    precision = pl.col("precision").fill_null("bf16")
    unsaid = pl.col("precision").is_null() & (pl.col("own_bits") < 16)
    bits = precision.replace_strict(_BITS, default=None)
    named = pl.coalesce("moe_format", "gemm_format").replace_strict(
        _FORMATS, default=None, return_dtype=pl.String
    )
    usual = precision.replace_strict(_BY_PRECISION, default=None, return_dtype=pl.String)
    return (
        pl.when(((pl.col("own_bits") == bits) | unsaid).fill_null(False))
        .then(pl.lit("checkpoint"))
        .when(precision.is_in(["bf16", "fp16"]))
        .then(precision)
        .otherwise(pl.coalesce(named, usual))
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
    estimated = with_speed(admitted(throughput_cells(rows, tables), tables), tables).collect(
        engine="in-memory"
    )
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
