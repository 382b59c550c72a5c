"""The textbook estimator: a few multiplications per cell, every assumption a setting.

Follows the public article *How to calculate GPU VRAM requirements for a large language model*
(ApX Machine Learning, 2025), called the guide. Its worked examples use decimal GB; the frame
holds bytes. Ranges are the guide's own: low and high settings, not measured spreads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from planner.estimate.ledger import (
    Bound,
    Term,
    item_column,
    missing_items,
    sum_items,
)
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_DECIMAL_GB

GUIDE: Final = "ApX, How to calculate GPU VRAM requirements for a large language model, 2025"
BOUNDS: Final[tuple[Bound, ...]] = ("low", "expected", "high")
TRAINED_BYTES_PER_PARAMETER: Final = 2.0
TOKEN_ID_BYTES: Final = 8
GUIDE_STATE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Range:
    """Low, expected and high value of a setting."""

    low: float
    expected: float
    high: float

    def at(self, bound: Bound) -> float:
        """The value at one bound."""
        return {"low": self.low, "expected": self.expected, "high": self.high}[bound]


@dataclass(frozen=True, slots=True)
class RuleOfThumbSettings:
    """Assumptions of the guide, each settable in the scenario's `rule_of_thumb`.

    Attributes:
        activation_factor: C in batch x sequence x hidden x layers x C x bytes. 18 is the middle of
            what a flash-attention decoder saves per token and layer, in units of hidden x bytes.
        overhead_gb: CUDA context and framework on each GPU, decimal GB.
        multi_gpu_overhead_gb: buffers for each GPU beyond the first, on every GPU, decimal GB.
        scaling_efficiency: what each GPU beyond the first adds, as a share of one.
        optimizer_state_bytes: bytes of one state value; None follows the optimizer.
        gradient_bytes: bytes of one gradient value; None is the trainable precision.
        activations_and_kv_gb: replaces activations and KV cache, decimal GB.
        trainable_parameters: replaces the counted LoRA parameters.
    """

    activation_factor: Range = Range(10, 18, 30)
    overhead_gb: Range = Range(1, 1.5, 2)
    multi_gpu_overhead_gb: float = 0.25
    scaling_efficiency: float = 0.85
    optimizer_state_bytes: float | None = None
    gradient_bytes: float | None = None
    activations_and_kv_gb: Range | None = None
    trainable_parameters: int | None = None


def estimate_rule_of_thumb(
    cells: pl.LazyFrame, tables: Tables, settings: RuleOfThumbSettings
) -> pl.LazyFrame:
    """Add the ledger items, totals, budget, peak_phase and relative_speed to inference and
    training cells alike (the columns of every estimator; see planner.estimate.ledger).
    """
    joined = _with_facts(cells, tables).with_columns(
        trainable_parameters=trainable_parameters(settings)
    )
    columns: list[pl.Expr] = []
    for bound in BOUNDS:
        items = {
            "weights": weights_bytes(),
            "adapter": adapter_bytes(),
            "gradients": gradients_bytes(settings),
            "optimizer": optimizer_bytes(settings),
            "activations": activations_bytes(settings, bound),
            "kv_cache": kv_cache_bytes(settings),
            "workspace": token_ids_bytes(),
            "cuda_context": pl.lit(settings.overhead_gb.at(bound) * BYTES_PER_DECIMAL_GB),
            "communication": communication_bytes(settings),
        }
        columns += [
            value.cast(pl.Float64).alias(item_column(item, bound)) for item, value in items.items()
        ]
    names = [column.meta.output_name() for column in columns]
    return (
        joined.with_columns(columns)
        .with_columns(missing_items(names))
        .with_columns(
            total_low_bytes=sum_items(bound="low"),
            total_bytes=sum_items(),
            total_high_bytes=sum_items(bound="high"),
            budget_bytes=pl.col("usable_bytes") * (1 - pl.col("memory_headroom")),
            peak_phase=pl.when(is_training())
            .then(pl.lit("training step"))
            .otherwise(pl.lit("serving")),
            relative_speed=relative_speed(settings),
            note=pl.lit(None, pl.String),
            unsupported_reason=pl.lit(None, pl.String),
            impossible_reason=pl.lit(None, pl.String),
        )
    )


def _with_facts(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    models = tables.models.select("model", "parameters", "hidden_size", "num_hidden_layers")
    cached = tables.layers.group_by("model").agg(
        kv_elements_per_token=pl.col("kv_elements_per_token").sum()
    )
    formats = tables.formats.select("weight_format", "guide_bytes_per_parameter")
    optimizers = tables.optimizers.select(
        "optimizer",
        "full_states",
        guide_state_bytes=pl.col("state_bytes").fill_null(GUIDE_STATE_BYTES),
    )
    return (
        cells.join(models, on="model", how="left")
        .join(cached, on="model", how="left")
        .join(formats, on="weight_format", how="left")
        .join(optimizers, on="optimizer", how="left")
        .with_columns(
            guide_bytes_per_parameter=pl.col("guide_bytes_per_parameter").fill_null(
                TRAINED_BYTES_PER_PARAMETER
            )
        )
    )


def is_training() -> pl.Expr:
    """Whether the cell is a fine-tuning run."""
    return pl.col("method") != "inference"


def model_gpus() -> pl.Expr:
    """GPUs over which one copy of the weights is spread."""
    split = pl.col("tensor_parallel_size") * pl.col("pipeline_parallel_size")
    sharded = pl.col("sharding").is_in(["fsdp", "zero3"])
    return pl.when(sharded).then(split * pl.col("data_parallel_size")).otherwise(split)


def state_gpus() -> pl.Expr:
    """GPUs over which one copy of gradients and optimizer states is spread."""
    split = pl.col("tensor_parallel_size") * pl.col("pipeline_parallel_size")
    sharded = pl.col("sharding").is_in(["fsdp", "zero1", "zero2", "zero3"])
    return pl.when(sharded).then(split * pl.col("data_parallel_size")).otherwise(split)


def trainable_parameters(settings: RuleOfThumbSettings) -> pl.Expr:
    """All parameters in full fine-tuning, rank x (in + out) per adapted matrix otherwise."""
    adapters = (
        pl.lit(settings.trainable_parameters)
        if settings.trainable_parameters is not None
        else pl.col("adapter_parameters")
    )
    return (
        pl.when(pl.col("method") == "full")
        .then(pl.col("parameters"))
        .when(is_training())
        .then(adapters)
        .otherwise(None)
        .cast(pl.Float64)
    )


def weights_bytes() -> pl.Expr:
    """Parameters x bytes per parameter (fp32 4, fp16/bf16 2, int8 1, int4 0.5). Source: guide."""
    return pl.col("parameters") * pl.col("guide_bytes_per_parameter") / model_gpus()


def adapter_bytes() -> pl.Expr:
    """Trainable adapter parameters x 2 bytes. Source: guide (20M x 2 B)."""
    return (
        pl.when(is_training() & (pl.col("method") != "full"))
        .then(pl.col("trainable_parameters") * TRAINED_BYTES_PER_PARAMETER)
        .otherwise(None)
    )


def gradients_bytes(settings: RuleOfThumbSettings) -> pl.Expr:
    """Trainable parameters x bytes of the trainable precision. Source: guide."""
    per_value = settings.gradient_bytes or TRAINED_BYTES_PER_PARAMETER
    return pl.col("trainable_parameters") * per_value / state_gpus()


def optimizer_bytes(settings: RuleOfThumbSettings) -> pl.Expr:
    """States x bytes of a state per trainable parameter (AdamW 2 x 4, 8-bit 2 x 1). Source: guide.

    A setting of bytes per state value replaces the optimizer's own.
    """
    per_state = pl.col("guide_state_bytes")
    if settings.optimizer_state_bytes is not None:
        per_state = pl.lit(settings.optimizer_state_bytes)
    return pl.col("trainable_parameters") * pl.col("full_states") * per_state / state_gpus()


def activations_bytes(settings: RuleOfThumbSettings, bound: Bound) -> pl.Expr:
    """Batch x sequence x hidden x layers x C x 2 bytes in training; source: guide.

    In inference nothing is saved for a backward pass: one layer's worth for one sequence.
    """
    if settings.activations_and_kv_gb is not None:
        return pl.lit(settings.activations_and_kv_gb.at(bound) * BYTES_PER_DECIMAL_GB)
    per_token = pl.col("hidden_size") * settings.activation_factor.at(bound) * 2
    tokens = pl.col("micro_batch_size") * pl.col("sequence_tokens")
    trained = tokens * per_token * pl.col("num_hidden_layers")
    served = pl.col("context_tokens") * per_token
    split = pl.col("tensor_parallel_size") * pl.col("pipeline_parallel_size")
    return pl.when(is_training()).then(trained / split).otherwise(served / split)


def kv_cache_bytes(settings: RuleOfThumbSettings) -> pl.Expr:
    """2 x layers x kv_heads x head_dim x tokens x bytes, over the GPUs of the model."""
    if settings.activations_and_kv_gb is not None:
        return pl.lit(None, pl.Float64)
    element_bytes = (
        pl.when(pl.col("kv_cache_dtype").is_in(["fp8", "int8"]))
        .then(1.0)
        .when(pl.col("kv_cache_dtype") == "fp32")
        .then(4.0)
        .otherwise(2.0)
    )
    tokens = pl.col("context_tokens") * pl.col("concurrent_sequences")
    total = pl.col("kv_elements_per_token") * tokens * element_bytes
    return pl.when(is_training()).then(None).otherwise(total / model_gpus())


def token_ids_bytes() -> pl.Expr:
    """Batch x sequence x 8 bytes of input token ids: negligible, still a line. Source: guide."""
    trained = pl.col("micro_batch_size") * pl.col("sequence_tokens")
    served = pl.col("concurrent_sequences") * pl.col("context_tokens")
    return pl.when(is_training()).then(trained).otherwise(served) * TOKEN_ID_BYTES


def communication_bytes(settings: RuleOfThumbSettings) -> pl.Expr:
    """Buffers that grow with the GPU count: a setting for each GPU beyond the first."""
    per_gpu_bytes = settings.multi_gpu_overhead_gb * BYTES_PER_DECIMAL_GB
    return (pl.col("gpu_count") - 1) * per_gpu_bytes


def relative_speed(settings: RuleOfThumbSettings) -> pl.Expr:
    """Speed against one GPU: 1 + efficiency x (n - 1). Source: guide (0.85)."""
    return 1 + settings.scaling_efficiency * (pl.col("gpu_count") - 1)


TERMS: Final = (
    Term(
        "weights",
        "weights",
        "{parameters} parameters x {guide_bytes_per_parameter} bytes, over the GPUs of a copy",
        ("parameters", "guide_bytes_per_parameter"),
        GUIDE,
    ),
    Term(
        "adapter", "adapter", "{trainable_parameters} x 2 bytes", ("trainable_parameters",), GUIDE
    ),
    Term(
        "gradients",
        "gradients",
        "{trainable_parameters} x bytes of the trainable precision",
        ("trainable_parameters",),
        GUIDE,
    ),
    Term(
        "optimizer",
        "optimizer",
        "{trainable_parameters} x {full_states} states x {guide_state_bytes} bytes",
        ("trainable_parameters", "full_states", "guide_state_bytes"),
        GUIDE,
    ),
    Term(
        "activations",
        "activations",
        "tokens x {hidden_size} x {num_hidden_layers} layers x C x 2 bytes (inference: 1 layer)",
        ("hidden_size", "num_hidden_layers"),
        GUIDE,
    ),
    Term(
        "kv_cache",
        "kv_cache",
        "{kv_elements_per_token} elements x {context_tokens} x {concurrent_sequences} x bytes",
        ("kv_elements_per_token", "context_tokens", "concurrent_sequences"),
        GUIDE,
    ),
    Term("workspace", "overhead", "tokens x 8 bytes of token ids", (), GUIDE),
    Term("cuda_context", "overhead", "1 to 2 GB for CUDA and the framework", (), GUIDE),
    Term(
        "communication",
        "overhead",
        "({gpu_count} - 1) x buffers per further GPU",
        ("gpu_count",),
        "settable default of the planner",
    ),
)
