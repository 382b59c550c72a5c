"""The inference estimator: from prepared cells to the ledger, the pool and what it holds."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import (
    encoder,
    peaks,
    phases,
    resident,
    runner,
    working,
)
from planner.estimate.inference import pool as pools
from planner.estimate.inference.constants import constant
from planner.estimate.inference.limits import impossible_reason, notes, unsupported_reason
from planner.estimate.inference.peaks import with_peaks
from planner.estimate.inference.phases import DECODE, FIRST_STEP, LOAD, PREFILL, SERVING
from planner.estimate.inference.prepare import facts_of, with_facts
from planner.estimate.inference.settings import settle
from planner.estimate.inference.totals import (
    budget_columns,
    capacity_columns,
    device_columns,
    pool_columns,
    reserve_columns,
    total_columns,
)
from planner.estimate.ledger import (
    BOUNDS,
    Bound,
    item_column,
    missing_items,
)
from planner.estimate.solve import CELL, closed_columns, is_open, with_searched
from planner.resolve.tables import Tables

_LORA_RANKS: Final[dict[Bound, int]] = {"low": 8, "expected": 16, "high": 64}
"""Ranks that engines reserve where none is told: vLLM's default, and what trainers set."""
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
    indexed = cells.with_row_index(CELL)
    facts = facts_of(indexed, tables)
    prepared = with_facts(indexed, facts)
    solved = _ledger(prepared).with_columns(*closed_columns())
    if prepared.select(is_open().any()).collect(engine="in-memory").item():
        solved = with_searched(solved, prepared, lambda tried: _ledger(settle(tried)))
    return (
        solved.drop(CELL)
        .with_columns(*capacity_columns())
        .with_columns(*device_columns())
        .with_columns(unsupported_reason(), impossible_reason(), notes())
    )


def _ledger(prepared: pl.LazyFrame) -> pl.LazyFrame:
    """Items, totals, pool and budget of prepared cells."""
    facts = prepared.with_columns(
        *pools.cache_rates(), *pools.layer_groups(), encoder.profiled_items()
    )
    steps = with_peaks(facts.with_columns(*_sequence_columns()))
    items = (
        steps.with_columns(phases.peak_phase())
        .with_columns(*_items())
        .with_columns(*reserve_columns())
        .with_columns(*missing_items(item_column(i, b) for i in _KEPT for b in BOUNDS))
        .drop(peaks.staged_columns())
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
        runner.bytes_per_logit().alias("step_bytes_per_logit"),
        runner.sampler_state_bytes(inside=False).alias("sampler_tables_bytes"),
        runner.sampler_state_bytes(inside=True).alias("sampler_inside_bytes"),
        pl.when(pl.col("lora_adapters") > 0)
        .then(pl.col("lora_rank").fill_null(_LORA_RANKS["expected"]))
        .alias("slot_rank"),
        phases.loaded_twice_bytes().alias("loaded_twice_bytes"),
        _adapter_ends("expected").alias("adapter_ends_bytes"),
    ]


def _items() -> list[pl.Expr]:
    phase = pl.col("peak_phase")
    in_step = phase.is_in([SERVING, PREFILL])
    loading = phase == LOAD  # before the first product: no workspace, no buffer of a kernel yet
    held_logits = pl.when(phase == FIRST_STEP).then(phases.held_logit_bytes()).otherwise(0.0)
    exprs = resident.part_columns()
    for bound in BOUNDS:
        base = pl.when(loading).then(0.0).otherwise(peaks.resident(bound))
        step = pl.col(f"step_activations_{bound}")
        values = {
            "weights": resident.weights_bytes(bound),
            "adapter": _adapter(bound),
            "activations": pl.when(in_step).then(step).otherwise(base),
            "logits": pl.when(in_step).then(f"step_logits_{bound}").otherwise(held_logits),
            "kv_cache": phases.cache_bytes() * _cache_share(bound) * _generated_share(bound),
            "recurrent_state": phases.recurrent_state_bytes(),
            "cuda_context": constant("context_bytes", bound),
            "cuda_graphs": working.graph_bytes(bound),
            "communication": working.communication_bytes(bound),
            "workspace": constant("non_torch_bytes", bound),
            "staging": pl.when(loading)
            .then("loaded_twice_bytes")
            .otherwise(runner.sampler_state_bytes(bound, inside=False)),
        }
        exprs += [
            value.cast(pl.Float64).alias(item_column(item, bound)) for item, value in values.items()
        ]
    return exprs


def _adapter(bound: Bound) -> pl.Expr:
    """Buffers for LoRA adapters in 16 bits: slots x rank x features of every linear.

    An engine reserves them for all linears whatever an adapter targets. Tensor parallelism cuts
    the outputs of column-parallel and the inputs of row-parallel linears only. vLLM wraps the
    embedding and the head too in families that list them (`embedding_modules`), which are on the
    first and the last stage: 64 slots of rank 16 of Qwen3-4B take 4.9 GiB in logs of 0.27, 92 % of
    them by this.
    """
    tp = pl.col("tensor_parallel_size")
    features = (
        pl.col("column_in") + pl.col("column_out") / tp + pl.col("row_in") / tp + pl.col("row_out")
    ) / pl.col("pipeline_parallel_size")
    return _slot_width(bound) * features + _adapter_ends(bound)


def _adapter_ends(bound: Bound) -> pl.Expr:
    """Adapters of the embedding and the head."""
    ends = pl.when(pl.col("pipeline_parallel_size") > 1).then(1.0).otherwise(2.0)
    features = ends * (pl.col("vocab_size") + pl.col("hidden_size"))
    return _slot_width(bound) * features * pl.col("lora_covers_embeddings")


def _slot_width(bound: Bound) -> pl.Expr:
    """Bytes for each feature that adapters cover: slots x rank x 2."""
    rank = pl.col("lora_rank").fill_null(_LORA_RANKS[bound])
    return 2.0 * pl.col("lora_adapters") * rank


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
