"""Constants fitted without a group of runs, and their error on it."""

import polars as pl
import pytest

from benchmarks.accuracy_holdout import Parts


def parts(measured: list[float]) -> Parts:
    count = len(measured)
    rows = pl.DataFrame(
        {
            "measured": measured,
            "expected": [10.0] * count,
            "part_base": [4.0] * count,
            "part_small": [0.1] * count,
        }
    )
    return Parts(rows, ("base", "small"))


def test_a_constant_is_fitted_on_the_other_runs_only() -> None:
    case = parts([12.0, 12.0, 12.0, 20.0])  # the last run would need a base of 14, not of 6
    fitted = case.fitted(pl.Series([True, True, True, False]))
    assert fitted["fitted"].to_list() == pytest.approx([12.0] * 4)


def test_a_constant_stays_where_few_runs_show_it() -> None:
    assert parts([12.0, 12.0]).fitted(pl.Series([True, True]))["fitted"].to_list() == [10.0, 10.0]


def test_a_small_part_moves_nothing() -> None:
    case = parts([10.05, 10.05, 10.05])
    only_small = Parts(case.rows, ("small",))
    assert only_small.fitted(pl.Series([True] * 3))["fitted"].to_list() == [10.0] * 3
