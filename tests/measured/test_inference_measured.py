"""Accuracy on measured inference runs: what the planner promises, engine by engine."""

from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from planner.verify.run import verify_file
from planner.verify.score import confusion, summary
from tests.shared import shared_path

pytestmark = pytest.mark.shared


@cache
def rows(path: Path, configs: Path) -> pl.DataFrame:
    return verify_file(path, models=configs).rows


def measured() -> pl.DataFrame:
    path = shared_path("reference/measured/inference.csv")
    return rows(path, path.parent / "configs").filter("scored")


def line(engine: str, component: str) -> dict[str, Any]:
    lines = summary(measured()).filter(pl.col("engine") == engine, pl.col("component") == component)
    return lines.to_dicts()[0]


def test_weights_of_vllm() -> None:
    found = line("vllm", "weights_gib")
    assert found["rows"] >= 70
    assert found["median_error"] <= 0.005
    assert found["inside"] >= 0.9


def test_kv_pool_of_vllm() -> None:
    found = line("vllm", "kv_cache_gib")
    assert found["median_error"] <= 0.015
    recent = measured().filter(
        pl.col("engine_version") == "0.19.0", pl.col("component") == "kv_cache_gib"
    )
    error = (recent["expected"] / recent["measured"] - 1).abs()
    assert error.quantile(0.95) <= 0.05


def test_tokens_of_a_pool_follow_from_its_bytes() -> None:
    """Bytes per token as engines print them: pool size over tokens, no hybrid caches aside."""
    wide = (
        measured()
        .filter(pl.col("engine") == "vllm", pl.col("engine_version") == "0.19.0")
        .pivot("component", index="id", values=["measured", "expected"])
        .drop_nulls(["measured_kv_cache_tokens", "expected_kv_cache_tokens"])
    )
    ours = wide["expected_kv_cache_gib"] / wide["expected_kv_cache_tokens"]
    printed = wide["measured_kv_cache_gib"] / wide["measured_kv_cache_tokens"]
    assert len(wide) >= 45
    assert (ours / printed - 1).abs().quantile(0.9) < 0.002


def test_activation_peaks_of_vllm_where_the_sequences_are_given() -> None:
    given = measured().filter(
        pl.col("component") == "activation_peak_gib", pl.col("engine_version") == "0.19.0"
    )
    error = (given["expected"] / given["measured"] - 1).abs()
    assert error.median() <= 0.05
    assert given.select(pl.col("measured").is_between("low", "high").mean()).item() >= 0.9


def test_totals_of_transformers() -> None:
    found = line("transformers", "total_gib")
    assert found["median_error"] <= 0.01
    assert found["p95_error"] <= 0.05
    assert found["inside"] >= 0.9


def test_cache_of_llama_cpp() -> None:
    found = line("llama.cpp", "kv_cache_gib")
    assert found["worst_error"] <= 0.001
    assert line("ik_llama.cpp", "kv_cache_gib")["median_error"] <= 0.001


def test_ranges_of_vllm_stay_narrow() -> None:
    for component in ("weights_gib", "activation_peak_gib", "kv_cache_gib"):
        assert line("vllm", component)["width"] <= 0.2


def test_no_run_that_ran_is_called_impossible() -> None:
    counts = confusion(measured())
    assert counts["exceeds_but_ran"] == 0
    assert counts["fits_but_above_card"] == 0
    assert counts["fits_and_ran"] > 50


def test_every_row_without_an_estimate_says_why() -> None:
    missing = measured().filter(pl.col("expected").is_null())
    assert missing["reason"].null_count() == 0
