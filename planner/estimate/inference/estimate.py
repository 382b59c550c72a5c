"""The inference estimator: from prepared cells to the ledger, the pool and what it holds."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import (
    encoder,
    experts,
    host,
    phases,
    quantised,
    resident,
    runner,
    working,
)
from planner.estimate.inference import pool as pools
from planner.estimate.inference.limits import impossible_reason, notes, unsupported_reason
from planner.estimate.inference.phases import DECODE, FIRST_STEP, LOAD, PREFILL, SERVING
from planner.estimate.inference.prepare import prepare, settle
from planner.estimate.inference.totals import (
    budget_columns,
    capacity_columns,
    device_columns,
    pool_columns,
    reserve_columns,
    total_columns,
)
from planner.estimate.inference.working import constant
from planner.estimate.ledger import (
    BOUNDS,
    Bound,
    item_column,
    missing_items,
)
from planner.estimate.solve import with_solves
from planner.resolve.tables import Tables

_DEFAULT_LORA_RANK: Final = 16
_KEPT: Final = (
    "weights",
    "adapter",
    "activations",
    "logits",
    "kv_cache",
    "recurrent_state",
    "cuda_context",
    "cuda_graphs",
    "communication",
    "workspace",
    "staging",
    "allocator_reserve",
)


def estimate_inference(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Memory of every inference cell, per GPU of the most loaded rank.

    Keeps the input columns and adds, as Float64 bytes: `<item>_low_bytes`, `<item>_bytes`,
    `<item>_high_bytes` for the items of the ledger at the binding phase; `total_...`;
    `budget_bytes`; `kv_pool_...`, `kv_cache_tokens_capacity`, `max_concurrent_sequences`,
    `max_context_tokens`, `kv_bytes_per_token`; `allocated_...` (peak of the torch allocator)
    and `device_...` (what nvidia-smi shows, with the pool filled). Text: `peak_phase`,
    `unsupported_reason`,
    `impossible_reason`, `note`.
    """
    totals = _ledger(prepare(cells, tables))
    solved = with_solves(totals, lambda tried: _ledger(settle(tried)))
    return (
        solved.with_columns(*capacity_columns())
        .with_columns(*device_columns())
        .with_columns(unsupported_reason(), impossible_reason(), notes())
    )


def _ledger(prepared: pl.LazyFrame) -> pl.LazyFrame:
    """Items, totals, pool and budget of prepared cells."""
    facts = prepared.with_columns(
        *pools.cache_rates(), *pools.layer_groups(), *encoder.count_columns()
    )
    steps = facts.with_columns(*_sequence_columns()).with_columns(*_phase_columns())
    items = (
        steps.with_columns(phases.peak_phase())
        .with_columns(*_items())
        .with_columns(*reserve_columns())
        .with_columns(*missing_items(item_column(i, b) for i in _KEPT for b in BOUNDS))
    )
    return (
        items.with_columns(*total_columns())
        .with_columns(*pool_columns())
        .with_columns(*budget_columns())
    )


def _sequence_columns() -> list[pl.Expr]:
    """Bytes of one sequence at the whole context and at the prompt, and how many share it."""
    share = pl.col("prefix_cache_share")
    prompt = pools.prompt_bytes()
    whole = pools.sequence_bytes(pl.col("room_tokens"))
    return [
        whole.alias("room_sequence_bytes"),
        pl.when(pl.col("reserves_whole_context") > 0)
        .then(whole)
        .otherwise(prompt + pl.col("state_bytes"))
        .alias("prompt_sequence_bytes"),
        (pl.col("sequences") * (1 - share) + share).alias("stored_sequences"),
        (pl.col("global_token_bytes") + pl.col("local_token_bytes")).alias("kv_bytes_per_token"),
        (constant("activation_base_bytes") + quantised.unpacked_matrix_bytes()).alias(
            "fixed_bytes"
        ),
        quantised.quantising_reserve_bytes().alias("quantising_reserve_bytes"),
    ]


def _working(bound: Bound) -> tuple[pl.Expr, pl.Expr]:
    """Activations and logits of a step at a bound: the largest of three peaks, booked apart.

    The forward step, the logits, or the encoder before both, whose pictures are alive in all.
    """
    forward, logits, pictures = _peaks(bound)
    peak = pl.max_horizontal(forward, logits, pictures)
    forward_expected, logits_expected, pictures_expected = _peaks("expected")
    logits_bind = logits_expected > pl.max_horizontal(forward_expected, pictures_expected)
    beside = _kept_through_step(bound) + working.step_output_bytes()
    activations = pl.when(logits_bind).then(beside).otherwise(peak)
    return activations, pl.when(logits_bind).then(peak - beside).otherwise(0.0)


def _peaks(bound: Bound) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Working memory at the end of a layer, of the logits, and of the encoder."""
    kept = _kept_through_step(bound)
    logits = working.logit_peak_bytes(bound) + working.step_output_bytes()
    pictures = constant("activation_base_bytes", bound) + encoder.encoder_peak_bytes(bound)
    return kept + _layer_peak(bound), kept + logits, pictures


def _kept_through_step(bound: Bound) -> pl.Expr:
    return working.resident_bytes(bound) + _held_workspace(bound)


def _held_workspace(bound: Bound) -> pl.Expr:
    """One workspace that experts and sparse attention share, where an engine keeps it."""
    moe = experts.moe_workspace_bytes(bound) * pl.col("holds_moe_workspace")
    return pl.max_horizontal(moe, working.sparse_workspace_bytes())


def _layer_peak(bound: Bound) -> pl.Expr:
    """The largest part of a layer: attention (an expanded latent, eager scores), MLP, experts.

    At least what a warm-up takes, where an engine is measured with one, and what loading held.
    """
    workspace = experts.moe_workspace_bytes(bound) * (1 - pl.col("holds_moe_workspace"))
    grouped = experts.grouped_expert_bytes(bound)
    routed = experts.expert_layer_bytes(bound) + workspace + grouped
    attention = (
        working.latent_scratch_bytes(bound)
        + working.eager_score_bytes(bound)
        + working.expanded_chunk_bytes()
    )
    mlp = pl.max_horizontal(working.dense_layer_bytes(bound), routed) + host.staged_bytes(bound)
    floor = constant("activation_floor_bytes", bound)
    loading = pl.max_horizontal(
        quantised.joined_projections_bytes(bound), quantised.int8_loading_bytes(bound)
    )
    return pl.max_horizontal(mlp, attention, floor, loading) + host.mask_bytes(bound)


def _phase_columns() -> list[pl.Expr]:
    exprs = []
    for bound in BOUNDS:
        activations, logits = _working(bound)
        exprs += [
            activations.alias(f"step_activations_{bound}"),
            logits.alias(f"step_logits_{bound}"),
            _inner_stage(bound).alias(f"inner_stage_activations_{bound}"),
        ]
    forward, logits, _ = _peaks("expected")
    text = pl.max_horizontal(forward, logits) - working.tower_bytes()
    return [*exprs, text.alias("text_peak_bytes")]


def _inner_stage(bound: Bound) -> pl.Expr:
    """Activations of a pipeline stage that makes no logits: it receives and sends hidden states."""
    return (
        working.resident_bytes(bound)
        + _layer_peak(bound)
        + _held_workspace(bound)
        + pl.col("stage_hidden_copies") * working.step_output_bytes()
    )


def _items() -> list[pl.Expr]:
    phase = pl.col("peak_phase")
    in_step = phase.is_in([SERVING, PREFILL])
    loading = phase == LOAD  # before the first product: no workspace, no buffer of a kernel yet
    held_logits = pl.when(phase == FIRST_STEP).then(phases.held_logit_bytes()).otherwise(0.0)
    exprs = resident.part_columns()
    for bound in BOUNDS:
        base = pl.when(loading).then(0.0).otherwise(working.resident_bytes(bound))
        step = pl.col(f"step_activations_{bound}")
        values = {
            "weights": resident.weights_bytes(bound),
            "adapter": _adapter(),
            "activations": pl.when(in_step).then(step).otherwise(base),
            "logits": pl.when(in_step).then(f"step_logits_{bound}").otherwise(held_logits),
            "kv_cache": phases.cache_bytes() * _cache_share(bound) * _generated_share(bound),
            "recurrent_state": phases.recurrent_state_bytes(),
            "cuda_context": constant("context_bytes", bound),
            "cuda_graphs": working.graph_bytes(bound),
            "communication": working.communication_bytes(bound),
            "workspace": constant("non_torch_bytes", bound),
            "staging": pl.when(loading)
            .then(phases.untied_head_bytes())
            .otherwise(runner.sampler_state_bytes(bound, inside=False)),
        }
        exprs += [
            value.cast(pl.Float64).alias(item_column(item, bound)) for item, value in values.items()
        ]
    return exprs


def _adapter() -> pl.Expr:
    """Buffers for LoRA adapters in 16 bits: slots x rank x features of every linear.

    An engine reserves them for all linears whatever an adapter targets. Tensor parallelism cuts
    the outputs of column-parallel and the inputs of row-parallel linears only.
    """
    tp = pl.col("tensor_parallel_size")
    features = (
        pl.col("column_in") + pl.col("column_out") / tp + pl.col("row_in") / tp + pl.col("row_out")
    ) / pl.col("pipeline_parallel_size")
    rank = pl.col("lora_rank").fill_null(_DEFAULT_LORA_RANK)
    return 2.0 * pl.col("lora_adapters") * rank * features


def _cache_share(bound: Bound) -> pl.Expr:
    """Rounding of the cache, and how unevenly users split layers over the stages."""
    stages = pl.col("pipeline_parallel_size") > 1
    split = pl.when(stages).then(constant("layer_split_share", bound)).otherwise(1.0)
    return constant("cache_share", bound) * split


def _generated_share(bound: Bound) -> pl.Expr:
    """Share of the cache at the end of a generation that may stop before its last token.

    (room - (1 - share) x output) / room, where the end of the generation is the peak and the
    cache grows with it.
    """
    grows = (pl.col("peak_phase") == DECODE) & (pl.col("reserves_whole_context") == 0)
    unmade = (1 - constant("generated_share", bound)) * pl.col("output_tokens").fill_null(0)
    return pl.when(grows).then(1 - unmade / pl.col("room_tokens")).otherwise(1.0)
