"""Every config of the reference folder against the counts of the real classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from planner.resolve.arch import UnknownModelType, read_config
from planner.resolve.card import kv_bytes_per_token
from planner.resolve.facts import ROLES
from planner.resolve.lora import lora_parameters
from tests.shared import shared_path

pytestmark = pytest.mark.shared
FUSED = "qkv_proj;query_key_value;c_attn;Wqkv"


def folder() -> Path:
    return shared_path("reference/models")


def rows(name: str) -> list[dict[str, str]]:
    with (folder() / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def config(model: str) -> dict[str, Any]:
    path = folder() / "configs" / f"{model.replace('/', '--', 1)}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def differences(row: dict[str, str]) -> dict[str, tuple[str, str]]:
    facts = read_config(config(row["model"]), model=row["model"], source="reference")
    found: dict[str, Any] = {
        "parameters": facts.parameters,
        "text_parameters": facts.text_parameters,
        "active_parameters": facts.active_parameters,
        "tied_embeddings": facts.tied_embeddings,
        "layers": facts.num_hidden_layers,
        "kv_bytes_per_token": kv_bytes_per_token(facts),
        "text_linear_weights_without_head": facts.quantisable_parameters,
        "conv_state_elems_per_seq": sum(layer.conv_state_elements for layer in facts.layers),
        "ssm_state_elems_per_seq": sum(layer.ssm_state_elements for layer in facts.layers),
    }
    if row["roles_reliable"] == "yes":
        roles = facts.parameters_by_role()
        found.update({str(role): roles[role] for role in ROLES})
    return {
        name: (str(value), row[name])
        for name, value in found.items()
        if row[name] and str(value) != row[name]
    }


def test_every_buildable_config_is_exact() -> None:
    built = [row for row in rows("parameters.csv") if row["built"] == "yes"]
    wrong = {row["model"]: off for row in built if (off := differences(row))}
    assert wrong == {}
    assert len(built) > 250


def test_every_adapter_size_is_exact() -> None:
    wrong = {}
    for row in rows("lora.csv"):
        facts = read_config(config(row["model"]), model=row["model"], source="reference")
        found = {
            "r8_qv": lora_parameters(facts, 8, "q_proj;v_proj"),
            "r8_fused_qkv": lora_parameters(facts, 8, FUSED),
            "r16_all_linear": lora_parameters(facts, 16, "all-linear"),
            "r16_all_incl_head": lora_parameters(facts, 16, ["all-linear", "lm_head"]),
        }
        off = {name: (str(n), row[name]) for name, n in found.items() if str(n) != row[name]}
        if off:
            wrong[row["model"]] = off
    assert wrong == {}


def test_the_rest_is_read_as_far_as_its_fields_allow() -> None:
    refused = []
    for row in rows("parameters.csv"):
        if row["built"] != "yes":
            try:
                facts = read_config(config(row["model"]), model=row["model"], source="reference")
            except UnknownModelType:
                refused.append(row["model"])
            else:
                assert facts.parameters > 0
    assert len(refused) <= 6, refused
