"""What must hold of every speed estimate, whatever the cell."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.estimate.demand import with_demand
from planner.estimate.speed import with_speed
from planner.estimate.speed.model import SPEED_COLUMNS
from tests.speed_tables import cells, speed_tables

TABLES = speed_tables()
CELL = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["dense", "experts"]),
        "weight_format": st.sampled_from(["bf16", "fp8", "nvfp4", "awq-int4-g128"]),
        "gpu": st.sampled_from(["h100-sxm-80gb", "b200-sxm-180gb", "l4-24gb", "mi300x-192gb"]),
        "engine": st.sampled_from(["vllm", "sglang", "trtllm", "something"]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8"]),
        "concurrent_sequences": st.integers(1, 512),
        "input_tokens": st.floats(1, 100_000),
        "output_tokens": st.floats(1, 20_000),
        "tensor_parallel_size": st.sampled_from([1, 2, 4, 8]),
        "pipeline_parallel_size": st.sampled_from([1, 2]),
        "data_parallel_size": st.sampled_from([1, 2, 4]),
        "prefix_cache_share": st.floats(0, 1),
        "speculative_tokens": st.sampled_from([0.0, 3.0]),
    }
)
FAST = settings(max_examples=60, deadline=None)


def speed(cell: dict[str, Any]) -> dict[str, Any]:
    """The one row of an estimate."""
    return with_speed(cells(**cell), TABLES).collect(engine="in-memory").row(0, named=True)


@FAST
@given(cell=CELL)
def test_figures_are_positive_finite_and_inside_their_range(cell: dict[str, Any]) -> None:
    got = speed(cell)
    if cell["prefix_cache_share"] < 1:
        assert all(0 < got[name] < 1e12 for name in SPEED_COLUMNS)
    for name in ("time_to_first_token", "time_per_output_token"):
        assert got[f"{name}_low_ms"] <= got[f"{name}_ms"] <= got[f"{name}_high_ms"]
    assert got["tokens_per_second_low"] <= got["tokens_per_second"] <= got["tokens_per_second_high"]


@FAST
@given(cell=CELL, more=st.integers(1, 64))
def test_more_sequences_never_shorten_anyone_s_wait(cell: dict[str, Any], more: int) -> None:
    few = speed(cell)
    many = speed(cell | {"concurrent_sequences": cell["concurrent_sequences"] + more})
    assert many["time_per_output_token_ms"] >= few["time_per_output_token_ms"] * (1 - 1e-9)
    assert many["time_to_first_token_ms"] >= few["time_to_first_token_ms"] * (1 - 1e-9)


@FAST
@given(cell=CELL, factor=st.floats(1.0, 4.0))
def test_a_longer_prompt_never_takes_less_time(cell: dict[str, Any], factor: float) -> None:
    short = speed(cell)
    long = speed(cell | {"input_tokens": cell["input_tokens"] * factor})
    assert long["time_to_first_token_ms"] >= short["time_to_first_token_ms"] * (1 - 1e-9)
    assert long["time_per_output_token_ms"] >= short["time_per_output_token_ms"] * (1 - 1e-9)


@FAST
@given(cell=CELL, factor=st.floats(1.0, 4.0))
def test_more_bandwidth_never_slows_decode(cell: dict[str, Any], factor: float) -> None:
    name = "memory_bandwidth_bytes_per_second"
    slow = speed(cell)
    faster = speed_with(cell, TABLES.gpus.with_columns(pl.col(name) * factor))
    assert faster["time_per_output_token_ms"] <= slow["time_per_output_token_ms"] * (1 + 1e-9)


def speed_with(cell: dict[str, Any], gpus: pl.LazyFrame) -> dict[str, Any]:
    """The estimate with other GPUs."""
    from dataclasses import replace

    return (
        with_speed(cells(**cell), replace(TABLES, gpus=gpus))
        .collect(engine="in-memory")
        .row(0, named=True)
    )


@FAST
@given(
    rate=st.floats(0.001, 1000),
    target=st.floats(0.05, 0.99),
    places=st.integers(1, 256),
    tokens=st.floats(1, 1e5),
    peak=st.floats(1, 10),
)
def test_replicas_carry_the_load_within_the_target(
    rate: float, target: float, places: int, tokens: float, peak: float
) -> None:
    frame = pl.LazyFrame(
        {
            "requests_per_second": [rate],
            "peak_factor": [peak],
            "target_utilisation": [target],
            "concurrent_sequences": [places],
            "output_tokens_mean": [200.0],
            "tokens_per_second": [tokens],
            "time_to_first_token_ms": [50.0],
            "time_per_output_token_ms": [10.0],
            "end_to_end_ms": [2050.0],
        }
    )
    got = with_demand(frame).collect(engine="in-memory").row(0, named=True)
    assert got["replicas"] >= 1
    assert got["replica_utilization"] <= target * (1 + 1e-9)
    assert got["replicas"] == 1 or got["replica_utilization"] * got["replicas"] > target * (
        got["replicas"] - 1
    ) * (1 - 1e-9)
