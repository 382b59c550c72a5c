"""Replicas and waiting: against textbook queues and against simulated ones."""

from __future__ import annotations

import heapq
import math
import random
from typing import Any

import polars as pl
import pytest

from planner.estimate.demand import log_normal_variation, with_demand

PLACES = 16
OUTPUT = 300.0
TOKEN_MS = 10.0
FIRST_MS = 200.0
SERVICE = (FIRST_MS + (OUTPUT - 1) * TOKEN_MS) / 1e3


def cell(**columns: Any) -> pl.DataFrame:
    """One cell of a replica with PLACES places, and the replicas it needs."""
    given: dict[str, Any] = {
        "concurrent_sequences": PLACES,
        "input_tokens_mean": 1000.0,
        "input_tokens_p95": 1000.0,
        "output_tokens_mean": OUTPUT,
        "output_tokens_p95": 900.0,
        "time_to_first_token_ms": FIRST_MS,
        "time_per_output_token_ms": TOKEN_MS,
        "end_to_end_ms": SERVICE * 1e3,
        "tokens_per_second": PLACES * OUTPUT / SERVICE,
    } | columns
    return with_demand(pl.LazyFrame({name: [value] for name, value in given.items()})).collect(
        engine="in-memory"
    )


def lengths(rng: random.Random, mean: float, p95: float) -> float:
    """A log-normal output length with this mean and 95th percentile."""
    z = 1.6448536269514722
    sigma = z - math.sqrt(z * z - 2 * math.log(p95 / mean))
    return rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


def simulate(rate: float, replicas: int, requests: int, seed: int) -> tuple[float, float]:
    """Mean wait and utilisation of replicas with PLACES places each, arrivals spread at random."""
    rng = random.Random(seed)
    free = [[0.0] * PLACES for _ in range(replicas)]
    now = wait = busy = 0.0
    for _ in range(requests):
        now += rng.expovariate(rate)
        places = free[rng.randrange(replicas)]
        start = max(now, heapq.heappop(places))
        service = (FIRST_MS + lengths(rng, OUTPUT, 900.0) * TOKEN_MS) / 1e3
        heapq.heappush(places, start + service)
        wait += start - now
        busy += service
    return wait / requests, busy / now / (replicas * PLACES)


def test_without_demand_one_replica_is_enough() -> None:
    got = cell()
    assert got["replicas"].to_list() == [1]
    assert got.schema["replicas"] == pl.Int64
    assert got["meets_objectives"].to_list() == [None]


def test_replicas_keep_to_the_target_utilisation_at_peak() -> None:
    got = cell(requests_per_second=10.0, peak_factor=2.0, target_utilisation=0.7)
    places = 20 * SERVICE
    assert got["replicas"][0] == math.ceil(places / PLACES / 0.7)
    assert got["replica_utilization"][0] == pytest.approx(places / PLACES / got["replicas"][0])


def test_demand_without_a_known_speed_has_no_answer_but_a_reason() -> None:
    got = cell(requests_per_second=1.0, tokens_per_second=None)
    assert got["replicas"].to_list() == [None]
    assert got["objective_reason"].to_list() == ["the speed of this configuration is not known"]


@pytest.mark.parametrize(("rate", "target"), [(20.0, 0.8), (28.0, 0.9), (9.0, 0.95)])
def test_wait_and_utilisation_agree_with_a_simulation(rate: float, target: float) -> None:
    got = cell(requests_per_second=rate, target_utilisation=target)
    replicas = got["replicas"][0]
    runs = [simulate(rate, replicas, 60_000, seed) for seed in range(4)]
    wait = sum(run[0] for run in runs) / len(runs)
    busy = sum(run[1] for run in runs) / len(runs)
    assert got["replica_utilization"][0] == pytest.approx(busy, rel=0.03)
    assert got["queue_wait_ms"][0] == pytest.approx(wait * 1e3, rel=0.35)


def test_where_replicas_are_far_from_full_the_wait_errs_to_the_safe_side() -> None:
    got = cell(requests_per_second=12.0, target_utilisation=0.6)
    wait, _ = simulate(12.0, got["replicas"][0], 60_000, 1)
    assert wait * 1e3 <= got["queue_wait_ms"][0] <= wait * 1e3 + 0.02 * SERVICE * 1e3


def test_the_wait_of_one_exponential_server_is_the_textbook_one() -> None:
    got = cell(
        requests_per_second=0.5,
        concurrent_sequences=1,
        tokens_per_second=OUTPUT,
        time_to_first_token_ms=0.0,
        output_tokens_p95=None,
        target_utilisation=0.9,
    )
    assert got["replicas"][0] == 1
    assert got["queue_wait_ms"][0] == pytest.approx(0.5 / (1 - 0.5) * 1000, rel=0.01)


def test_replicas_are_added_until_the_first_token_is_on_time() -> None:
    relaxed = cell(requests_per_second=30.0, target_utilisation=0.95)
    strict = cell(
        requests_per_second=30.0, target_utilisation=0.95, objective_time_to_first_token_ms=260.0
    )
    assert strict["replicas"][0] > relaxed["replicas"][0]
    assert strict["meets_objectives"].to_list() == [True]
    assert strict["queue_wait_ms"][0] <= 60.0
    fewer = with_one_less(strict)
    assert fewer["queue_wait_ms"][0] > 60.0


def with_one_less(got: pl.DataFrame) -> pl.DataFrame:
    """The same load where the target allows exactly one replica less."""
    replicas = got["replicas"][0] - 1
    load = 30.0 * SERVICE / PLACES
    return cell(requests_per_second=30.0, target_utilisation=load / replicas * 1.000001)


def test_the_wait_that_an_objective_allows_holds_in_a_simulation() -> None:
    got = cell(
        requests_per_second=20.0, target_utilisation=0.95, objective_time_to_first_token_ms=280.0
    )
    wait, _ = simulate(20.0, got["replicas"][0], 60_000, 7)
    assert FIRST_MS + wait * 1e3 <= 280.0 * 1.1


def test_an_objective_that_no_replica_count_can_meet_fails_with_both_figures() -> None:
    got = cell(requests_per_second=4.0, objective_time_per_output_token_ms=8.0)
    assert got["meets_objectives"].to_list() == [False]
    assert got["objective_reason"].to_list() == [
        "time per output token 10.0 ms is over the objective of 8.0 ms"
    ]


def test_hopeless_objectives_do_not_ask_for_more_replicas() -> None:
    plain = cell(requests_per_second=20.0)
    hopeless = cell(requests_per_second=20.0, objective_end_to_end_ms=100.0)
    assert hopeless["replicas"][0] == plain["replicas"][0]
    assert hopeless["meets_objectives"].to_list() == [False]


def test_length_variation_matches_the_quantile_it_came_from() -> None:
    frame = pl.DataFrame({"mean": [300.0, 300.0, 300.0], "p95": [300.0, 900.0, None]})
    got = frame.select(v=log_normal_variation(pl.col("mean"), pl.col("p95")))["v"]
    sigma = math.sqrt(math.log(1 + got[1]))
    assert got[0] == pytest.approx(0.0)
    assert 300 * math.exp(1.6448536 * sigma - sigma**2 / 2) == pytest.approx(900.0)
    assert got[2] == 1.0
