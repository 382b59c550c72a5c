"""The largest whole number that fits, for every row of a frame at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

PROBES: Final = 65_536
"""Values tried in one round over all rows: few rounds for few rows, halving for very many."""
_MOST_PROBES: Final = 1_023
ROW: Final = "search_row"
PROBE: Final = "search_probe"
LOW: Final = "search_low"
HIGH: Final = "search_high"


def largest_that_fits(
    rows: pl.DataFrame, fits: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> pl.Series:
    """The largest whole number from LOW + 1 to HIGH that fits; null where none of them does.

    `rows` has the columns LOW and HIGH (Int64) and whatever `fits` reads. `fits` gets rows with
    the number to try in PROBE and answers with its ROW, PROBE and a boolean `fits`. Each round
    divides what is still open between the largest number known to fit and the least one above it
    known not to, so the answer fits and the next number does not, even where sizes do not grow
    everywhere.
    """
    listed = rows.with_row_index(ROW)
    ends = listed.select(ROW, least=LOW, low=LOW, high=pl.col(HIGH) + 1)
    while True:
        active = ends.filter(pl.col("high") - pl.col("low") > 1)
        if not active.height:
            break
        wanted = _probes(active)
        found = fits(listed.lazy().join(wanted.lazy(), on=ROW)).collect(engine="in-memory")
        ends = _narrowed(ends, found)
    return (
        ends.sort(ROW)
        .select(pl.when(pl.col("low") > pl.col("least")).then(pl.col("low")))
        .to_series()
    )


def _probes(active: pl.DataFrame) -> pl.DataFrame:
    """Evenly spaced numbers strictly between the ends of each row."""
    count = max(1, min(_MOST_PROBES, PROBES // active.height))
    steps = pl.DataFrame({"step": range(1, count + 1)}, schema={"step": pl.Int64})
    gap = pl.col("high") - pl.col("low")
    even = pl.col("low") + pl.max_horizontal(gap * pl.col("step") // (count + 1), 1)
    return active.join(steps, how="cross").select(ROW, even.alias(PROBE)).unique()


def _narrowed(ends: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    best = (
        found.filter(pl.col("fits").fill_null(False)).group_by(ROW).agg(pl.col(PROBE).max())
    ).rename({PROBE: "best"})
    joined = ends.join(best, on=ROW, how="left").with_columns(low=pl.max_horizontal("low", "best"))
    over = (
        found.filter(~pl.col("fits").fill_null(False))
        .join(joined.select(ROW, "low"), on=ROW)
        .filter(pl.col(PROBE) > pl.col("low"))
        .group_by(ROW)
        .agg(pl.col(PROBE).min().alias("over"))
    )
    return joined.join(over, on=ROW, how="left").select(
        ROW, "least", "low", high=pl.min_horizontal("high", "over")
    )
