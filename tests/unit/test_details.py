"""Formulas of the ledger in words: only what applies, with numbers that can be read."""

from typing import Any

import pytest

from planner.estimate.ledger import Term
from planner.pipeline.details import _applying, _number, _substituted

TERM = Term(
    "weights",
    "weights",
    "{held} held[ - {host} on the host][ + {draft}]",
    ("held", "host", "draft"),
    "",
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"held": 5.0, "host": 0.0, "draft": None}, "5 held"),
        ({"held": 5.0, "host": 2.0, "draft": None}, "5 held - 2 on the host"),
        ({"held": 0.0, "host": 2.0, "draft": "small"}, "0 held - 2 on the host + small"),
    ],
)
def test_parts_of_nothing_are_left_out_of_a_formula(row: dict[str, Any], expected: str) -> None:
    assert _substituted(TERM, row) == expected
    assert "[" not in _applying(TERM, row)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5_097_040_000.5, "5,097,040,000"), (0.25, "0.25"), (1e6, "1,000,000"), (None, "n/a")],
)
def test_large_numbers_are_written_out(value: float | None, expected: str) -> None:
    assert _number(value) == expected
