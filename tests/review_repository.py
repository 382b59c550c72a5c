"""A repository of scenarios for tests of reviews: one scenario, a price book, a project file."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCENARIO = """\
version: 1
name: Chat
tags: [prod]
models: [meta-llama/Llama-3.1-8B-Instruct]
catalog: {prices: [../prices/team.csv]}
workloads:
  - name: chat
    method: inference
    engine: {name: vllm, version: "0.19"}
    for_each: [context_tokens]
    matrix: {context_tokens: [8192, 16384]}
    concurrent_sequences: 16
supply:
  gpus: [L4, A100-80GB]
  gpu_counts: [1, 2]
  providers: [team]
"""
PRICES = """\
provider,instance_type,region,gpu,gpu_count,vcpus,ram_gb,purchase,usd_per_hour,price_date,source,note
team,small,dc1,l4-24gb,1,8,32,on-demand,0.7,2026-11-01,contract,
team,big,dc1,a100-sxm4-80gb,1,16,128,on-demand,2.0,2026-11-01,contract,
team,huge,dc1,a100-sxm4-80gb,2,32,256,on-demand,4.0,2026-11-01,contract,
"""
PROJECT = """\
version: 1
budgets:
  - {id: ceiling, scope: {tag: prod}, max_usd_per_month: 5000}
  - {id: increase, max_increase_ratio: 0.15, level: warn}
  - {id: must-fit, scope: {tag: prod}, verdict: [fits, tight]}
"""


def git(folder: Path, *arguments: str) -> str:
    """A git command in the repository."""
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder: Path, message: str = "change") -> str:
    """Commit everything; the commit's id."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def repository(folder: Path) -> Path:
    """The repository with its first commit on `main`."""
    (folder / "scenarios").mkdir(parents=True)
    (folder / "prices").mkdir()
    (folder / "scenarios" / "chat.yaml").write_text(SCENARIO)
    (folder / "prices" / "team.csv").write_text(PRICES)
    (folder / "planner.yaml").write_text(PROJECT)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def edit(file: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))
