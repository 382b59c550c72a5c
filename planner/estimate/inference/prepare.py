"""Cells with everything the inference formulas read: defaults of the engine, facts of the model.

Facts are computed on the distinct models, formats and layouts in the cells, then joined.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from planner.estimate.inference import encoder
from planner.estimate.inference.draft import with_draft
from planner.estimate.inference.model_facts import (
    format_columns,
    format_facts,
    gpu_facts,
    model_facts,
    stored_facts,
)
from planner.estimate.inference.runner import uses_second_runner
from planner.estimate.inference.workers import worker
from planner.estimate.kv_cache import SPLIT_EVEN, SPLIT_WITH_OUTPUT, cache_by_rank, element_bytes
from planner.estimate.weights import weights_by_rank
from planner.resolve.engine_cards import of_tier
from planner.resolve.engine_families import with_families
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_GIB, BYTES_PER_MIB

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
_MANY_RANKS: Final = 4
"""Tensor-parallel ranks from which engines capture larger batches on the same card."""
_FAST_LINK_BYTES_PER_SECOND: Final = 2.0e11
"""Above what PCIe reaches (5.0 x16: 128 GB/s both ways): NVLink, Infinity Fabric and the like."""


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


def settle(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Settings that were left to the engine, and the tokens of its step, from inputs and facts.

    Cells that went through it may do so again with another context or load.
    """
    return (
        cells.with_columns(*_defaults())
        .with_columns(*encoder.film_columns())
        .with_columns(*_steps(), *encoder.item_columns())
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
        with_families(_now(by_worker), tables.engines).with_columns(
            *_derived_keys(), uses_second_runner()
        )
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
)
_HELD: Final = {"held_format": "weight_format"}
_RANK: Final = {"weights_bytes": "rank_weights_bytes"}
_CACHE_KEYS: Final = ("model", "tensor_parallel_size", "pipeline_parallel_size", "layer_split")


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
        split.then(pl.lit(SPLIT_WITH_OUTPUT)).otherwise(pl.lit(SPLIT_EVEN)).alias("layer_split"),
    ]


def _defaults() -> list[pl.Expr]:
    """Settings the user left to the engine, by card and version."""
    large = _is_large()
    seqs = pl.when(large).then("default_seqs_large").otherwise("default_seqs")
    batched = (
        pl.when(
            (pl.col("batched_tokens_follow_context") > 0)
            & (
                (pl.col("context_tokens").fill_null(0) <= pl.col("follow_context_limit_tokens"))
                | (pl.col("has_mla") & (pl.col("mla_follows_context") > 0))
                | (_is_special() & (pl.col("chunks_plain_models_only") > 0))
            )
        )
        .then(pl.max_horizontal(pl.col("context_tokens").fill_null(2048), 2048))
        .when(large & _is_huge())
        .then("default_batched_tokens_huge")
        .when(large)
        .then("default_batched_tokens_large")
        .otherwise("default_batched_tokens")
    )
    pictures = pl.when("has_towers").then("multimodal_batched_tokens").otherwise(0.0)
    by_card = of_tier("batched_tokens", pl.col("usable_bytes") / BYTES_PER_GIB)
    untold = pl.coalesce(by_card, pl.max_horizontal(batched, pictures))
    own = pl.when(pl.col("weight_format") == "fp32").then(4.0).otherwise(2.0)
    context = pl.coalesce(
        "context_tokens",
        pl.when(pl.col("cache_holds_new_tokens") > 0).then("output_tokens"),
        pl.col("input_tokens") + pl.col("output_tokens").fill_null(0),
        pl.when(pl.col("default_context_tokens") > 0).then("default_context_tokens"),
        "max_position_embeddings",
    )
    sequences = pl.col("max_num_seqs").fill_null(seqs)
    capped = pl.when(pl.col("caps_batched_tokens") > 0).then(
        pl.min_horizontal(untold, sequences * context)
    )
    tokens = pl.coalesce("max_num_batched_tokens", capped, untold)
    return [
        sequences.cast(pl.Float64).alias("step_sequences"),
        tokens.alias("batched_tokens"),
        pl.col("gpu_memory_utilization").is_null().alias("is_default_fraction"),
        pl.coalesce("gpu_memory_utilization", _fraction(tokens), "default_memory_fraction").alias(
            "gpu_memory_utilization"
        ),
        pl.col("block_size").fill_null(pl.col("block_tokens")).alias("block"),
        context.cast(pl.Float64).alias("room_tokens"),
        (pl.col("concurrent_sequences").fill_null(1) / pl.col("data_parallel_size"))
        .ceil()
        .alias("sequences"),
        pl.col("memory_headroom").fill_null(0.0),
        pl.col("prefix_cache_share").fill_null(0.0),
        element_bytes(pl.col("kv_cache_dtype"), own).alias("cache_element_bytes"),
        pl.max_horizontal(own * pl.col("element_bytes") / 2.0, pl.col("element_bytes")).alias(
            "activation_element_bytes"
        ),
        (
            pl.col("interconnect_bytes_per_second").fill_null(_FAST_LINK_BYTES_PER_SECOND * 2)
            > _FAST_LINK_BYTES_PER_SECOND
        ).alias("has_fast_link"),
    ]


def _fraction(tokens: pl.Expr) -> pl.Expr:
    """Memory fraction that an engine derives from the card: what it keeps free, as a share.

    fixed + ranks x a + tokens of a chunk x b, to three decimals (SGLang server_args.py
    _handle_gpu_memory_settings from 0.5.3). Null where the profile has no tiers.
    """
    card = pl.col("usable_bytes") / BYTES_PER_GIB
    tp = pl.col("tensor_parallel_size")
    ranks = tp * pl.col("pipeline_parallel_size")
    fixed = pl.when(tp < _MANY_RANKS).then(of_tier("reserve_mib", card))
    reserve = (
        fixed.otherwise(of_tier("reserve_tp4_mib", card))
        + of_tier("reserve_rank_mib", card) * ranks
        + of_tier("reserve_token_mib", card) * tokens
    )
    kept = pl.max_horizontal(reserve, of_tier("reserve_least_mib", card))
    return (1 - kept * BYTES_PER_MIB / pl.col("usable_bytes")).round(3)


_GB10: Final = 12.1
"""Compute capability of DGX Spark."""


def _is_large() -> pl.Expr:
    """Whether an engine uses its defaults for large cards: by memory, and by name or generation."""
    size = pl.col("usable_bytes") >= pl.col("large_card_bytes")
    a100 = pl.col("gpu").str.starts_with("a100").fill_null(False)
    hopper = (pl.col("compute_capability") == 9.0).fill_null(True)
    gb10 = (pl.col("compute_capability") == _GB10).fill_null(False)
    named = ~(a100 & (pl.col("large_excludes_a100") > 0))
    named &= ~(gb10 & (pl.col("large_excludes_gb10") > 0))
    return size & named & (hopper | (pl.col("large_needs_hopper") == 0))


def _is_huge() -> pl.Expr:
    least = pl.col("huge_card_bytes")
    return (least > 0) & (pl.col("usable_bytes") >= least)


def _is_special() -> pl.Expr:
    """Whether a run has what early engines do not cut a prompt into chunks with by themselves."""
    windows = pl.col("local_elements").fill_null(0) > 0
    adapters = pl.col("lora_adapters").fill_null(0) > 0
    return pl.col("has_towers") | windows | adapters | pl.col("draft_model").is_not_null()


def _steps() -> list[pl.Expr]:
    """Tokens one forward step works on, and rows of logits it makes."""
    untold = pl.col("context_tokens").is_null() & pl.col("output_tokens").is_null()
    example = untold & (pl.col("default_prompt_tokens") > 0)
    prompt = pl.coalesce(
        "input_tokens",
        pl.when(example).then("default_prompt_tokens"),
        pl.col("room_tokens") - pl.col("output_tokens").fill_null(0),
    )
    chunk = pl.col("prefill_chunk_tokens")
    chunked = pl.when(chunk > 0).then(pl.min_horizontal(prompt, chunk)).otherwise(prompt)
    reserved = pl.col("batched_tokens")
    micro = pl.when(reserved > 0).then(pl.min_horizontal(reserved, "room_tokens"))
    step = (
        pl.when(pl.col("is_pooled") > 0)
        .then(reserved)
        .otherwise(pl.coalesce(micro, chunked * pl.col("sequences")))
    )
    rows = (
        pl.when(encoder.is_profiled() & (pl.col("profiles_requests") > 0))
        .then(encoder.requests())
        .when(pl.col("is_pooled") > 0)
        .then(pl.min_horizontal("step_sequences", "batched_tokens"))
        .when(pl.col("logits_of_all_tokens") > 0)
        .then(prompt * pl.col("sequences"))
        .when(pl.col("logits_of_micro_batch") > 0)
        .then(step)
        .otherwise("sequences")
    )
    fewest = pl.min_horizontal("default_seqs_low", "default_seqs_large_low", rows)
    unsure = (pl.col("is_pooled") > 0) & pl.col("max_num_seqs").is_null()
    return [
        pl.when(unsure).then(fewest).otherwise(rows).cast(pl.Float64).alias("logit_rows_low"),
        step.cast(pl.Float64).alias("step_tokens"),
        rows.cast(pl.Float64).alias("logit_rows"),
        prompt.cast(pl.Float64).alias("prompt_tokens"),
    ]
