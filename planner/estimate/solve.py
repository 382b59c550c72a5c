"""The two solves on the column: most sequences at a context, longest context at a load.

Both count expected bytes, as the verdict `tight` does: at the answer a cell holds what is expected
of it, and may be short at the high end of the range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from planner.estimate.inference.encoder import films_grow
from planner.estimate.inference.pool import begun_pages, is_grouped, page_bytes, paged_rates
from planner.estimate.kv_cache import longest_sequence
from planner.estimate.ledger import sum_items
from planner.estimate.search import HIGH, LOW, PROBE, ROW, largest_that_fits

SOLVED: Final = ("max_concurrent_sequences", "max_context_tokens")
LONGEST: Final = 2**24
"""Tokens tried for models without a longest context; what still fits there has no limit."""
MOST_SEQUENCES: Final = 2**20
_CACHE: Final = ("kv_cache", "recurrent_state")
CELL: Final = "solved_cell"
_FOUND: Final = tuple(f"searched_{name}" for name in SOLVED)
_SOLVES: Final = "solved_for"
_FEW_SEQUENCES: Final = 8
"""Whose steps may be capped by contexts of 1,024 tokens and more (8,192 tokens a step)."""
_IS_CONTEXT: Final = pl.col(_SOLVES) == SOLVED[1]
Ledger = Callable[[pl.LazyFrame], pl.LazyFrame]


def closed_columns() -> list[pl.Expr]:
    """`max_concurrent_sequences` per replica, `max_context_tokens`: null without a closed form.

    Engines with a pool: what the pool holds. Null where more than the cache grows with the context
    or the load; see with_searched. 0 where nothing fits.
    """
    pooled = pl.col("is_pooled") > 0
    return [
        pl.when(pooled).then(pl.max_horizontal(_pool_sequences(), 0.0)).alias(SOLVED[0]),
        pl.when(~is_open())
        .then(pl.min_horizontal(_pool_context(), _longest_of_model()))
        .alias(SOLVED[1]),
    ]


def is_open() -> pl.Expr:
    """Whether a run has a solve without closed form: more than the cache grows with the context.

    Reads prepared cells: engines without a pool, steps that follow the context or are capped by
    it, latents that are expanded while profiling, workspaces of sparse attention, longer films.
    """
    latents = pl.col("has_mla") & (
        (pl.col("expands_latent_chunk_tokens") > 0) | (pl.col("sparse_workspace_contexts") > 0)
    )
    return pl.any_horizontal(
        reason.fill_null(False)
        for reason in (
            pl.col("is_pooled") == 0,
            _follows_context(),
            _is_capped_by_context(),
            latents,
            films_grow(),
        )
    )


def _is_capped_by_context() -> pl.Expr:
    """Whether so few sequences are served that a short context makes their step shorter."""
    capped = (pl.col("caps_batched_tokens") > 0) & pl.col("max_num_batched_tokens").is_null()
    binds = pl.col("batched_tokens") >= pl.col("step_sequences") * pl.col("room_tokens")
    return capped & (binds | (pl.col("step_sequences") < _FEW_SEQUENCES))


def with_searched(cells: pl.LazyFrame, runs: pl.LazyFrame, ledger: Ledger) -> pl.LazyFrame:
    """Fills the solves that have no closed form: the largest value at which `ledger` finds room.

    `cells` are estimates with `CELL`; `runs` the same cells before, prepared, of which those with
    is_open are searched. `ledger` makes `total_bytes` and `budget_bytes` of prepared cells.
    """
    answers = runs.filter(is_open()).map_batches(
        lambda frame: _answers(frame, ledger),
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
        schema={CELL: pl.UInt32} | dict.fromkeys(_FOUND, pl.Float64),
    )
    return (
        cells.join(answers, on=CELL, how="left", maintain_order="left")
        .with_columns(
            pl.coalesce(name, found).alias(name) for name, found in zip(SOLVED, _FOUND, strict=True)
        )
        .drop(_FOUND)
    )


def _longest_of_model() -> pl.Expr:
    return pl.col("max_position_embeddings").cast(pl.Float64)


def _follows_context() -> pl.Expr:
    """Whether a longer context makes a pooled engine work on more tokens in a step."""
    follows = pl.col("batched_tokens_follow_context") > 0
    return (follows & pl.col("max_num_batched_tokens").is_null()).fill_null(False)


def _answers(runs: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """The solves of each run, by `CELL`."""
    cells = ledger(runs.lazy()).with_columns(*closed_columns()).collect(engine="in-memory")
    rows = _open_solves(cells)

    def fits(probes: pl.LazyFrame) -> pl.LazyFrame:
        return ledger(probes.with_columns(*_tried())).select(
            ROW, PROBE, fits=pl.col("total_bytes") <= pl.col("budget_bytes")
        )

    found = pl.col("found").fill_null(0).cast(pl.Float64)
    unbound = pl.col("found") == pl.when(_IS_CONTEXT).then(LONGEST).otherwise(MOST_SEQUENCES)
    ranks = pl.when(_IS_CONTEXT).then(1).otherwise("data_parallel_size")
    answer = pl.when(unbound).then(float("inf")).otherwise(found * ranks)
    return (
        rows.with_columns(found=largest_that_fits(rows, fits))
        .group_by(CELL)
        .agg(
            answer.filter(pl.col(_SOLVES) == name).max().alias(column)
            for name, column in zip(SOLVED, _FOUND, strict=True)
        )
    )


def _open_solves(cells: pl.DataFrame) -> pl.DataFrame:
    """A row for each solve without a closed form, with the values to search between.

    A context where a step follows it up to a limit is searched below and above that limit.
    """
    known = pl.col("total_bytes").is_not_null() & pl.col("total_bytes").is_not_nan()
    rows = cells.filter(known & pl.col("budget_bytes").is_not_null()).with_columns(
        pl.lit(0, pl.Int64).alias(LOW)
    )
    longest = pl.col("max_position_embeddings").fill_null(LONGEST).cast(pl.Int64)
    limit = pl.col("follow_context_limit_tokens").cast(pl.Int64)
    turn = pl.when(_follows_context() & limit.is_between(1, longest - 1)).then(limit)
    context = rows.filter(pl.col(SOLVED[1]).is_null()).with_columns(
        pl.lit(SOLVED[1]).alias(_SOLVES), pl.coalesce(turn, longest).alias(HIGH)
    )
    beyond = context.filter(turn.is_not_null()).with_columns(turn.alias(LOW), longest.alias(HIGH))
    load = rows.filter(pl.col(SOLVED[0]).is_null()).with_columns(
        pl.lit(SOLVED[0]).alias(_SOLVES), pl.lit(MOST_SEQUENCES, pl.Int64).alias(HIGH)
    )
    return pl.concat([context, beyond, load])


def _tried() -> list[pl.Expr]:
    """The asked context or load replaced by what is tried."""
    load = pl.col(PROBE) * pl.col("data_parallel_size")
    return [
        pl.when(_IS_CONTEXT).then(PROBE).otherwise("context_tokens").alias("context_tokens"),
        pl.when(_IS_CONTEXT)
        .then("concurrent_sequences")
        .otherwise(load)
        .alias("concurrent_sequences"),
    ]


def _pool_room() -> pl.Expr:
    """Bytes the cache may take: the pool, less what headroom forbids."""
    return pl.max_horizontal(_left_for_cache(), 0.0)


def _left_for_cache() -> pl.Expr:
    return pl.col("budget_bytes") - (pl.col("total_bytes") - sum_items(_CACHE))


def _pool_sequences() -> pl.Expr:
    """Sequences that the pool holds: a shared prefix is stored once, constant state by each."""
    share, state = pl.col("prefix_cache_share"), pl.col("state_bytes")
    cached = pl.col("room_sequence_bytes") - state
    each = (1 - share) * cached + state
    alone = (_pool_room() - share * cached) / each
    most = pl.when(each > 0).then(alone).otherwise(float("inf"))
    return (most.floor() * pl.col("data_parallel_size")).clip(0)


def _pool_context() -> pl.Expr:
    ratios = pl.col("global_page_ratio") * pl.col("local_page_ratio")
    step = pl.col("block") * pl.when(is_grouped()).then(ratios).otherwise(1.0)
    return (_longest(_pool_room()) / step).floor() * step


def _longest(room: pl.Expr) -> pl.Expr:
    """Tokens of each stored sequence in so many bytes."""
    own = (room - pl.col("state_bytes") * pl.col("sequences")) / pl.col("stored_sequences")
    own -= pl.when(is_grouped()).then(begun_pages() * page_bytes()).otherwise(0.0)
    in_global, in_local, window = paged_rates()
    return longest_sequence(own, in_global, in_local, window)
