"""The reasons of a choice as the plan carries them."""

import pytest

from planner.documents import load_schema
from planner.pipeline import plan_scenario
from planner.plan import Plan
from planner.report.plan_json import parse_plan, write_plan
from tests.scenarios import write

TEXT = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct]
workloads:
  - name: chat
    method: inference
    matrix: {context_tokens: [8192], concurrent_sequences: [16]}
    demand: {requests_per_second: 2, input_tokens: 1000, output_tokens: 200}
supply:
  gpus: [L4, H100]
  gpu_counts: [1, 2]
  purchase: [on-demand, reserved-3y]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_scenario(write(tmp_path_factory.mktemp("p"), TEXT), command="x").plan


def test_every_case_says_what_binds_and_what_would_change_it(plan: Plan) -> None:
    assert [choice.case for choice in plan.choices] == [0]
    choice = plan.choices[0]
    assert choice.binding_sentence
    assert {flip.kind for flip in choice.flips} == {"price", "growth"}
    assert all(even.sentence for even in choice.break_even)


def test_the_front_starts_at_the_choice_and_gets_faster_and_dearer(plan: Plan) -> None:
    front = plan.choices[0].front
    latencies = [point.latency_ms or 0.0 for point in front]
    costs = [point.usd_per_month or 0.0 for point in front]
    assert latencies == sorted(latencies, reverse=True)
    assert costs == sorted(costs)
    assert front[0].surcharge_ratio == 0.0


def test_runners_up_within_ten_percent_are_within_ten_percent(plan: Plan) -> None:
    for other in plan.choices[0].close_runners_up:
        assert other.surcharge_ratio is not None
        assert 0 <= other.surcharge_ratio <= 0.1


def test_the_file_brings_the_reasons_back(plan: Plan) -> None:
    assert parse_plan(write_plan(plan), "plan.json").choices == plan.choices
    assert "choices" in load_schema("plan")["required"]
