"""A repository that holds the planner: its old revision is planned by the old code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.inprocess import planner
from tests.review_repository import commit, edit, repository

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_changed_constants_and_changed_scenarios_are_told_apart(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("planner", "schemas"):
        shutil.copytree(ROOT / name, repo / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", repo)
    edit(repo / "scenarios/chat.yaml", "[8192, 16384]", "[2048]")
    edit(repo / "scenarios/chat.yaml", "concurrent_sequences: 16", "concurrent_sequences: 1")
    base = commit(repo, "with the planner")
    engine = repo / "planner/catalog/data/engines/vllm.yaml"
    text = engine.read_text()
    # A context of 8 GiB: the L4 is full, and the next card is dearer.
    engine.write_text(
        re.sub(r"context_bytes: \{value: [0-9]+", "context_bytes: {value: 8589934592", text)
    )
    edit(repo / "prices/team.csv", ",2.0,2026-11-01", ",3.0,2026-11-15")
    commit(repo, "constants and prices")
    done = planner("diff", base, "HEAD", "--format", "json", cwd=repo)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    rows = {"+".join(row["sources"]): row["usd_per_month"] for row in data["attribution"]}
    assert set(rows) == {"scenario", "catalog", "prices", "estimator"}
    assert rows["scenario"] == rows["catalog"] == rows["prices"] == 0
    assert rows["estimator"] == data["delta_usd_per_month"] > 0
    assert data["purchases"][0]["kind"] == "dearer"
    assert any("Overhead +" in cause for cause in data["purchases"][0]["causes"])
