"""Layer splits against those that Accelerate made of the real classes on the meta device."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.estimate.inference.device_map import (
    Part,
    auto_device_map,
    balanced_budgets,
    decoder_parts,
)
from tests.inference_tables import GIB, facts

CASES = json.loads((Path(__file__).parent / "data" / "device_maps.json").read_text())["maps"]


def name_of(case: dict[str, Any]) -> str:
    return f"{case['model']} on {case['gpu_gib']} and {case['cpu_gib']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_split_is_accelerates(case: dict[str, Any]) -> None:
    model = facts(case["model"])
    gpus = [int(size * GIB) for size in case["gpu_gib"]]
    budgets = balanced_budgets(model, gpus) if case["balanced"] else gpus
    placed = auto_device_map(decoder_parts(model), budgets, int(case["cpu_gib"] * GIB))
    layers = [device for part, device in placed.items() if part.startswith("layers.")]
    assert {device: layers.count(device) for device in dict.fromkeys(layers)} == case["layers"]
    embedding = next(device for part, device in placed.items() if "embed" in part)
    head = next(device for part, device in placed.items() if "head" in part)
    norm = next(device for part, device in placed.items() if part.endswith("norm"))
    assert (embedding, norm, head) == (case["embedding"], case["norm"], case["head"])


def test_what_fits_nowhere_goes_to_disk() -> None:
    parts = [Part("layers.0", 10), Part("layers.1", 10), Part("layers.2", 10)]
    assert auto_device_map(parts, [20], 10) == {
        "layers.0": "0",
        "layers.1": "disk",
        "layers.2": "disk",
    }


def test_one_gpu_keeps_its_whole_budget() -> None:
    assert balanced_budgets(facts("qwen-1.5b"), [GIB]) == [GIB]
