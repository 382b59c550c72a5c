"""The fit of the speed constants, on runs that the model itself made with other constants."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.fit_speed import (
    Runs,
    fitted,
    points,
    predicted,
    runs_of,
    unknowns,
    written,
)
from planner.estimate.speed import with_speed
from planner.resolve.speed import SPEED_FILE, load_constants, shipped_constants
from tests.speed_tables import speed_tables

TRUTH = {"kernel_us": 9.0, "cache_bandwidth_fraction": 0.35, "first_token_ms": 60.0}


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Runs of a world in which kernels, caches and request handling are slower than assumed."""
    gpus = ["h100-sxm-80gb", "b200-sxm-180gb"]
    axes = itertools.product(["dense", "experts"], gpus, [1, 2, 4, 8], [1, 8, 64], [1024, 8192])
    cells = pl.LazyFrame(
        list(axes),
        schema=["model", "gpu", "tensor_parallel_size", "concurrent_sequences", "input_tokens"],
        orient="row",
    ).with_columns(engine=pl.lit("vllm"), weight_format=pl.lit("bf16"), output_tokens=1024)
    made = with_speed(cells, speed_tables(**TRUTH)).rename(
        {"time_per_output_token_ms": "tpot_ms", "time_to_first_token_ms": "ttft_ms"}
    )
    return runs_of(made, speed_tables(), shipped_constants())


def test_the_fit_finds_back_what_made_the_runs(runs: Runs) -> None:
    wanted = [one for one in unknowns(shipped_constants()) if one.scope not in ("sglang",)]
    every = np.arange(len(runs.log_ms))
    prior = np.array([[one.prior for one in wanted]])
    logs, _ = fitted(runs, wanted, every)
    before = np.abs(np.expm1(predicted(runs, wanted, prior, every)[0] - runs.log_ms)).mean(axis=0)
    after = np.abs(np.expm1(predicted(runs, wanted, logs[None], every)[0] - runs.log_ms)).mean(
        axis=0
    )
    assert (before > 0.2).all()
    assert (after < before / 3).all()
    found = {
        (one.name, one.scope): float(np.exp(log)) for one, log in zip(wanted, logs, strict=True)
    }
    # A hundred runs count as eight: they pull, and the prior of 0.6 holds against them.
    assert found["cache_bandwidth_fraction", "hopper"] < 0.56
    assert found["kernel_us", "hopper"] > 5.5


def test_what_the_runs_say_nothing_about_keeps_its_prior(runs: Runs) -> None:
    wanted = unknowns(shipped_constants())
    logs, errors = fitted(runs, wanted, np.arange(len(runs.log_ms)))
    silent = [
        index
        for index, (one, count) in enumerate(zip(wanted, points(runs, wanted, logs), strict=True))
        if one.scope in ("sglang", "tensorrt-llm")
        or one.name in ("kernels_latent", "kernels_recurrent", "balance_steps")
        if count == 0
    ]
    assert len(silent) > 10
    for index in silent:
        assert logs[index] == pytest.approx(wanted[index].prior)
        assert errors[index] == pytest.approx(wanted[index].spread)


def test_the_shipped_file_is_what_the_fit_writes(tmp_path: Path) -> None:
    text = SPEED_FILE.read_text("utf-8")
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    copy = tmp_path / "speed.yaml"
    copy.write_text(written(head, load_constants(SPEED_FILE)), "utf-8")
    assert copy.read_text("utf-8") == text
    assert load_constants(copy) == shipped_constants()
