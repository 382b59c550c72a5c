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
from planner.estimate.training import (
    allocator,
    gradients,
    logits,
    optimizer,
    phases,
    sharding,
    time,
)
from planner.estimate.training.activations import CASE_KEYS, activation_cases
from planner.estimate.training.cards import SETTINGS, distinct_work, finish_cells, with_work_key
from planner.estimate.training.reasons import reason_columns
from planner.estimate.training.settings import INPUT_TYPES, resolve_settings
from planner.estimate.training.states import RANK_KEYS, rank_weights, with_states
from planner.resolve.tables import Tables

OPTIMIZER_FACTS: Final = (
    "full_states",
    "state_bytes",
    "state_block",
    "factored",
    "low_rank",
    "paged",
    "step_copies",
    "step_per_tensor",
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
RARE_SPREAD: Final = 0.3
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
SPEEDS: Final = ("tokens_per_second_low", "tokens_per_second", "tokens_per_second_high")
REASONS: Final = ("unsupported_reason", "impossible_reason", "note")
CARRIED: Final = (
    "cache_bytes",
    "least_cache_bytes",
    "most_cache_bytes",
    "flops_per_token",
    "utilisation_low",
    "utilisation",
    "utilisation_high",
    "half_precision",
)
SIXTEEN_BIT: Final = 2.0


def estimate_training(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Peak memory of one GPU for every training cell.

    `cells` has the training and configuration columns of a cell; nulls take the defaults of the
    framework's preset and are filled in the result. Adds, per GPU of the fullest rank, for each
    item of the ledger `<item>_low_bytes`, `<item>_bytes`, `<item>_high_bytes` at the binding
    phase; `allocated_`, `reserved_`, `process_` and `total_` bytes (low, expected, high; total is
    the process), `budget_bytes`, `peak_phase`, `unsupported_reason`, `impossible_reason`, `note`.
    """
    names = cells.collect_schema().names()
    keyed = with_work_key(cells, tables).cache()
    inputs = [*names, *(name for name in INPUT_TYPES if name not in names)]
    done = finish_cells(keyed, _work(distinct_work(keyed), tables))
    return done.select(
        *inputs,
        *item_columns(),
        *_total_names(),
        *EXPLAINED,
        *SPEEDS,
        "budget_bytes",
        "peak_phase",
        *REASONS,
    )


def _work(work: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Everything that does not depend on the card's size, for distinct sets of inputs."""
    settled = resolve_settings(work, tables).with_columns(kv_repeats=_kv_repeats()).cache()
    cases, ranks = activation_cases(settled, tables), rank_weights(settled, tables)
    frame = (
        settled.join(cases, on=list(CASE_KEYS), how="left")
        .join(ranks, on=list(RANK_KEYS), how="left", nulls_equal=True)
        .pipe(with_states, tables)
        .join(_optimizers(tables), on="optimizer", how="left")
        .join(_allocators(tables), on="framework", how="left")
        .with_columns(sharding.shard_counts())
        .with_columns(_rank_columns())
        .with_columns(_sharded_columns())
        .with_columns(phases.gradient_columns())
        .pipe(phases.with_peak)
        .with_columns(*_ledger_columns(), *allocator.context_columns(), *allocator.cache_columns())
        .with_columns(*_allocated(), *time.work_columns(), *reason_columns())
    )
    later = {item_column("allocator_reserve", bound) for bound in BOUNDS}
    frame = frame.with_columns(
        expr
        for expr in missing_items(frame.collect_schema().names())
        if expr.meta.output_name() not in later
    )
    kept = [name for name in item_columns() if name not in later]
    allocated = [item_column("allocated", bound) for bound in BOUNDS]
    return frame.select(
        "work_key", *SETTINGS, *kept, *allocated, *EXPLAINED, *CARRIED, "peak_phase", *REASONS
    )


def _total_names() -> list[str]:
    return [item_column(name, bound) for name in TOTALS for bound in BOUNDS]


def _kv_repeats() -> pl.Expr:
    """sdpa copies grouped heads where its flash kernel can't run.

    That is on a card before Ampere, with fp32 operands, and with a padding mask.
    """
    wide = pl.col("compute_element_bytes") > SIXTEEN_BIT
    unable = pl.col("lacks_flash") | wide | pl.col("padding")
    return (pl.col("attention") == "sdpa") & unable


def _optimizers(tables: Tables) -> pl.LazyFrame:
    return tables.optimizers.select("optimizer", *OPTIMIZER_FACTS)


def _allocators(tables: Tables) -> pl.LazyFrame:
    shares = [
        f"reserve_{name}_{part}"
        for name in allocator.CLASSES
        for part in (*allocator.PARTS, "high")
    ]
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
        (pl.col("layers_saved_bytes") * phases.kept_share()).alias("kept_bytes"),
        optimizer.state_element_bytes().alias("state_element_bytes"),
        pl.max_horizontal(logits.forward_bytes(), logits.backward_bytes()).alias(
            "loss_logits_bytes"
        ),
    ]


def _ledger_columns() -> list[pl.Expr]:
    away = pl.col("paged") | pl.col("offload").is_in(["cpu", "nvme"])
    states = pl.when(away).then(0.0).otherwise(optimizer.states_bytes())
    adapter = (
        pl.col("trained_parameters") * pl.col("trained_element_bytes") / pl.col("weight_shards")
    )
    frozen = pl.when("is_full").then(None).otherwise(adapter)
    # Classes without rotation, with latent attention or recurrence are less tested than Llamas.
    rare = pl.when("is_rare").then(RARE_SPREAD).otherwise(0.0)
    width = pl.max_horizontal("activations_spread", rare)
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


def _allocated() -> list[pl.Expr]:
    """Bytes of all tensors at the peak."""
    return three(
        "allocated",
        sum_items(ALLOCATED),
        sum_items(ALLOCATED, "low"),
        sum_items(ALLOCATED, "high"),
    )
