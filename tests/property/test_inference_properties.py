"""What must hold for any model, layout and load: monotone, exact inverses, no order."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.estimate.inference import estimate_inference
from tests.inference_tables import CONFIGS, cell, facts, tables

ENGINES = (("vllm", "0.19.0"), ("vllm", "0.7.3"), ("sglang", None), ("transformers", "4.46.0"))
SOLVING = (*ENGINES, ("llama.cpp", None), ("ik_llama.cpp", None), ("exllama", None))
WINDOWED = replace(
    facts("gemma-2b", max_position_embeddings=131072, sliding_window=1024), model="windowed"
)
TABLES = tables([*(facts(name) for name in CONFIGS), WINDOWED], SOLVING)
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MODELS = st.sampled_from(sorted(CONFIGS))
FORMATS = st.sampled_from(["bf16", "fp8", "awq-int4-g128", "nf4"])


def estimate(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    frame = pl.DataFrame(cells, infer_schema_length=None)
    return estimate_inference(frame.lazy(), TABLES).collect(engine="in-memory").to_dicts()


CASES = st.fixed_dictionaries(
    {
        "model": MODELS,
        "weight_format": FORMATS,
        "engine_and_version": st.sampled_from(ENGINES),
        "context_tokens": st.integers(16, 8192),
        "concurrent_sequences": st.integers(1, 64),
        "tensor_parallel_size": st.sampled_from([1, 2, 4]),
        "pipeline_parallel_size": st.sampled_from([1, 2, 3]),
    }
)


def as_cell(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = dict(case)
    engine, version = given.pop("engine_and_version")
    return cell(engine=engine, engine_version=version, **{**given, **changes})


@QUICK
@given(CASES, st.integers(1, 4096), st.integers(1, 32))
def test_more_context_or_load_never_needs_less(
    case: dict[str, Any], tokens: int, sequences: int
) -> None:
    base, longer, fuller = estimate(
        [
            as_cell(case),
            as_cell(case, context_tokens=case["context_tokens"] + tokens),
            as_cell(case, concurrent_sequences=case["concurrent_sequences"] + sequences),
        ]
    )
    for row in (longer, fuller):
        assert row["total_bytes"] >= base["total_bytes"] - 1
    assert longer["max_concurrent_sequences"] <= base["max_concurrent_sequences"]
    assert fuller["max_context_tokens"] <= base["max_context_tokens"]


@QUICK
@given(CASES)
def test_more_ranks_never_hold_more_weights_or_cache_each(case: dict[str, Any]) -> None:
    rows = estimate([as_cell(case, tensor_parallel_size=tp) for tp in (1, 2, 4, 8)])
    for fewer, more in pairwise(rows):
        for name in ("rank_weights_bytes", "kv_cache_bytes"):
            assert more[name] <= fewer[name] * (1 + 1e-9)


@QUICK
@given(CASES, st.sampled_from(SOLVING), st.integers(16, 100_000), st.floats(6.0, 80.0))
def test_the_largest_context_fits_and_one_step_more_does_not(
    case: dict[str, Any], engine: tuple[str, str | None], other: int, card_gib: float
) -> None:
    """Whatever context was asked for, and where layers forget what left their window."""
    name = "windowed" if case["model"] == "gemma-2b" else case["model"]
    case = {**case, "engine_and_version": engine, "model": name}
    asked, again = estimate(
        [
            as_cell(case, context_tokens=c, card_gib=card_gib)
            for c in (case["context_tokens"], other)
        ]
    )
    assert asked["max_context_tokens"] == again["max_context_tokens"]
    best = int(asked["max_context_tokens"])
    step = int(asked["block"]) if asked["is_pooled"] else 1
    at, above = estimate(
        [as_cell(case, context_tokens=c, card_gib=card_gib) for c in (max(best, 1), best + step)]
    )
    if best > 0:
        assert at["total_bytes"] <= at["budget_bytes"] + 1
        assert at["max_concurrent_sequences"] >= case["concurrent_sequences"]
    if best + step <= asked["max_position_embeddings"]:
        assert above["total_bytes"] > above["budget_bytes"]


@QUICK
@given(CASES, st.sampled_from(SOLVING), st.integers(1, 64))
def test_the_largest_load_fits_and_one_more_does_not(
    case: dict[str, Any], engine: tuple[str, str | None], other: int
) -> None:
    case = {**case, "engine_and_version": engine}
    row, again = estimate([as_cell(case), as_cell(case, concurrent_sequences=other)])
    assert row["max_concurrent_sequences"] == again["max_concurrent_sequences"]
    best = int(row["max_concurrent_sequences"])
    if best < 1:
        return
    at, above = estimate([as_cell(case, concurrent_sequences=n) for n in (best, best + 1)])
    assert at["total_bytes"] <= at["budget_bytes"] * (1 + 1e-9)
    assert above["total_bytes"] > above["budget_bytes"]


@QUICK
@given(st.lists(CASES, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_cells_changes_nothing(cases: list[dict[str, Any]], random: Any) -> None:
    cells = [as_cell(case) for case in cases]
    order = list(range(len(cells)))
    random.shuffle(order)
    straight = estimate(cells)
    shuffled = estimate([cells[i] for i in order])
    assert [straight[i]["total_bytes"] for i in order] == [row["total_bytes"] for row in shuffled]


@QUICK
@given(CASES, st.floats(0.0, 0.9))
def test_a_shared_prefix_never_needs_more(case: dict[str, Any], share: float) -> None:
    plain, shared = estimate([as_cell(case), as_cell(case, prefix_cache_share=share)])
    assert shared["total_bytes"] <= plain["total_bytes"] + 1
