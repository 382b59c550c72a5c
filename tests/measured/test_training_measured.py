"""The training estimator against the oracle's runs and the measured runs beside the project."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.accuracy_training import (
    is_moe,
    measured_estimates,
    oracle_estimates,
    summary,
)
from tests.shared import shared_path

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def oracle() -> pl.DataFrame:
    """Estimates beside the oracle's rows."""
    return oracle_estimates(shared_path("reference/training_oracle/oracle.csv"))


@pytest.fixture(scope="module")
def measured() -> pl.DataFrame:
    """Estimates beside the measured rows that count."""
    frame = measured_estimates(shared_path("reference/measured"))
    return frame.filter((pl.col("score") == "yes") & pl.col("error").is_not_null())


def test_dense_models_agree_with_the_oracle(oracle: pl.DataFrame) -> None:
    errors = summary(oracle.filter(~is_moe()))
    assert errors["rows"] == 328
    assert errors["mean"] <= 0.001
    assert errors["p95"] <= 0.005
    assert errors["worst"] <= 0.01


def test_experts_agree_with_the_oracle(oracle: pl.DataFrame) -> None:
    assert summary(oracle.filter(is_moe()))["p95"] <= 0.05


def test_saved_bytes_of_dense_layers_are_exact(oracle: pl.DataFrame) -> None:
    plain = oracle.filter(
        ~is_moe() & (pl.col("ckpt") == 0) & (pl.col("dtype") == "bf16") & (pl.col("mask") == "none")
    )
    error = (plain["layer_saved_bytes"] / plain["act_per_layer"] - 1).abs()
    assert error.max() <= 0.001


@pytest.mark.parametrize(
    ("several", "metrics", "median", "p95"),
    [
        (False, ["allocated"], 0.03, 0.10),
        (False, ["process", "device"], 0.06, 0.25),
        (False, ["reserved"], 0.08, 0.30),
        (True, ["allocated", "device", "reserved"], 0.08, 0.25),
    ],
)
def test_measured_runs_are_met(
    measured: pl.DataFrame, several: bool, metrics: list[str], median: float, p95: float
) -> None:
    rows = measured.filter(pl.col("metric").is_in(metrics) & ((pl.col("gpu_count") > 1) == several))
    size = rows["error"].abs()
    assert rows.height > 50
    assert size.median() <= median
    assert size.quantile(0.95) <= p95
    assert rows["inside"].mean() >= 0.9


def test_nothing_is_said_to_fit_that_was_above_a_card(measured: pl.DataFrame) -> None:
    """Every measured run against every card of the catalog."""
    from planner.catalog.load import load_catalog

    cards = load_catalog().gpus.select(card="gpu", card_bytes="usable_bytes")
    pairs = measured.select("id", "measured_gib", "total_high_bytes").join(cards, how="cross")
    wrong = pairs.filter(
        (pl.col("total_high_bytes") <= pl.col("card_bytes"))
        & (pl.col("measured_gib") * 2**30 > pl.col("card_bytes"))
    )
    assert wrong.height == 0, wrong.head(5)
