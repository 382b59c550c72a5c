"""Which tensors a pre-quantised checkpoint stores in which format."""

from __future__ import annotations

from typing import Any

import pytest

from planner.resolve.arch import read_config


def read(quantization: dict[str, Any] | None, **fields: Any) -> Any:
    config: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 96,
        **fields,
    }
    hf = config.pop("hf", None)
    if quantization is not None:
        config["quantization_config"] = quantization
    return read_config(config, model="m", source="test", hf_quant_config=hf)


def stored(facts: Any) -> dict[str, dict[str, tuple[int, ...] | None]]:
    """Leaf names by format, with the layers where not all are meant."""
    found: dict[str, dict[str, tuple[int, ...] | None]] = {}
    for group in facts.quantization:
        for name in group.tensors:
            leaf = name.removesuffix(".weight").rpartition(".")[2]
            found.setdefault(group.format, {})[leaf] = group.layers
    return found


LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize(
    ("quantization", "wanted"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8-dynamic"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq-int4-g128"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "gptq-int4-g32"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq-int4-per-channel"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "gptq-int8-g128"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8-bnb"),
        ({"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"}, "nf4"),
        (
            {
                "quant_method": "bitsandbytes",
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
            },
            "nf4-dq",
        ),
        ({"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "fp4"}, "fp4-bnb"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, "nvfp4"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "int8-w8a16"),
        ({"quant_method": "hqq", "nbits": 4, "group_size": 64}, "hqq-int4-g64"),
    ],
)
def test_every_linear_layer_of_the_text_model(quantization: dict[str, Any], wanted: str) -> None:
    assert stored(read(quantization)) == {wanted: dict.fromkeys(LINEAR)}


def scheme(bits: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"num_bits": bits, "type": kind, **more}


@pytest.mark.parametrize(
    ("weights", "activations", "wanted"),
    [
        (scheme(8, "float", strategy="channel"), {"num_bits": 8}, "fp8-dynamic"),
        (scheme(8, "float", strategy="tensor"), None, "fp8"),
        (scheme(8, "float", strategy="block"), None, "fp8-block"),
        (scheme(4, "float", group_size=16), None, "nvfp4"),
        (scheme(4, "float", group_size=32), None, "mxfp4"),
        (scheme(8, "int", strategy="channel"), {"num_bits": 8}, "int8-w8a8"),
        (scheme(8, "int", strategy="channel"), None, "int8-w8a16"),
        (scheme(4, "int", group_size=128), None, "int4-w4a16-g128"),
    ],
)
def test_compressed_tensors_schemes(
    weights: dict[str, Any], activations: dict[str, Any] | None, wanted: str
) -> None:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    facts = read(
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
        }
    )
    assert stored(facts) == {wanted: dict.fromkeys(LINEAR)}


def ignoring(*names: str) -> dict[str, dict[str, tuple[int, ...] | None]]:
    quantization = {
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": list(names),
    }
    return stored(read(quantization))["fp8-block"] if names else {}


def test_ignored_by_full_name_in_one_layer() -> None:
    assert ignoring("model.layers.1.mlp.down_proj")["down_proj"] == (0, 2)


def test_ignored_by_prefix_of_a_layer() -> None:
    assert set(ignoring("model.layers.0").values()) == {(1, 2)}


def test_ignored_by_leaf_name() -> None:
    assert "down_proj" not in ignoring("down_proj")


def test_ignored_by_regular_expression() -> None:
    assert set(ignoring("re:.*self_attn.*")) == {"gate_proj", "up_proj", "down_proj"}


def test_ignored_by_glob() -> None:
    assert set(ignoring("model.layers.*.self_attn*")) == {"gate_proj", "up_proj", "down_proj"}


def test_ignored_by_the_fused_name_of_an_engine() -> None:
    left = ignoring("model.layers.0.self_attn.qkv_proj")
    assert left["q_proj"] == left["k_proj"] == left["v_proj"] == (1, 2)
    assert left["o_proj"] is None


def test_names_of_other_layers_that_begin_alike_are_not_meant() -> None:
    facts = read(
        {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.1"]},
        num_hidden_layers=12,
    )
    assert stored(facts)["fp8"]["q_proj"] == (0, *range(2, 12))


def test_mixed_precision_by_layer() -> None:
    facts = read(
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {
                "model.layers.0.mlp.down_proj": {"quant_algo": "FP8"},
                "model.layers.1.mlp.down_proj": {"quant_algo": "NVFP4"},
            },
        }
    )
    assert stored(facts) == {"fp8": {"down_proj": (0,)}, "nvfp4": {"down_proj": (1,)}}


def test_modelopt_file_beside_the_config() -> None:
    hf = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head", "*self_attn*"]}}
    assert set(stored(read(None, hf=hf))["fp8"]) == {"gate_proj", "up_proj", "down_proj"}


def test_mxfp4_holds_the_experts_alone() -> None:
    facts = read_config(
        {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}},
        model="m",
        source="test",
    )
    assert set(stored(facts)["mxfp4"]) == {"gate_up_proj", "down_proj"}


def test_an_unknown_method_is_said_and_not_guessed() -> None:
    facts = read({"quant_method": "sorcery"})
    assert facts.quantization == ()
    assert facts.notes == ("quantisation 'sorcery' is not covered",)
