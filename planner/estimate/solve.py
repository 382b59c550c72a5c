"""The two solves on the column: most sequences at a context, longest context at a load."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.kv_cache import longest_sequence
from planner.estimate.ledger import sum_items

_CACHE: Final = ("kv_cache", "recurrent_state")
_STEP: Final = ("activations", "logits")


def solve_columns() -> list[pl.Expr]:
    """`max_concurrent_sequences` per replica and `max_context_tokens`, both in closed form.

    Engines with a pool: what the pool holds. Others: what is left of the card in the prefill (the
    working set grows with each sequence and token) and at the last decode step, the smaller one.
    """
    pooled = pl.col("is_pooled") > 0
    return [
        pl.max_horizontal(
            pl.when(pooled).then(_pool_sequences()).otherwise(_card_sequences()), 0.0
        ).alias("max_concurrent_sequences"),
        pl.min_horizontal(
            pl.when(pooled).then(_pool_context()).otherwise(_card_context()),
            pl.col("max_position_embeddings").cast(pl.Float64),
        ).alias("max_context_tokens"),
    ]


def _pool_room() -> pl.Expr:
    """Bytes the cache may take: the pool, less what headroom forbids."""
    beside = pl.col("total_bytes") - sum_items(_CACHE)
    return pl.max_horizontal(pl.col("budget_bytes") - beside, 0.0)


def _sequences(stored: pl.Expr) -> pl.Expr:
    """Sequences whose stored share is `stored`: a shared prefix is stored once."""
    share = pl.col("prefix_cache_share")
    alone = pl.when(share < 1).then((stored - share) / (1 - share)).otherwise(float("inf"))
    return (alone.floor() * pl.col("data_parallel_size")).clip(0)


def _pool_sequences() -> pl.Expr:
    return _sequences(_pool_room() / pl.col("room_sequence_bytes"))


def _pool_context() -> pl.Expr:
    room = _pool_room() / pl.col("stored_sequences") - pl.col("state_bytes")
    tokens = longest_sequence(room, *_rates(pl.lit(0.0)))
    return (tokens / pl.col("block")).floor() * pl.col("block")


def _rates(extra: pl.Expr) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    return pl.col("global_token_bytes") + extra, pl.col("local_token_bytes"), pl.col("window")


def _card_room() -> pl.Expr:
    """Bytes left of the card for what grows: without weights, context, and the reserve on top."""
    reserve = 1 + pl.col("allocator_reserve_share")
    fixed = sum_items(("cuda_context", "cuda_graphs", "communication", "workspace"))
    still = sum_items(("weights", "adapter")) + pl.col("fixed_bytes")
    holes = pl.col("quantising_reserve_bytes")
    return (pl.col("budget_bytes") - fixed - holes) / reserve - still


def _step_per_sequence() -> pl.Expr:
    step = pl.col("step_activations_expected") + pl.col("step_logits_expected")
    return pl.max_horizontal(step - pl.col("fixed_bytes"), 0.0) / pl.col("sequences")


def _card_sequences() -> pl.Expr:
    prefill = _card_room() / (pl.col("prompt_sequence_bytes") + _step_per_sequence())
    decode = _card_room() / pl.col("room_sequence_bytes")
    return _sequences(pl.min_horizontal(prefill, decode))


def _card_context() -> pl.Expr:
    per_sequence = _card_room() / pl.col("stored_sequences") - pl.col("state_bytes")
    per_token = _step_per_sequence() / pl.col("prompt_tokens")
    prefill = longest_sequence(per_sequence, *_rates(per_token)) + pl.col(
        "output_tokens"
    ).fill_null(0)
    return pl.min_horizontal(prefill, longest_sequence(per_sequence, *_rates(pl.lit(0.0)))).floor()
