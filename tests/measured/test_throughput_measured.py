"""Latency of published serving runs against the estimate: the accuracy the project promises."""

from __future__ import annotations

import pytest

from benchmarks.accuracy_throughput import accuracy_rows
from tests.shared import shared_path


@pytest.fixture(scope="module")
def lines() -> dict[str, dict[str, float]]:
    path = shared_path("reference/measured/throughput.csv")
    rows = accuracy_rows(path, shared_path("reference/measured/configs"))
    return {row["figure"]: row for row in rows}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("figure", "most"),
    [
        ("time per output token, median error", 0.11),
        ("time per output token, mean error", 0.15),
        ("time to first token, median error", 0.28),
        ("time to first token, mean error", 0.33),
    ],
)
def test_error_stays_small(lines: dict[str, dict[str, float]], figure: str, most: float) -> None:
    assert lines[figure]["value"] <= most


@pytest.mark.shared
@pytest.mark.parametrize("name", ["time per output token", "time to first token"])
def test_the_range_holds_most_runs(lines: dict[str, dict[str, float]], name: str) -> None:
    assert lines[f"{name}, inside the range"]["value"] >= 0.85


@pytest.mark.shared
def test_configurations_are_ranked_as_measured(lines: dict[str, dict[str, float]]) -> None:
    assert lines["rank correlation within a model, median"]["value"] >= 0.94
