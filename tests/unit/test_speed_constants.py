"""The shipped speed constants: complete, explained and inside their intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.errors import InputProblems
from planner.resolve.speed import SPEED_FILE, load_constants, shipped_constants, speed_frame


def test_every_architecture_and_engine_has_every_constant() -> None:
    frame = speed_frame()
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame.select("architecture", "engine").is_duplicated().sum() == 0


def test_every_constant_says_what_it_means() -> None:
    data = shipped_constants()
    meant = {entry["name"] for entry in data["meanings"]}
    assert {entry["name"] for entry in data["constants"]} == meant


def test_values_lie_inside_their_intervals() -> None:
    for entry in shipped_constants()["constants"]:
        assert (
            entry.get("low", entry["value"]) <= entry["value"] <= entry.get("high", entry["value"])
        )


def test_shares_of_a_peak_stay_near_or_below_it() -> None:
    for entry in shipped_constants()["constants"]:
        if "bandwidth_fraction" in entry["name"] or "compute_fraction" in entry["name"]:
            assert entry["value"] <= 1.1, entry


def test_measured_gpus_and_architectures_are_those_of_the_catalog() -> None:
    gpus = load_catalog().gpus
    known = dict(gpus.select("gpu", "architecture").iter_rows())
    for family in shipped_constants()["families"]:
        for gpu in family.get("measured_gpus", []):
            assert known[gpu] in family["architectures"]


def test_an_unknown_constant_is_refused_where_it_stands(tmp_path: Path) -> None:
    text = SPEED_FILE.read_text("utf-8").replace("name: kernel_us,", "name: kernel_ms,", 1)
    broken = tmp_path / "speed.yaml"
    broken.write_text(text, "utf-8")
    with pytest.raises(InputProblems, match=r"kernel_ms"):
        load_constants(broken)
