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
    return pl.max_horizontal(_left_for_cache(), 0.0)


def _left_for_cache() -> pl.Expr:
    return pl.col("budget_bytes") - (pl.col("total_bytes") - sum_items(_CACHE))


def _sequences(stored: pl.Expr) -> pl.Expr:
    """Sequences whose stored share is `stored`: a shared prefix is stored once."""
    share = pl.col("prefix_cache_share")
    alone = pl.when(share < 1).then((stored - share) / (1 - share)).otherwise(float("inf"))
    return (alone.floor() * pl.col("data_parallel_size")).clip(0)


def _pool_sequences() -> pl.Expr:
    return _sequences(_pool_room() / pl.col("room_sequence_bytes"))


def _pool_context() -> pl.Expr:
    plain = _longest(_pool_room())
    grows = pl.col("film_peak_token_bytes") > 0
    tokens = pl.when(grows).then(_context_with_films(plain)).otherwise(plain)
    return (tokens / pl.col("block")).floor() * pl.col("block")


def _longest(room: pl.Expr, extra: pl.Expr | None = None) -> pl.Expr:
    """Tokens of each stored sequence in so many bytes, of which `extra` go with each token."""
    each = pl.lit(0.0) if extra is None else extra / pl.col("stored_sequences")
    own = room / pl.col("stored_sequences") - pl.col("state_bytes")
    return longest_sequence(own, *_rates(each))


def _context_with_films(plain: pl.Expr) -> pl.Expr:
    """The longest context where a longer one lets the engine profile a longer film.

    The best of three that fit: with the film as it is, up to the next step of its frames; with a
    film that grows with the context, in its encoder and beside the text; and with the longest one.
    Steps of frames are taken as a slope, so it may be short by less than a step.
    """
    step, longest = pl.col("encoder_video_step_tokens"), pl.col("encoder_video_max_tokens")
    reserved = pl.col("encoder_video_reserved_tokens")
    same = pl.min_horizontal(plain, reserved + pl.col("film_tokens") + step - 1)
    least = pl.max_horizontal("batched_tokens", "picture_tokens", step)
    room = _left_for_cache() + sum_items(_STEP)
    sides = (
        (room - pl.col("text_peak_bytes"), pl.col("film_kept_token_bytes")),
        (room - pl.col("activation_base_bytes"), pl.col("film_peak_token_bytes")),
    )
    growing = pl.min_horizontal(
        *(_longest(left + slope * reserved, slope) for left, slope in sides),
        *(_longest(left - slope * least) for left, slope in sides),
    )
    last = pl.min_horizontal(*(_longest(left - slope * longest) for left, slope in sides))
    return pl.max_horizontal(same, growing, last, 0.0)


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
