"""The training estimator: settings, states, activations, phases, and the ledger of the peak."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.ledger import (
    BOUNDS,
    item_column,
    item_columns,
    missing_items,
    spread,
    sum_items,
    three,
)
from planner.estimate.training import allocator, gradients, logits, optimizer, phases, sharding
from planner.estimate.training.activations import activation_cases
from planner.estimate.training.reasons import reason_columns
from planner.estimate.training.settings import INPUT_TYPES, resolve_settings
from planner.estimate.training.states import with_states
from planner.estimate.training.time import speed_columns
from planner.resolve.tables import Tables

OPTIMIZER_FACTS: Final = (
    "full_states",
    "state_bytes",
    "state_block",
    "factored",
    "low_rank",
    "paged",
    "step_copies",
    "master_bytes",
)
ALLOCATOR_FACTS: Final = (
    "fsdp_reserve_mib",
    "context_mib",
    "context_mib_low",
    "context_mib_high",
    "nccl_mib",
    "nccl_mib_high",
    "gemm_workspaces",
    "activations_spread",
    "mfu_low",
    "mfu",
    "mfu_high",
    "kbit_speed",
)
ALLOCATED: Final = (
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "communication",
    "workspace",
)
RESERVED: Final = (*ALLOCATED, "allocator_reserve")
STATES_SPREAD: Final = 0.006
"""Relative spread of model states: rounding of blocks, buffers and constants of the classes."""
TOTALS: Final = ("allocated", "reserved", "process", "total")
EXPLAINED: Final = (
    "base_bytes",
    "weight_shards",
    "peak_gathered_bytes",
    "adapter_count",
    "trained_element_bytes",
    "trained_parameters",
    "gradient_element_bytes",
    "gradient_shards",
    "peak_gradients_bytes",
    "updated_parameters",
    "state_element_bytes",
    "peak_step_bytes",
    "layers_saved_bytes",
    "layer_saved_bytes",
    "layer_backward_bytes",
    "peak_activations_bytes",
    "rank_tokens",
    "logit_elements",
    "loss_logits_bytes",
    "peak_logits_bytes",
    "compute_element_bytes",
)
"""Operands that the terms name, kept in the result."""
CARD_FACTS: Final = (
    "compute_capability",
    "bf16_dense_tflops",
    "fp16_dense_tflops",
    "fp32_tflops",
)
SPEEDS: Final = ("tokens_per_second_low", "tokens_per_second", "tokens_per_second_high")
SIXTEEN_BIT: Final = 2.0
FLASH_CAPABILITY: Final = 8.0
"""Compute capability from which torch's flash attention kernels run."""


def estimate_training(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Peak memory of one GPU for every training cell.

    `cells` has the training and configuration columns of a cell; nulls take the defaults of the
    framework's preset and are filled in the result. Adds, per GPU of the fullest rank, for each
    item of the ledger `<item>_low_bytes`, `<item>_bytes`, `<item>_high_bytes` at the binding
    phase; `allocated_`, `reserved_`, `process_` and `total_` bytes (low, expected, high; total is
    the process), `budget_bytes`, `peak_phase`, `unsupported_reason`, `impossible_reason`, `note`.
    """
    names = cells.collect_schema().names()
    settled = resolve_settings(cells, tables).pipe(_with_card, tables)
    frame = (
        activation_cases(settled, tables)
        .pipe(with_states, tables)
        .join(_optimizers(tables), on="optimizer", how="left")
        .join(_allocators(tables), on="framework", how="left")
        .with_columns(sharding.shard_counts())
        .with_columns(_rank_columns())
        .with_columns(_sharded_columns())
        .with_columns(phases.gradient_columns())
        .pipe(phases.with_peak)
        .with_columns(_ledger_columns())
        .with_columns(allocator.reserve_columns())
        .with_columns(_process_columns())
    )
    frame = frame.with_columns(missing_items(frame.collect_schema().names()))
    inputs = [*names, *(name for name in INPUT_TYPES if name not in names)]
    return (
        frame.with_columns(*_totals(), *speed_columns())
        .with_columns(reason_columns())
        .select(
            *inputs,
            *item_columns(),
            *_total_names(),
            *EXPLAINED,
            *SPEEDS,
            "budget_bytes",
            "peak_phase",
            "unsupported_reason",
            "impossible_reason",
            "note",
        )
    )


def _total_names() -> list[str]:
    return [item_column(name, bound) for name in TOTALS for bound in BOUNDS]


def _with_card(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Adds `kv_repeats`: sdpa copies grouped heads where its flash kernel can't run.

    That is on a card before Ampere, with fp32 operands, and with a padding mask.
    """
    cards = tables.gpus.select("gpu", *CARD_FACTS)
    old = pl.col("compute_capability").fill_null(FLASH_CAPABILITY) < FLASH_CAPABILITY
    wide = pl.col("compute_element_bytes") > SIXTEEN_BIT
    repeats = (pl.col("attention") == "sdpa") & (old | wide | pl.col("padding"))
    return cells.join(cards, on="gpu", how="left").with_columns(kv_repeats=repeats)


def _optimizers(tables: Tables) -> pl.LazyFrame:
    return tables.optimizers.select("optimizer", *OPTIMIZER_FACTS)


def _allocators(tables: Tables) -> pl.LazyFrame:
    shares = [f"reserve_{name}_{part}" for name in allocator.CLASSES for part in allocator.PARTS]
    return tables.frameworks.select("framework", *ALLOCATOR_FACTS, *shares)


def _rank_columns() -> list[pl.Expr]:
    tokens = pl.col("rank_tokens")
    hidden = pl.col("hidden_size").cast(pl.Float64)
    head_input = tokens * hidden * pl.col("compute_element_bytes")
    cached = pl.col("casts_weights") & pl.col("is_full")
    return [
        (pl.col("rank_vocabulary") * tokens).alias("logit_elements"),
        (8.0 * pl.col("sequence_tokens")).alias("position_bytes"),
        pl.when("is_full").then(0.0).otherwise(head_input).alias("head_input_bytes"),
        pl.when("is_full").then(head_input).otherwise(0.0).alias("head_input_kept_bytes"),
        # Autocast keeps a 16-bit copy of every fp32 linear weight until the forward pass ends.
        pl.when(cached)
        .then(_cast_elements() * pl.col("compute_element_bytes"))
        .otherwise(0.0)
        .alias("cast_cache_bytes"),
        pl.when(cached)
        .then(pl.col("head_parameters") * pl.col("compute_element_bytes"))
        .otherwise(0.0)
        .alias("cast_head_bytes"),
        (pl.col("trained_parameters") / pl.col("optimizer_shards")).alias("updated_parameters"),
        gradients.kept_gradients().alias("gradients_kept"),
    ]


def _cast_elements() -> pl.Expr:
    """Weights of linears on the rank, the head among them: an untied embedding is not cast."""
    lookup = pl.when("tied_embeddings").then(0.0).otherwise(pl.col("embedding_on_rank"))
    return pl.col("trained_parameters") - lookup


def _sharded_columns() -> list[pl.Expr]:
    return [
        sharding.gathered_layer().alias("gathered_layer_bytes"),
        sharding.gathered_root().alias("gathered_root_bytes"),
        optimizer.step_bytes().alias("step_bytes"),
        (pl.col("layers_saved_bytes") * phases.stage_share()).alias("kept_bytes"),
        optimizer.state_element_bytes().alias("state_element_bytes"),
        pl.max_horizontal(logits.forward_bytes(), logits.backward_bytes()).alias(
            "loss_logits_bytes"
        ),
        (pl.col("hidden_size") * pl.col("largest_inner") / pl.col("tensor_parallel_size")).alias(
            "first_matrix_elements"
        ),
    ]


def _ledger_columns() -> list[pl.Expr]:
    away = pl.col("paged") | pl.col("offload").is_in(["cpu", "nvme"])
    states = pl.when(away).then(0.0).otherwise(optimizer.states_bytes())
    adapter = (
        pl.col("trained_parameters") * pl.col("trained_element_bytes") / pl.col("weight_shards")
    )
    frozen = pl.when("is_full").then(None).otherwise(adapter)
    width = pl.col("activations_spread")
    weights = sharding.resident_weights() + pl.col("peak_gathered_bytes")
    activations = pl.col("peak_activations_bytes") + 8.0 * pl.col("rank_tokens")
    return [
        *spread("weights", weights, STATES_SPREAD),
        *spread("adapter", frozen, STATES_SPREAD),
        *spread("gradients", pl.col("peak_gradients_bytes"), STATES_SPREAD),
        *spread("optimizer", states + pl.col("peak_step_bytes"), STATES_SPREAD),
        *spread("activations", activations, width),
        *spread("logits", pl.col("peak_logits_bytes"), width),
        *spread("communication", sharding.communication_buffers(), STATES_SPREAD),
        *three("workspace", allocator.workspace(), pl.lit(0.0), 2 * allocator.workspace()),
    ]


def _process_columns() -> list[pl.Expr]:
    return allocator.context_columns()


def _totals() -> list[pl.Expr]:
    sums = {"allocated": ALLOCATED, "reserved": RESERVED, "process": (*RESERVED, "cuda_context")}
    columns = []
    for name, items in sums.items():
        columns += three(name, sum_items(items), sum_items(items, "low"), sum_items(items, "high"))
    every = sums["process"]
    columns += three("total", sum_items(every), sum_items(every, "low"), sum_items(every, "high"))
    budget = pl.col("usable_bytes") * (1 - pl.col("memory_headroom"))
    return [*columns, budget.alias("budget_bytes")]
