"""A checkpoint folder: facts of its config, bytes of its headers, and where the two differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import InputProblems
from planner.resolve.checkpoint import arithmetic_bytes, read_checkpoint, with_stored
from planner.resolve.facts import ModelFacts, QuantizedModules
from planner.resolve.headers import TensorGroup
from tests import tiny
from tests.hubserver import safetensors


def notes(facts: ModelFacts) -> str:
    return " | ".join(facts.notes)


def test_headers_and_config_agree(tmp_path: Path) -> None:
    facts = read_checkpoint(tiny.write(tmp_path, tiny.files()))
    assert facts.parameters == tiny.PARAMETERS
    assert facts.stored_bytes == 2 * tiny.PARAMETERS
    assert "by safetensors headers (BF16 " in notes(facts)
    assert f"agree on {tiny.PARAMETERS:,} parameters" in notes(facts)


def test_without_weight_files_it_is_arithmetic_and_says_so(tmp_path: Path) -> None:
    facts = read_checkpoint(tiny.write(tmp_path, {"config.json": tiny.config_bytes()}))
    assert facts.stored_bytes is None
    assert "by arithmetic" in notes(facts)


def test_a_disagreement_is_reported_with_its_size(tmp_path: Path) -> None:
    stored = tiny.tensors() | {"model.extra.weight": ("BF16", (10, 10))}
    content = {"config.json": tiny.config_bytes(), "model.safetensors": safetensors(stored)}
    assert "(+100)" in notes(read_checkpoint(tiny.write(tmp_path, content)))


def test_prediction_layers_behind_the_last_are_not_loaded(tmp_path: Path) -> None:
    content = {
        "config.json": tiny.config_bytes(),
        "model.safetensors": safetensors(tiny.tensors(layers=3)),
    }
    folder = tiny.write(tmp_path, content)
    facts = read_checkpoint(folder)
    assert facts.stored_bytes == 2 * tiny.PARAMETERS
    assert "not counted: multi-token-prediction layers" in notes(facts)
    assert (read_checkpoint(folder, include_mtp=True).stored_bytes or 0) > 2 * tiny.PARAMETERS


@pytest.mark.parametrize("name", ["mtp.layers.0.w", "model.mtp_layers.0.w", "nextn.proj.w"])
def test_prediction_modules_by_name_are_not_loaded(tmp_path: Path, name: str) -> None:
    stored = tiny.tensors() | {name: ("BF16", (10, 10))}
    content = {"config.json": tiny.config_bytes(), "model.safetensors": safetensors(stored)}
    facts = read_checkpoint(tiny.write(tmp_path, content))
    assert facts.stored_bytes == 2 * tiny.PARAMETERS


def test_a_tied_head_that_is_stored_twice_counts_once(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, tiny.files(tie_word_embeddings=True))
    facts = read_checkpoint(folder)
    assert facts.stored_bytes == 2 * (tiny.PARAMETERS - 256 * 64)
    assert "agree on" in notes(facts)


def test_rotary_buffers_are_no_weights(tmp_path: Path) -> None:
    stored = tiny.tensors() | {"model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (8,))}
    content = {"config.json": tiny.config_bytes(), "model.safetensors": safetensors(stored)}
    facts = read_checkpoint(tiny.write(tmp_path, content))
    assert facts.stored_bytes == 2 * tiny.PARAMETERS


def test_a_silent_config_takes_its_dtype_from_the_headers(tmp_path: Path) -> None:
    content = {
        "config.json": tiny.config_bytes(dtype=None),
        "model.safetensors": safetensors(tiny.tensors(dtype="F32")),
    }
    facts = read_checkpoint(tiny.write(tmp_path, content))
    assert facts.dtype == "float32"
    assert facts.stored_bytes == 4 * tiny.PARAMETERS


def quantised(facts: ModelFacts) -> ModelFacts:
    up = "model.layers.{i}.mlp.up_proj.weight"
    down = "model.layers.{i}.mlp.down_proj.weight"
    modules = (QuantizedModules("fp8", (up, down)),)
    return replace(facts, quantization=modules, quantization_method="fp8")


def groups(up: str, down: dict[int, str]) -> list[TensorGroup]:
    rows = [TensorGroup("model.layers.{i}.mlp.up_proj.weight", up, (128, 64), (0, 1), 1, 8192)]
    rows += [
        TensorGroup("model.layers.{i}.mlp.down_proj.weight", dtype, (64, 128), (i,), 1, 8192)
        for i, dtype in down.items()
    ]
    return rows


def test_what_the_headers_store_plain_is_not_quantised(tmp_path: Path) -> None:
    facts = quantised(read_checkpoint(tiny.write(tmp_path, {"config.json": tiny.config_bytes()})))
    stored = with_stored(facts, groups("F8_E4M3", {0: "F8_E4M3", 1: "BF16"}), "test")
    assert stored.quantization == (
        QuantizedModules("fp8", ("model.layers.{i}.mlp.up_proj.weight",)),
        QuantizedModules("fp8", ("model.layers.{i}.mlp.down_proj.weight",), (0,)),
    )


def test_confirmed_quantisation_stays_as_it_is(tmp_path: Path) -> None:
    facts = quantised(read_checkpoint(tiny.write(tmp_path, {"config.json": tiny.config_bytes()})))
    stored = with_stored(facts, groups("F8_E4M3", {0: "F8_E4M3", 1: "F8_E4M3"}), "test")
    assert stored.quantization == facts.quantization


def test_fused_experts_are_found_in_files_that_store_them_one_by_one(tmp_path: Path) -> None:
    from planner.resolve.arch import read_config

    config = {
        **tiny.CONFIG,
        "model_type": "qwen3_moe",
        "head_dim": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
    }
    facts = read_config(config, model="m", source="test")
    fused = next(t.name for t in facts.tensors if t.kind == "experts" and "down" in t.name)
    facts = replace(facts, quantization=(QuantizedModules("fp8", (fused,)),))
    plain = TensorGroup(
        "model.layers.{i}.mlp.experts.*.down_proj.weight", "BF16", (64, 32), (1,), 4, 4096
    )
    packed = replace(plain, dtype="F8_E4M3", layers=(0,), tensor_bytes=2048)
    stored = with_stored(facts, [plain, packed], "test")
    assert stored.quantization == (QuantizedModules("fp8", (fused,), (0,)),)


def test_arithmetic_takes_each_format_at_its_bits(tmp_path: Path) -> None:
    facts = quantised(read_checkpoint(tiny.write(tmp_path, {"config.json": tiny.config_bytes()})))
    saved = 2 * 2 * 64 * 128  # two layers, two matrices, one byte less each element
    assert arithmetic_bytes(facts, {"fp8": 8.0}) == 2 * tiny.PARAMETERS - saved
    assert arithmetic_bytes(facts, {}) is None


def test_a_config_that_hides_its_quantisation_is_noted(tmp_path: Path) -> None:
    facts = read_checkpoint(tiny.write(tmp_path, {"config.json": tiny.config_bytes()}))
    stored = with_stored(facts, groups("F8_E4M3", {}), "test")
    assert "stored quantised, config.json does not say how" in notes(stored)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "No such file"),
        ({"config.json": b"{nope"}, "is not JSON"),
        ({"config.json": b"[1]"}, "not a JSON object"),
        ({"config.json": b"\xff\xfe\x00"}, "not UTF-8"),
        ({"config.json": tiny.config_bytes(), "model.safetensors": b"xx"}, "too short"),
    ],
)
def test_a_broken_folder_is_an_input_problem(
    tmp_path: Path, content: dict[str, bytes], says: str
) -> None:
    with pytest.raises(InputProblems, match=says):
        read_checkpoint(tiny.write(tmp_path, content))


def test_hf_quant_config_beside_the_config_is_read(tmp_path: Path) -> None:
    quant = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    content = {
        "config.json": tiny.config_bytes(),
        "hf_quant_config.json": json.dumps(quant).encode(),
    }
    facts = read_checkpoint(tiny.write(tmp_path, content))
    assert facts.quantization_method in ("modelopt", "")
