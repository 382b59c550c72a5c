"""Diffs of plan files, and projects with defaults of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.pipeline.project import write_plans
from tests.cli.inprocess import planner
from tests.review_repository import commit, edit, repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


def planned(repo: Path, name: str) -> Path:
    write_plans(repo / name, repo)
    return repo / name


def diff(repo: Path, *arguments: str | Path) -> dict[str, Any]:
    done = planner("diff", *arguments, "--format", "json", cwd=repo)
    assert done.returncode in (0, 1), done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    total = round(sum(row["usd_per_month"] for row in data["attribution"]), 2)
    assert total == data["delta_usd_per_month"]
    return data


def test_plan_files_with_one_changed_source_need_no_estimate(repo: Path) -> None:
    old = planned(repo, "old")
    edit(repo / "scenarios/chat.yaml", "[8192, 16384]", "[8192, 65536]")
    new = planned(repo, "new")
    data = diff(repo, old, new)
    assert data["attribution"][0]["sources"] == ["scenario"]
    assert data["attribution"][0]["usd_per_month"] == data["delta_usd_per_month"] != 0
    assert not any(row["note"] for row in data["attribution"])
    assert diff(repo, old / "chat/plan.json", new / "chat/plan.json")["is_changed"]


def test_plan_files_say_what_they_can_not_separate(repo: Path) -> None:
    old = planned(repo, "old")
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",2.5,2026-11-15")
    new = planned(repo, "new")
    rows = diff(repo, old, new)["attribution"]
    joined = next(row for row in rows if len(row["sources"]) > 1)
    assert joined["sources"] == ["catalog", "prices", "estimator"]
    assert "not separable" in joined["note"]
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences: 16", "concurrent_sequences: 64")
    both = diff(repo, old, planned(repo, "both"))["attribution"]
    assert any("not separable" in row["note"] for row in both)


def test_a_plan_of_another_planner_version_names_it(repo: Path) -> None:
    old = planned(repo, "old")
    new = planned(repo, "new")
    edit(old / "chat/plan.json", '"planner_version": "', '"planner_version": "0.0.')
    data = diff(repo, old, new)
    assert data["base"]["planner_versions"] != data["head"]["planner_versions"]
    assert not data["purchases"]


def test_a_damaged_plan_is_an_input_error(repo: Path) -> None:
    old = planned(repo, "old")
    (old / "chat/plan.json").write_text("{")
    done = planner("diff", old, ".", cwd=repo)
    assert done.returncode == 2
    assert "not-json" in done.stderr


def test_price_books_and_assumptions_of_the_project_count(repo: Path) -> None:
    (repo / "prices/more.csv").write_text(
        (repo / "prices/team.csv").read_text().replace(",2.0,", ",1.0,")
    )
    before = diff(repo, "main")["base_total"]["usd_per_month"]
    edit(repo / "scenarios/chat.yaml", "catalog: {prices: [../prices/team.csv]}\n", "")
    added = "prices: [prices/team.csv]\nassumptions: {hours_per_month: 365}\n"
    edit(repo / "planner.yaml", "version: 1\n", f"version: 1\n{added}")
    data = diff(repo, "main")
    assert data["head_total"]["usd_per_month"] == before / 2
    assert "365 hours per month" in data["assumptions"]


def test_rules_of_a_scenario_run_beside_those_of_the_project(repo: Path) -> None:
    text = (repo / "scenarios/chat.yaml").read_text()
    (repo / "scenarios/chat.yaml").write_text(
        text + "budgets:\n  - {id: own, min_free_ratio: 0.9}\n"
    )
    done = planner("check", "--no-locks", cwd=repo)
    assert done.returncode == 1
    assert "FAILED: own [all]" in done.stdout


def test_a_base_lets_check_measure_increases(repo: Path) -> None:
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",3.0,2026-11-15")
    edit(repo / "planner.yaml", "max_increase_ratio: 0.15, level: warn", "max_increase_ratio: 0.15")
    done = planner("check", "--no-locks", "--base", "main", cwd=repo)
    assert done.returncode == 1
    assert "FAILED: increase [all] at most +15 %: +50 %" in done.stdout


def test_export_and_import_from_the_command_line(repo: Path) -> None:
    case = "chat/llama-3.1-8b-instruct/context_tokens=8192"
    done = planner("export", "scenarios/chat.yaml", "--case", case, "-o", "start.sh", cwd=repo)
    assert done.returncode == 0, done.stderr
    made = planner("import", "start.sh", "--gpu", "L4", cwd=repo)
    assert made.returncode == 0
    assert "context_tokens: 8192" in made.stdout
    wrong = planner("export", "scenarios/chat.yaml", "--case", "nope", cwd=repo)
    assert wrong.returncode == 2
    assert "is no case" in wrong.stderr


def test_a_mistake_in_the_base_is_named_as_git_names_the_file(repo: Path) -> None:
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences", "concurent_sequences")
    commit(repo)
    edit(repo / "scenarios/chat.yaml", "concurent_sequences", "concurrent_sequences")
    done = planner("diff", "main", cwd=repo)
    assert done.returncode == 2
    assert done.stderr.startswith("main:scenarios/chat.yaml:")


def test_annotations_name_the_scenario_file_from_here(repo: Path) -> None:
    text = (repo / "scenarios/chat.yaml").read_text()
    (repo / "scenarios/chat.yaml").write_text(
        text + "budgets:\n  - {id: own, min_free_ratio: 0.9}\n"
    )
    for words in (("diff", "main"), ("check", "--no-locks")):
        done = planner(*words, "--format", "github", cwd=repo)
        assert "::error file=scenarios/chat.yaml," in done.stdout
