"""The reader against counts of the real classes, one model of every type that has a figure."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from planner.resolve.arch import read_config
from planner.resolve.card import kv_bytes_per_token
from planner.resolve.lora import lora_parameters

FIGURES = Path(__file__).parent / "data" / "model_figures.csv"


def figures() -> list[Any]:
    with FIGURES.open(encoding="utf-8") as file:
        return [pytest.param(row, id=row["model"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("row", figures())
def test_counts_equal_the_real_class(row: dict[str, str]) -> None:
    facts = read_config(json.loads(row["config"]), model=row["model"], source="figures")
    found = {
        "parameters": facts.parameters,
        "text_parameters": facts.text_parameters,
        "active_parameters": facts.active_parameters,
        "kv_bytes_per_token_16bit": kv_bytes_per_token(facts),
        "tied_embeddings": facts.tied_embeddings,
        "lora_r8_q_v": lora_parameters(facts, 8, "q_proj;v_proj"),
        "lora_r16_all_linear": lora_parameters(facts, 16, "all-linear"),
    }
    assert {name: str(value) for name, value in found.items() if row[name]} == {
        name: row[name] for name in found if row[name]
    }


def test_one_model_of_every_type_is_known() -> None:
    assert len(figures()) > 80
