"""Rules, waivers and their formats."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from planner.errors import InputProblems
from planner.plan import Plan
from planner.review.formats import render_github, render_junit, render_sarif
from planner.review.gates import RuleResult, bought, run_gates
from planner.review.project import Budget, Place, Waiver, read_project
from tests.plan_factory import small
from tests.unit.test_diff import with_cell

TODAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return small()[0]


def gate(plan: Plan, waivers: tuple[Waiver, ...] = (), base: Plan | None = None,
         scope: tuple[str, str] = ("all", ""), **limits: Any) -> list[RuleResult]:  # fmt: skip
    rule = Budget("rule", *scope, "error", limits, Place("planner.yaml", 3, 5))
    before = {"a": base} if base else None
    return list(run_gates({"a": plan}, [rule], waivers, today=TODAY, base=before))


def waiver(scenario: str = "a/*", rule: str = "rule", until: date = TODAY) -> Waiver:
    return Waiver(rule, scenario, "launch", "@finops", until, Place("planner.yaml", 9, 5))


def spent(plan: Plan) -> float:
    return round(sum(i.choice.usd_per_month or 0 for i in bought({"a": plan})), 2)


def test_a_ceiling(plan: Plan) -> None:
    assert gate(plan, max_usd_per_month=spent(plan) + 1)[0].state == "passed"
    broken = gate(plan, max_usd_per_month=spent(plan) - 1)[0]
    assert broken.is_failure
    assert broken.offenders


def test_increases_need_a_base_and_a_cost_in_it(plan: Plan) -> None:
    assert gate(plan, max_increase_ratio=0.1)[0].state == "not-applicable"
    free = with_cell(plan, usd_per_month=0.0)
    assert gate(plan, base=free, max_increase_ratio=0.1)[0].state == "not-applicable"
    assert gate(plan, base=free, max_increase_usd_per_month=1)[0].is_failure
    assert gate(plan, base=plan, max_increase_ratio=0.0)[0].state == "passed"


@pytest.mark.parametrize(
    ("columns", "limits"),
    [
        ({"verdict": "tight"}, {"verdict": ["fits"]}),
        ({"utilization": 0.95}, {"min_free_ratio": 0.1}),
        ({"price_date": "2026-01-01"}, {"max_price_age_days": 45}),
        ({"price_date": None}, {"max_price_age_days": 45}),
    ],
)
def test_rules_for_each_bought_case(
    plan: Plan, columns: dict[str, Any], limits: dict[str, Any]
) -> None:
    result = gate(with_cell(plan, **columns), **limits)[0]
    assert result.is_failure
    assert result.offenders


@pytest.mark.parametrize(
    ("outcome", "limits"),
    [
        ("no-price", {"require_price": True}),
        ("misses-objective", {"require_objectives": True}),
        ("nothing-fits", {"verdict": ["fits", "tight"]}),
    ],
)
def test_a_purchase_without_an_answer(plan: Plan, outcome: str, limits: dict[str, Any]) -> None:
    cases = tuple(
        replace(case, cheapest=None, runners_up=(), outcome=outcome) for case in plan.cases
    )
    assert gate(replace(plan, cases=cases), **limits)[0].is_failure


def test_a_scope_without_matches_passes_with_nothing(plan: Plan) -> None:
    result = gate(plan, scope=("tag", "none"), max_usd_per_month=0)[0]
    assert result.state == "passed"
    assert gate(plan, scope=("workload", "chat"), max_usd_per_month=0)[0].is_failure
    assert gate(plan, scope=("file", "support-*.yaml"), max_usd_per_month=0)[0].is_failure


def test_a_waiver_holds_until_its_last_day(plan: Plan) -> None:
    tight = with_cell(plan, verdict="tight")
    assert gate(tight, (waiver(),), verdict=["fits"])[0].state == "waived"
    results = gate(tight, (waiver(until=date(2026, 11, 19)),), verdict=["fits"])
    assert [result.is_failure for result in results] == [True, True]
    assert "expired" in results[1].now


def test_a_waiver_takes_its_cost_out_of_a_ceiling(plan: Plan) -> None:
    assert gate(plan, (waiver(),), max_usd_per_month=0)[0].state == "waived"


@pytest.mark.parametrize("wrong", [waiver("b/*"), waiver(rule="other")])
def test_an_unmatched_waiver_is_an_error(plan: Plan, wrong: Waiver) -> None:
    results = gate(plan, (wrong,), max_usd_per_month=1e9)
    assert results[-1].rule == "waiver"
    assert results[-1].is_failure


def test_github_shows_ten_and_escapes(plan: Plan) -> None:
    result = replace(gate(plan, max_usd_per_month=0)[0], rule="a,b:c", now="50 %\nnext")
    text = render_github([result] * 12)
    assert text.count("::error ") == 10
    assert "title=planner a%2Cb%3Ac::" in text
    assert "50 %25%0Anext" in text


def test_junit_has_a_suite_a_file(plan: Plan) -> None:
    results = gate(with_cell(plan, verdict="tight"), verdict=["fits"])
    root = ElementTree.fromstring(render_junit({"a": plan}, results))
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == [plan.scenario.file, "rules"]
    assert int(suites[0].get("failures", "0")) == len(results[0].offenders)


def test_sarif_points_to_the_rule(plan: Plan) -> None:
    log = json.loads(render_sarif(gate(plan, max_usd_per_month=0)))
    result = log["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "planner.yaml"
    assert place["region"]["startLine"] == 3


def test_a_project_file_reports_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(
        "version: 1\nbudgets:\n  - {id: a, max_usd_per_mont: 3}\n  - {id: b}\n"
        'waivers:\n  - {rule: a, scenario: x, reason: r, owner: o, expires: "soon"}\n'
    )
    with pytest.raises(InputProblems) as caught:
        read_project(file)
    text = str(caught.value)
    assert "planner.yaml:3" in text
    assert "max_usd_per_month" in text
    assert "expires" in text


def test_a_rule_without_a_limit_and_a_second_one_of_a_name(tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(
        "version: 1\nbudgets:\n  - {id: a, level: warn}\n  - {id: a, max_usd_per_month: 1}\n"
    )
    with pytest.raises(InputProblems) as caught:
        read_project(file)
    assert {problem.code for problem in caught.value.problems} == {"no-limit", "duplicate-id"}
