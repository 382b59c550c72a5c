"""The dtype ledger: every training setting of a cell, filled from its framework's preset.

After `resolve_settings` no setting is null, so the report can always show what was assumed.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import polars.selectors as cs

from planner.resolve.tables import Tables

DTYPE_BYTES: Final = {
    "fp32": 4.0,
    "float32": 4.0,
    "bf16": 2.0,
    "bfloat16": 2.0,
    "fp16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
}
PRESET_DEFAULTS: Final = (
    "optimizer",
    "adapter_dtype",
    "kbit_upcast",
    "gradient_checkpointing",
    "attention",
    "loss_kernel",
    "offload",
    "packing",
    "torch_compile",
    "lora_dropout",
    "micro_batch_size",
    "gradient_accumulation_steps",
)
"""Cell columns whose null means: what the framework does by default."""

PRESET_FACTS: Final = (
    "autocast",
    "fsdp_fp32_master",
    "optimizer_implementation",
    "logits_fp32_copies",
    "logits_backward_copies",
    "holds_logits",
    "loss_chunk_tokens",
    "chunk_saved_bytes",
    "sequence_parallel",
    "bucket_bytes",
    "prefetched_layers",
    "fsdp_root_holds_embeddings",
    "kernel_temporaries",
    "varying_lengths",
    "own_model_code",
    "kbit_saved_hidden_bytes",
    "keeps_frozen_inputs",
    "transformers_version",
)
"""Behaviour of a framework that a cell can't override."""

FIXED_DEFAULTS: Final[dict[str, object]] = {
    "framework": "trl",
    "lora_rank": 0,
    "lora_targets": "",
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "expert_parallel_size": 1,
    "context_parallel_size": 1,
    "gpu_count": 1,
    "nodes": 1,
    "sharding": "none",
    "optimizer_in_backward": False,
    "padding": False,
    "sequence_tokens": 2048,
    "memory_headroom": 0.0,
}
INPUT_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "framework": pl.String,
    "framework_version": pl.String,
    "optimizer": pl.String,
    "optimizer_state_dtype": pl.String,
    "master_weights_dtype": pl.String,
    "gradient_dtype": pl.String,
    "compute_dtype": pl.String,
    "adapter_dtype": pl.String,
    "kbit_upcast": pl.Boolean,
    "optimizer_in_backward": pl.Boolean,
    "sequence_tokens": pl.Int64,
    "micro_batch_size": pl.Int64,
    "gradient_accumulation_steps": pl.Int64,
    "gradient_checkpointing": pl.String,
    "attention": pl.String,
    "loss_kernel": pl.String,
    "torch_compile": pl.Boolean,
    "packing": pl.Boolean,
    "padding": pl.Boolean,
    "lora_rank": pl.Int64,
    "lora_targets": pl.String,
    "lora_dropout": pl.Float64,
    "adapter_parameters": pl.Int64,
    "offload": pl.String,
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
    "context_parallel_size": pl.Int64,
    "sharding": pl.String,
    "nodes": pl.Int64,
}
KEEPS_LOGITS: Final = 4.046
"""transformers version (4.46) from which the 16-bit logits live on beside their fp32 copy."""
GROUPED_EXPERTS: Final = 5.0
"""transformers version from which all experts run in one grouped product."""
SHIFT_WITHOUT_COPY: Final = 4.050
"""transformers version (4.50) from which the loss shifts labels instead of copying logits."""
SHARDS_WEIGHTS: Final = ("zero3", "fsdp", "hsdp")


def dtype_bytes(column: str | pl.Expr) -> pl.Expr:
    """Bytes of one element of a dtype named in a column; null for an unknown name."""
    expr = pl.col(column) if isinstance(column, str) else column
    return expr.replace_strict(DTYPE_BYTES, default=None, return_dtype=pl.Float64)


def with_inputs(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Every training input as a column of its type; absent ones are null."""
    have = cells.collect_schema()
    typed = [
        (pl.col(name).cast(dtype) if name in have else pl.lit(None, dtype=dtype).alias(name))
        for name, dtype in INPUT_TYPES.items()
    ]
    return cells.with_columns(typed)


def resolve_settings(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Cells with every setting filled, and the derived dtype ledger in bytes an element.

    Adds the preset's facts and, per element: `stored_element_bytes` (16- or 32-bit part of the
    base as its format stores it), `weight_element_bytes` (the same while it trains),
    `compute_element_bytes`, `activation_element_bytes` (outputs of linears, inside the MLP),
    `stream_element_bytes` (residual stream between layers), `adapter_element_bytes`,
    `gradient_element_bytes` and `master_element_bytes` (0: none).
    """
    preset = tables.frameworks.select(
        "framework",
        *(pl.col(name).alias(f"preset_{name}") for name in (*PRESET_DEFAULTS, "compute_dtype")),
        *PRESET_FACTS,
    )
    filled = with_inputs(cells).with_columns(
        [pl.col(name).fill_null(value) for name, value in FIXED_DEFAULTS.items()]
    )
    trains = pl.col("method") == "full"
    return (
        filled.join(preset, on="framework", how="left")
        .join(tables.models.select("model", model_dtype="dtype"), on="model", how="left")
        .with_columns([pl.coalesce(name, f"preset_{name}").alias(name) for name in PRESET_DEFAULTS])
        .with_columns(
            is_full=trains,
            is_adapted=~trains,
            is_sharded=pl.col("sharding").is_in(SHARDS_WEIGHTS),
            stored_element_bytes=_stored_element(),
        )
        .with_columns(
            compute_element_bytes=_compute_element(), weight_element_bytes=_trained_storage()
        )
        .with_columns(_derived())
        .drop(cs.starts_with("preset_"), cs.by_name("model_dtype"))
    )


def transformers_version() -> pl.Expr:
    """Version of transformers as major.minor/1000, from the framework's version text; or null."""
    named = pl.col("framework_version")
    major, minor = (
        named.str.extract(r"transformers (\d+)\.(\d+)", group).cast(pl.Float64) for group in (1, 2)
    )
    return major + minor / 1000


def _stored_element() -> pl.Expr:
    """Bytes of the part of the base that is not quantised: its own format, else the checkpoint."""
    own = dtype_bytes("weight_format")
    return pl.coalesce(own, dtype_bytes("model_dtype").clip(2.0, 4.0), pl.lit(2.0))


def _trained_storage() -> pl.Expr:
    """Bytes of a base weight while it trains: FSDP's mixed precision shards trained ones in fp32.

    Source: accelerate upcasts trained parameters where FSDP and mixed precision meet.
    """
    upcast = pl.col("fsdp_fp32_master") & pl.col("sharding").is_in(["fsdp", "hsdp"])
    return pl.when(upcast & pl.col("is_full")).then(4.0).otherwise(pl.col("stored_element_bytes"))


def _compute_element() -> pl.Expr:
    named = pl.coalesce(dtype_bytes("compute_dtype"), dtype_bytes("preset_compute_dtype"))
    return pl.when(named.is_null()).then(pl.col("stored_element_bytes")).otherwise(named)


def _derived() -> list[pl.Expr]:
    weight, compute = pl.col("weight_element_bytes"), pl.col("compute_element_bytes")
    fsdp = pl.col("is_sharded")
    # FSDP mixed precision hands 16-bit parameters to the layers, so nothing is cast inside them.
    casts = (weight > compute) & ~fsdp
    # FSDP hands parameters over in one dtype, so the fp32 cast of k-bit training has no effect.
    upcast = pl.col("kbit_upcast") & (pl.col("method") == "qlora") & ~fsdp
    version = pl.coalesce(transformers_version(), "transformers_version")
    under_autocast = casts | (pl.col("autocast") & pl.col("is_adapted"))
    trained = pl.when("is_full").then(weight).otherwise(dtype_bytes("adapter_dtype"))
    return [
        under_autocast.alias("autocast"),
        # k-bit linears return their input's dtype: fp32 after the fp32 norms of k-bit training.
        pl.when(upcast).then(4.0).otherwise(compute).alias("activation_element_bytes"),
        pl.when(upcast & ~under_autocast)
        .then(4.0)
        .otherwise(compute)
        .alias("compute_element_bytes"),
        casts.alias("casts_weights"),
        (pl.col("method") == "qlora").alias("is_kbit"),
        (version < SHIFT_WITHOUT_COPY).cast(pl.Float64).alias("copies_shifted_logits"),
        (version < KEEPS_LOGITS).alias("frees_logits"),
        (version < GROUPED_EXPERTS).alias("experts_looped"),
        (pl.coalesce("compute_dtype", "weight_format") == "fp16").alias("half_precision"),
        upcast.alias("kbit_upcast"),
        dtype_bytes("adapter_dtype").alias("adapter_element_bytes"),
        pl.coalesce(dtype_bytes("gradient_dtype"), trained).alias("gradient_element_bytes"),
        pl.coalesce(dtype_bytes("master_weights_dtype"), pl.lit(0.0)).alias("master_element_bytes"),
        pl.when(casts | upcast).then(4.0).otherwise(compute).alias("stream_element_bytes"),
    ]
