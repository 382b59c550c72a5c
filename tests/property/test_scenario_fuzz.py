"""Whatever stands in a scenario file, the answer is a scenario or a list of problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import InputProblems
from planner.pipeline import open_text
from tests.scenarios import GOOD

BASE: dict[str, Any] = yaml.safe_load(GOOD)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10**13), st.floats(allow_nan=False, width=32),
    st.text(max_size=12), st.sampled_from(["bf16", "qlora", "all", "any", "auto", "H100", "no"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from([
    "models", "workloads", "supply", "constraints", "budgets", "assumptions", "catalog",
    "estimator", "rule_of_thumb", "method", "matrix", "lora", "engine", "framework", "demand",
    "objectives", "for_each", "include", "exclude", "weight_format", "context_tokens", "gpus",
    "gpu_counts", "parallel", "purchase", "providers", "regions", "owned", "discounts", "extra",
])  # fmt: skip


def answers(text: str) -> None:
    """Fails with any other exception than a list of problems."""
    try:
        open_text(text, "fuzz", Path())
    except InputProblems as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message
            assert problem.file


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    answers(text)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(["top", "workload", "matrix", "supply"]), key=KEYS, value=VALUES)
def test_any_value_at_any_key_is_answered(place: str, key: str, value: Any) -> None:
    data = json.loads(json.dumps(BASE))
    target = {
        "top": data,
        "workload": data["workloads"][0],
        "matrix": data["workloads"][0]["matrix"],
        "supply": data["supply"],
    }[place]
    target[key] = value
    answers(json.dumps(data))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 30), put=st.text(max_size=10))
def test_any_damage_to_a_good_file_is_answered(start: int, length: int, put: str) -> None:
    answers(GOOD[:start] + put + GOOD[start + length :])
