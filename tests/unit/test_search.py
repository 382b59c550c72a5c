"""The search for the largest number that fits, against counting."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.estimate.search import HIGH, LOW, PROBE, ROW, largest_that_fits


def fits(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select(ROW, PROBE, fits=pl.col(PROBE) <= pl.col("limit"))


def found(rows: list[tuple[int, int, int]]) -> list[int | None]:
    frame = pl.DataFrame(rows, schema=[LOW, HIGH, "limit"], orient="row")
    return largest_that_fits(frame, fits).to_list()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 2**24), st.integers(0, 2**25)), min_size=1
    )
)
def test_the_largest_number_that_fits_is_found_in_every_row(
    rows: list[tuple[int, int, int]],
) -> None:
    expected = [min(high, limit) if low < min(high, limit) else None for low, high, limit in rows]
    assert found(rows) == expected


def test_no_rows_have_no_answers() -> None:
    frame = pl.DataFrame(schema={LOW: pl.Int64, HIGH: pl.Int64, "limit": pl.Int64})
    assert largest_that_fits(frame, fits).to_list() == []


def test_the_answer_is_an_edge_where_sizes_do_not_grow_everywhere() -> None:
    def waves(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select(ROW, PROBE, fits=(pl.col(PROBE) % 100) < 50)

    frame = pl.DataFrame({LOW: [0], HIGH: [99_999]})
    (answer,) = largest_that_fits(frame, waves).to_list()
    assert answer % 100 == 49
