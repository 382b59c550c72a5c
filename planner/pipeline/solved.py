"""What was solved for, and why nothing fits where the answer is zero."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.plan import COMPONENTS
from planner.units import BYTES_PER_GIB

SOLVED: Final = {
    "context_tokens": ("max_context_tokens", "concurrent_sequences"),
    "concurrent_sequences": ("max_concurrent_sequences", "context_tokens"),
}
"""What can be solved for: the column of the answer, and what it is solved at."""
BOUND: Final = "expected"
"""Bytes that the solves count: those of the verdict `tight`; `fits` takes the high end."""
_CACHES: Final = ("kv_cache", "recurrent_state")


def solved_columns(wanted: str) -> list[pl.Expr]:
    """The answer in whole numbers, the bytes it counts (`bound`), and a `reason` of no answer.

    `wanted` is a key of SOLVED. Needs the decided cells of `planner.pipeline.decide`.
    """
    answer, _ = SOLVED[wanted]
    value = pl.col(answer).clip(lower_bound=0).floor().cast(pl.Int64)
    sized = pl.col("verdict").is_in(["fits", "tight", "exceeds"])
    none = pl.lit("nothing that is kept grows with it: no limit")
    return [
        value.alias(answer),
        pl.lit(BOUND).alias("bound"),
        pl.when(value.is_null())
        .then(pl.when(sized).then(none).otherwise("reason"))
        .when(value < 1)
        .then(_nothing_fits(wanted))
        .alias("reason"),
    ]


def _nothing_fits(wanted: str) -> pl.Expr:
    """Which part of the memory leaves no room: the weights, all that is fixed, or one sequence."""
    weights, budget = pl.col("weights_part_bytes"), pl.col("budget_bytes")
    other = [
        pl.col(f"{name}_part_bytes").fill_null(0.0) for name in COMPONENTS if name not in _CACHES
    ]
    beside = pl.sum_horizontal(other)
    least = {
        "context_tokens": pl.format(
            "no context is short enough for {} sequences",
            pl.col("concurrent_sequences").fill_null(1),
        ),
        "concurrent_sequences": pl.concat_str(
            pl.lit("not one sequence"),
            pl.format(" of {} tokens", "context_tokens"),
            pl.lit(" fits"),
            ignore_nulls=True,
        ),
    }
    return (
        pl.when(weights > budget)
        .then(
            pl.format(
                "the weights alone take {} GiB of a budget of {} GiB", _gib(weights), _gib(budget)
            )
        )
        .when(beside >= budget)
        .then(
            pl.format(
                "weights, working memory and overhead take {} GiB of a budget of {} GiB",
                _gib(beside),
                _gib(budget),
            )
        )
        .otherwise(least[wanted])
    )


def _gib(size: pl.Expr) -> pl.Expr:
    return (size / BYTES_PER_GIB).round(2)
