"""What diffs, checks, exports, imports and helps print; `make golden` rewrites the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli import _COMMANDS, cli
from planner.interop.exports import EXPORTS
from planner.interop.import_serving import from_skypilot, from_vllm
from planner.interop.import_training import from_axolotl, from_torchtune, from_trl
from planner.plan import Plan
from planner.review.diff import diff_plans
from planner.review.formats import render_github, render_junit, render_sarif
from planner.review.gates import run_gates
from planner.review.html import html_section
from planner.review.json import render_json
from planner.review.lock import write_lock
from planner.review.markdown import CommentOptions, render_markdown
from planner.review.model import AttributionRow
from planner.review.project import Budget, Place, Waiver
from planner.review.text import render_text
from tests.launches import serving, training
from tests.plan_factory import tiny
from tests.unit.test_import import AXOLOTL, TORCHTUNE

FOLDER = Path(__file__).parent / "review"


def plans() -> tuple[dict[str, Plan], dict[str, Plan]]:
    """A base, and a head in which each choice moved another way."""
    base = replace(tiny()[0], planner_version="1.0.0")
    details = list(base.details)
    moves: list[dict[str, Any]] = [
        {"usd_per_month": 9000.0, "usd_per_hour": 12.3},
        {"verdict": "tight", "utilization": 0.96},
        {"region": "elsewhere"},
    ]
    chosen = [c.cheapest for c in base.cases if c.is_bought and c.cheapest is not None]
    for index, move in zip(chosen, moves, strict=False):
        details[index] = replace(details[index], cell={**details[index].cell, **move})
    head = replace(base, details=tuple(details), planner_version="1.1.0")
    added = replace(base, scenario=replace(base.scenario, stem="second", file="second.yaml"))
    return {"first": base}, {"first": head, "second": added}


def review() -> dict[str, str]:
    base, head = plans()
    budgets = [
        Budget("ceiling", "all", "", "error", {"max_usd_per_month": 100}, Place("planner.yaml", 3)),
        Budget("fits", "all", "", "warn", {"verdict": ["fits"]}, Place("planner.yaml", 4)),
        Budget("growth", "all", "", "warn", {"max_increase_ratio": 9.0}, Place("planner.yaml", 5)),
    ]
    waivers = [
        Waiver("fits", "second/*", "launch", "@finops", date(2027, 1, 31), Place("planner.yaml", 8))
    ]
    gates = run_gates(head, budgets, waivers, today=date(2026, 11, 20), base=base)
    whole = diff_plans(base, head).delta_usd_per_month
    rows = [
        AttributionRow(("scenario",), whole, 2),
        AttributionRow(("catalog", "prices"), 0.0, 0, "not separable: an example"),
        AttributionRow(("estimator",), 0.0, 0),
    ]
    diff = diff_plans(base, head, base_label="main", head_label="feature", attribution=rows)
    options = CommentOptions(key="plan", run="7", head="abc", report="report.html")
    return {
        "diff.txt": render_text(diff, gates),
        "diff.md": render_markdown(diff, gates, options),
        "diff.json": render_json(diff, gates),
        "diff.html": html_section(diff, gates),
        "same.md": render_markdown(diff_plans(base, base)),
        "gates-github.txt": render_github(gates),
        "gates.xml": render_junit(head, gates),
        "gates.sarif": render_sarif(gates).replace(_version(), "VERSION"),
        "plan.lock.json": write_lock(base["first"]).decode(),
    }


def _version() -> str:
    import planner

    return f'"version": "{planner.__version__}"'


_LAUNCHES = {
    "vllm": serving(),
    "sglang": serving(engine="sglang"),
    "llama.cpp": serving(engine="llama.cpp", weight_format="q4_k_m", kv_cache_dtype="fp16"),
    "trl": training(method="qlora", weight_format="nf4-dq"),
    "accelerate": training(sharding="fsdp", framework="fsdp", gpu_count=4),
    "deepspeed": training(sharding="zero3", framework="deepspeed", gpu_count=4,
                          data_parallel_size=4, offload="cpu"),
    "torchtune": training(framework="torchtune", method="lora"),
    "kubernetes": serving(replicas=3),
    "skypilot": serving(replicas=2),
    "dstack": training(),
}  # fmt: skip


def exports() -> dict[str, str]:
    return {f"export-{name}.txt": EXPORTS[name](launch) for name, launch in _LAUNCHES.items()}


def imports() -> dict[str, str]:
    made = {
        "vllm": from_vllm("vllm serve Qwen/Qwen3-8B --max-model-len 16K -tp 2 --x y", "start.sh"),
        "skypilot": from_skypilot(EXPORTS["skypilot"](serving()), "task.yaml"),
        "trl": from_trl(EXPORTS["trl"](training(method="lora")), "trl.yaml"),
        "axolotl": from_axolotl(AXOLOTL, "axolotl.yml"),
        "torchtune": from_torchtune(TORCHTUNE, "tune.yaml"),
    }
    return {f"import-{name}.yaml": one.text("a file") for name, one in made.items()}


def helps() -> dict[str, str]:
    found = {}
    for name in _COMMANDS:
        done = CliRunner().invoke(cli, [name, "--help"], prog_name="planner", terminal_width=100)
        assert done.exit_code == 0
        found[f"help-{name}.txt"] = done.output
    return found


def golden_files() -> dict[str, Callable[[], dict[str, str]]]:
    return {"review": review, "exports": exports, "imports": imports, "helps": helps}


@pytest.mark.parametrize("kind", list(golden_files()))
def test_output_is_as_reviewed(kind: str, request: pytest.FixtureRequest) -> None:
    folder = FOLDER / kind
    printed = golden_files()[kind]()
    if request.config.getoption("--refresh-golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in printed.items():
            (folder / name).write_text(text, "utf-8")
    kept = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    assert sorted(printed) == sorted(kept), "`make golden` adds and removes files"
    for name, text in printed.items():
        assert text == kept[name], f"{folder / name} differs; `make golden` rewrites it"
