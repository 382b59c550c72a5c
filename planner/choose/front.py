"""Cost against latency: the cells of a case that no other beats in both."""

from __future__ import annotations

from typing import Final

import polars as pl

_LATENCY_INPUTS: Final = (
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "output_tokens_mean",
    "tokens_per_second",
)
MILLISECONDS: Final = 1e3


def with_latency(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Add `latency_ms`: a whole request if its length is known, else an output token.

    At the planned concurrency, without the wait for a free place. Training: a trained token.
    """
    present = cells.collect_schema().names()
    absent = [name for name in _LATENCY_INPUTS if name not in present]
    first, token = pl.col("time_to_first_token_ms"), pl.col("time_per_output_token_ms")
    request = first + token * (pl.col("output_tokens_mean") - 1)
    trained = MILLISECONDS / pl.col("tokens_per_second")
    return (
        cells.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)
        .with_columns(
            latency_ms=pl.when(pl.col("method") == "inference")
            .then(pl.coalesce(request, token))
            .otherwise(trained)
        )
        .drop(absent)
    )


def with_front(cells: pl.LazyFrame, verdicts: list[str]) -> pl.LazyFrame:
    """Add `latency_ms` and `is_pareto`: no cell of the case is both cheaper and faster.

    Takes part what has one of the verdicts, a price within the limits and a speed; also cells
    that miss an objective, since the front shows what less latency costs. Of equal cells the
    first by cell_index is on it. Needs rank_cost_usd, verdict, price_state, cell_index.
    """
    known = pl.col("rank_cost_usd").is_not_null() & pl.col("latency_ms").is_not_null()
    allowed = pl.col("verdict").is_in(verdicts) & (pl.col("price_state") == "priced")
    timed = with_latency(cells)
    faster = pl.col("latency_ms").cum_min().shift(1).over("case_index")
    front = (
        timed.filter(known & allowed)
        .select("case_index", "cell_index", "rank_cost_usd", "latency_ms")
        .sort("case_index", "rank_cost_usd", "latency_ms", "cell_index")
        .filter(faster.is_null() | (pl.col("latency_ms") < faster))
        .select("cell_index", is_pareto=pl.lit(True))
    )
    return timed.join(front, on="cell_index", how="left", maintain_order="left").with_columns(
        pl.col("is_pareto").fill_null(False)
    )
