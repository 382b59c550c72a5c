"""Settings that a run leaves to the engine, by card and version, and the tokens of its step."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import encoder
from planner.estimate.kv_cache import element_bytes
from planner.resolve.engine_cards import of_tier
from planner.units import BYTES_PER_GIB, BYTES_PER_MIB

_MANY_RANKS: Final = 4
"""Tensor-parallel ranks from which engines capture larger batches on the same card."""
_FAST_LINK_BYTES_PER_SECOND: Final = 2.0e11
"""Above what PCIe reaches (5.0 x16: 128 GB/s both ways): NVLink, Infinity Fabric and the like."""


def settle(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Settings that were left to the engine, and the tokens of its step, from inputs and facts.

    Cells that went through it may do so again with another context or load.
    """
    return (
        cells.with_columns(*_defaults())
        .with_columns(*encoder.film_columns())
        .with_columns(*_steps(), *encoder.item_columns())
    )


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
        element_bytes(_cache_type(), own).alias("cache_element_bytes"),
        pl.max_horizontal(own * pl.col("element_bytes") / 2.0, pl.col("element_bytes")).alias(
            "activation_element_bytes"
        ),
        (
            pl.col("interconnect_bytes_per_second").fill_null(_FAST_LINK_BYTES_PER_SECOND * 2)
            > _FAST_LINK_BYTES_PER_SECOND
        ).alias("has_fast_link"),
    ]


def _cache_type() -> pl.Expr:
    """The cache's type as the engine stores it: llama.cpp's 8 and 4 bits are blocks with scales."""
    named = pl.col("kv_cache_dtype")
    of_blocks = named.replace({"int8": "q8_0", "int4": "q4_0"})
    return pl.when(pl.col("places_layers_by_count") > 0).then(of_blocks).otherwise(named)


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
    drafts = pl.col("draft_model").is_not_null()
    return pl.col("has_towers") | windows | pl.col("has_adapters") | drafts


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
