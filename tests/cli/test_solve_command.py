"""`planner solve`: its answers, what they count, and why nothing fits."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inprocess import planner

SCENARIO = """
version: 1
name: solved
models: [meta-llama/Llama-3.1-8B-Instruct]
workloads:
  - name: chat
    method: inference
    engine: {engine}
    matrix: {{context_tokens: [{context}], concurrent_sequences: [{sequences}]}}
supply:
  gpus: [{gpu}]
  gpu_counts: [{count}]
"""


def solved(folder: Path, wanted: str = "context_tokens", **asked: Any) -> dict[str, Any]:
    values = {"engine": "vllm", "context": 8192, "sequences": 1, "gpu": "L4", "count": 1, **asked}
    (folder / "solved.yaml").write_text(SCENARIO.format(**values))
    run = planner("solve", "solved.yaml", "--for", wanted, "--json", cwd=folder)
    assert run.returncode == 0, run.stderr
    (row,) = json.loads(run.stdout)
    return dict(row)


def test_an_answer_says_that_it_counts_expected_bytes(tmp_path: Path) -> None:
    row = solved(tmp_path)
    assert row["max_context_tokens"] > 8192
    assert (row["bound"], row["reason"]) == ("expected", None)


def test_weights_that_do_not_fit_are_the_reason_of_no_context(tmp_path: Path) -> None:
    row = solved(tmp_path, gpu="RTX 4070")
    assert row["max_context_tokens"] == 0
    assert row["reason"].startswith("the weights alone take ")


def test_too_many_sequences_are_the_reason_of_no_context(tmp_path: Path) -> None:
    row = solved(tmp_path, sequences=100_000)
    assert row["max_context_tokens"] == 0
    assert row["reason"] == "no context is short enough for 100000 sequences"


def test_a_context_that_is_too_long_is_the_reason_of_no_sequence(tmp_path: Path) -> None:
    row = solved(tmp_path, "concurrent_sequences", context=131_072)
    assert row["max_concurrent_sequences"] == 0
    assert row["reason"] == "not one sequence of 131072 tokens fits"


def test_a_draft_model_need_not_be_listed_and_takes_its_part(tmp_path: Path) -> None:
    draft = "{name: vllm, draft_model: meta-llama/Llama-3.2-1B-Instruct, speculative_tokens: 3}"
    drafted = solved(tmp_path, engine=draft)
    assert 0 < drafted["max_context_tokens"] < solved(tmp_path)["max_context_tokens"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpu", "T4"), "--gpu: t4-16gb is not in the supply of a serving case"),
        (("--gpu", "L4", "--count", "8"), "--count: no serving cell has 8 GPUs"),
        (("--gpu", "L44"), "--gpu: 'L44' is not a known GPU"),
    ],
)
def test_the_option_that_leaves_no_cell_is_named(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    solved(tmp_path)
    run = planner("solve", "solved.yaml", "--for", "context_tokens", *options, cwd=tmp_path)
    assert run.returncode == 2
    assert said in run.stderr
