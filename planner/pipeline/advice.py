"""What would make a cell fit, in words: changes of the run, or the lengths that still fit."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.training.advice import ORIGIN, advise
from planner.pipeline.context import Context
from planner.pipeline.decide import placements
from planner.units import BYTES_PER_GIB

ADVISED_CELLS: Final = 5_000
"""Training cells that get advice at most: each is estimated again with every change."""
_SHOWN_CHANGES: Final = 3
_KEYS: Final = ("case_index", "configuration_index", "method")
_SHORT: Final = ("exceeds", "tight")


def advice_words(context: Context, cells: pl.DataFrame) -> list[str | None]:
    """One text per cell that exceeds or is tight, None for the others, in the order of `cells`.

    Needs case_index, configuration_index, method, verdict, context_tokens,
    concurrent_sequences, max_context_tokens and max_concurrent_sequences.
    """
    short = pl.col("verdict").is_in(_SHORT)
    serving = cells.select(
        pl.when(short & (pl.col("method") == "inference")).then(_serving_words())
    ).to_series()
    if context.settings.estimator != "architecture":
        return [None] * cells.height
    trained = _training_words(context, cells.filter(short & (pl.col("method") != "inference")))
    return [
        text or trained.get((case, configuration)) if method != "inference" else text
        for text, case, configuration, method in zip(
            serving, *(cells[name] for name in _KEYS), strict=True
        )
    ]


def _serving_words() -> pl.Expr:
    context, sequences = pl.col("max_context_tokens"), pl.col("max_concurrent_sequences")
    shorter = pl.when(context.is_between(1, pl.col("context_tokens"), closed="left")).then(
        pl.format("{} tokens of context at this concurrency", context.floor().cast(pl.Int64))
    )
    fewer = pl.when(sequences.is_between(1, pl.col("concurrent_sequences"), closed="left")).then(
        pl.format("{} sequences at this context", sequences.floor().cast(pl.Int64))
    )
    either = pl.concat_str(shorter, fewer, separator=", or with ", ignore_nulls=True)
    return (
        pl.when(either.str.len_chars() > 0)
        .then(pl.format("fits with {}", either))
        .when(pl.col("verdict") == "exceeds")
        .then(pl.lit("no room is left for a cache: a smaller weight format or more GPUs"))
    )


def _training_words(context: Context, short: pl.DataFrame) -> dict[tuple[int, int], str]:
    if not short.height:
        return {}
    wanted = short.select(_KEYS).unique(maintain_order=True).head(ADVISED_CELLS)
    inputs = pl.concat(
        [
            frame.collect(engine="in-memory")
            for serves, frames in placements(context, wanted)
            if not serves
            for frame in frames
        ],
        how="vertical_relaxed",
    )
    found = (
        advise(inputs.lazy(), context.tables)
        .with_columns(gib=(pl.col("total_bytes") / BYTES_PER_GIB).round(1))
        .group_by(ORIGIN, maintain_order=True)
        .agg(
            pl.format("{} ({} GiB)", "change", "gib").drop_nulls().head(_SHOWN_CHANGES),
            pl.col("gib").min().alias("least"),
        )
        .collect(engine="in-memory")
    )
    places = inputs.select("case_index", "configuration_index").rows()
    return {
        places[origin]: (
            f"fits after one of: {'; '.join(changes)}"
            if changes
            else f"no single change is enough: the least reached is {least} GiB"
        )
        for origin, changes, least in found.iter_rows()
    }
