"""`planner diff` and `planner check` on a repository that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inprocess import planner
from tests.review_repository import commit, edit, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


def diff(repo: Path, *arguments: str) -> dict[str, Any]:
    done = planner("diff", *arguments, "--format", "json", "--as-of", "2026-11-20", cwd=repo)
    assert done.returncode in (0, 1), done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    total = round(sum(row["usd_per_month"] for row in data["attribution"]), 2)
    assert total == data["delta_usd_per_month"]
    return data


def rows(data: dict[str, Any]) -> dict[str, float]:
    return {"+".join(row["sources"]): row["usd_per_month"] for row in data["attribution"]}


def test_no_change_is_one_line(repo: Path) -> None:
    done = planner("diff", "main", cwd=repo)
    assert done.returncode == 0
    assert done.stdout.startswith("no change: 2 purchases")
    silent = planner("diff", "main", "--format", "markdown", "--comment-when", "changed", cwd=repo)
    assert silent.stdout == ""


def test_a_raised_context_names_the_field_and_the_memory_that_moved(repo: Path) -> None:
    edit(repo / "scenarios/chat.yaml", "[8192, 16384]", "[8192, 65536]")
    data = diff(repo, "main")
    change = data["purchases"][0]
    assert change["kind"] == "stopped-fitting"
    assert change["was"].endswith("16384")
    assert any("context_tokens 16k → 64k" in cause for cause in change["causes"])
    assert any(cause.startswith("KV cache +") for cause in change["causes"])
    assert rows(data)["scenario"] == data["delta_usd_per_month"]
    assert data["gate"] == "failed"
    assert planner("diff", "main", cwd=repo).returncode == 1


def test_scenario_and_price_are_told_apart(repo: Path) -> None:
    base = commit_of(repo)
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",2.5,2026-11-15")
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences: 16", "concurrent_sequences: 1")
    commit(repo)
    data = diff(repo, base, "HEAD")
    found = rows(data)
    assert found["scenario"] < 0
    assert found["catalog"] == 0
    assert found["estimator"] == 0
    assert set(found) == {"scenario", "catalog", "prices", "estimator"}


def commit_of(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD")


def test_a_dearer_price_is_the_price_row_alone(repo: Path) -> None:
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",2.5,2026-11-15")
    data = diff(repo, "main")
    assert data["purchases"][0]["kind"] == "dearer"
    assert rows(data)["prices"] == data["delta_usd_per_month"] > 0
    assert any(cause.startswith("price of") for cause in data["purchases"][0]["causes"])


def test_a_removed_gpu_is_named(repo: Path) -> None:
    edit(repo / "scenarios/chat.yaml", "gpus: [L4, A100-80GB]", "gpus: [L4]")
    data = diff(repo, "main")
    causes = " ".join(data["purchases"][0]["causes"])
    assert "supply.gpus" in causes
    assert "no longer in the supply" in causes


def test_a_swapped_model_keeps_the_row(repo: Path) -> None:
    edit(repo / "scenarios/chat.yaml", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B")
    kinds = {change["kind"] for change in diff(repo, "main")["purchases"]}
    assert not kinds & {"new", "removed"}


def test_a_renamed_scenario_is_no_change_of_cost(repo: Path) -> None:
    (repo / "scenarios/chat.yaml").rename(repo / "scenarios/support.yaml")
    data = diff(repo, "main")
    assert data["renames"] == [["chat", "support"]]
    assert data["purchases"] == []
    assert data["delta_usd_per_month"] == 0


def test_the_checkout_is_not_touched(repo: Path) -> None:
    edit(repo / "prices/team.csv", ",0.7,", ",0.8,")
    before = git(repo, "status", "--porcelain"), git(repo, "worktree", "list")
    diff(repo, "main")
    assert (git(repo, "status", "--porcelain"), git(repo, "worktree", "list")) == before


def test_a_moved_merge_base_compares_with_where_the_branches_parted(repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "feature")
    edit(repo / "scenarios/chat.yaml", "name: Chat", "name: Chat of the feature")
    commit(repo)
    git(repo, "checkout", "-q", "main")
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",9.0,2026-11-15")
    edit(repo / "prices/team.csv", ",0.7,2026-11-01", ",5.0,2026-11-15")
    commit(repo)
    assert diff(repo, "main", "feature")["delta_usd_per_month"] < 0
    assert diff(repo, "main", "feature", "--merge-base")["delta_usd_per_month"] == 0


def test_revision_with_a_path(repo: Path) -> None:
    data = diff(repo, "main:scenarios/chat.yaml", "scenarios/chat.yaml")
    assert not data["is_changed"]


def test_hostile_names_stay_text(repo: Path) -> None:
    hostile = "x|y <img src=x> `a` @octocat https://example.org #1 \\u202e [l](javascript:0)"
    edit(repo / "scenarios/chat.yaml", "name: Chat", f'name: "{hostile}"')
    text = (repo / "scenarios/chat.yaml").read_text()
    (repo / "scenarios/a|b`@team.yaml").write_text(text)
    for name in ("markdown", "html", "junit", "sarif", "text", "github"):
        done = planner("diff", "main", "--format", name, cwd=repo)
        assert done.returncode in (0, 1), done.stderr
        assert "\u202e" not in done.stdout
        assert "<img" not in done.stdout or name not in ("markdown", "html")
        assert "@octocat" not in done.stdout or name != "markdown"
        assert "@team" not in done.stdout or name != "markdown"
    table = planner("diff", "main", "--format", "markdown", cwd=repo).stdout
    lines = [line for line in table.splitlines() if line.startswith("| +")]
    assert lines
    assert all(line.count("|") == 8 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "neither a file, nor a folder, nor a git revision"),
        (("main:missing",), "does not exist in main"),
        (("prices",), "neither plans nor a project"),
        (("main", "--also", "pdf=x"), "FORMAT=FILE"),
    ],
)
def test_wrong_sides_are_input_errors(repo: Path, arguments: tuple[str, ...], says: str) -> None:
    done = planner("diff", *arguments, cwd=repo)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_every_format_is_written_even_when_a_gate_fails(repo: Path) -> None:
    edit(repo / "planner.yaml", "max_usd_per_month: 5000", "max_usd_per_month: 1")
    out = repo / "out"
    also = [f"--also={name}={out / name}" for name in ("markdown", "junit", "sarif", "html")]
    done = planner("diff", "main", *also, cwd=repo)
    assert done.returncode == 1
    assert {p.name for p in out.iterdir()} == {"markdown", "junit", "sarif", "html"}
    assert "❌" in (out / "markdown").read_text()


def test_check_says_why_a_committed_plan_is_stale(repo: Path) -> None:
    from planner.pipeline.project import lock_files, plan_files
    from planner.review.project import find_project

    missing = planner("check", cwd=repo)
    assert missing.returncode == 1
    assert "there is no committed plan" in missing.stdout
    plan = plan_files([repo / "scenarios/chat.yaml"], find_project(repo))["chat"]
    folder = repo / "reports/chat"
    folder.mkdir(parents=True)
    for name, content in lock_files(plan).items():
        (folder / name).write_bytes(content)
    assert planner("check", cwd=repo).returncode == 0
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences: 16", "concurrent_sequences: 64")
    stale = planner("check", cwd=repo)
    assert stale.returncode == 1
    assert "concurrent_sequences 16 → 64" in stale.stdout
    assert "stale" in stale.stdout


def test_check_without_a_project_or_files_says_what_to_do(tmp_path: Path) -> None:
    done = planner("check", cwd=tmp_path)
    assert done.returncode == 2
    assert "planner init" in done.stderr


def test_a_loosened_rule_is_said(repo: Path) -> None:
    edit(repo / "planner.yaml", "max_usd_per_month: 5000", "max_usd_per_month: 50000")
    data = diff(repo, "main")
    assert data["is_changed"]
    assert data["notes"] == ["rule 'ceiling': max_usd_per_month 5000 → 50000"]
    comment = planner("diff", "main", "--format", "markdown", cwd=repo).stdout
    assert "⚠️ rule" in comment


def test_the_first_scenario_is_new_against_a_revision_without_any(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    git(repo, "commit", "-q", "--allow-empty", "-m", "nothing")
    other = repository(tmp_path / "other")
    for name in ("scenarios", "prices", "planner.yaml"):
        (other / name).rename(repo / name)
    data = diff(repo, "main")
    assert {change["kind"] for change in data["purchases"]} == {"new"}
    assert rows(data)["scenario"] == data["delta_usd_per_month"] > 0
    assert data["delta_ratio"] is None
