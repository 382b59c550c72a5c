"""Scenario texts for tests."""

from __future__ import annotations

from pathlib import Path

from planner.errors import InputProblems, Problem
from planner.pipeline import open_scenario

GOOD = """\
version: 1
models: [meta-llama/Llama-3.1-8B-Instruct]
workloads:
  - name: chat
    method: inference
    matrix:
      context_tokens: [4096, 8192]
      concurrent_sequences: [1, 16]
supply:
  gpus: [L4, H100]
  gpu_counts: [1, 2]
"""


def write(folder: Path, text: str, name: str = "case.yaml") -> Path:
    """A scenario file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> tuple[Problem, ...]:
    """The problems of a scenario text; none where it is fine."""
    try:
        open_scenario(write(folder, text))
    except InputProblems as error:
        return error.problems
    return ()
