"""What the reader says about configs that it cannot or should not read."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import EXIT_INPUT, PlannerError
from planner.resolve.arch import ConfigProblem, UnknownModelType, known_model_types, read_config


def llama(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
    }
    return {**config, **changes}


def read(config: dict[str, Any]) -> Any:
    return read_config(config, model="some/model", source="test")


def test_unknown_type_names_the_nearest_and_both_ways_on() -> None:
    with pytest.raises(UnknownModelType) as caught:
        read(llama(model_type="lama"))
    message = str(caught.value)
    assert "some/model" in message
    assert "'lama'" in message
    assert "'llama'" in message
    assert "--derive" in message
    assert "--assume-like" in message
    assert caught.value.exit_code == EXIT_INPUT


def test_a_config_without_a_type_says_so() -> None:
    config = llama()
    del config["model_type"]
    with pytest.raises(ConfigProblem, match="no 'model_type'"):
        read(config)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": "4096"}, "hidden_size must be a whole number"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be a whole number of at least 0"),
        ({"num_attention_heads": True}, "num_attention_heads must be a whole number"),
        ({"num_key_value_heads": 3}, "cannot share 3 key-value heads"),
        ({"attention_bias": {"q": 1}}, "attention_bias must be true or false"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1"),
    ],
)
def test_wrong_values_name_the_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigProblem, match=said):
        read(llama(**changes))


def test_short_layer_list_contradicts_the_depth() -> None:
    with pytest.raises(ConfigProblem, match="layer_types lists 1 layers"):
        read(llama(model_type="qwen3", layer_types=["full_attention"]))


def test_unknown_layer_type_is_not_guessed() -> None:
    with pytest.raises(ConfigProblem, match="unknown layer type 'wavelet'"):
        read(llama(model_type="qwen3", layer_types=["wavelet", "full_attention"]))


def test_more_experts_per_token_than_experts() -> None:
    with pytest.raises(ConfigProblem, match="9 experts per token out of 8"):
        read(llama(model_type="mixtral", num_local_experts=8, num_experts_per_tok=9))


def test_unknown_text_model_inside_a_multimodal_one() -> None:
    with pytest.raises(PlannerError, match="unknown model_type 'wavelet'"):
        read({"model_type": "llava", "text_config": {"model_type": "wavelet"}})


def test_null_where_the_class_wants_a_number_is_recorded() -> None:
    facts = read(llama(vocab_size=None))
    assert facts.vocab_size == 32000
    assert facts.assumptions == ("vocab_size is null: taken as the class default 32000",)


def test_old_and_new_name_that_differ_are_recorded() -> None:
    facts = read({"model_type": "gpt2", "n_embd": 64, "hidden_size": 128, "n_head": 4})
    assert facts.hidden_size == 128
    assert any("hidden_size = 128 overrides n_embd" in text for text in facts.assumptions)


def test_silent_fields_take_the_defaults_of_the_class() -> None:
    silent = read({"model_type": "llama"})
    assert silent.parameters == 6_738_415_616


@pytest.mark.parametrize("model_type", ["opt", "bloom", "jamba", "falcon_h1", "gemma4", "qwen3_5"])
def test_the_long_tail_is_known(model_type: str) -> None:
    assert model_type in known_model_types()


@pytest.mark.parametrize("value", [[], "x", 1.5, {"a": 1}, -3, None, True, 10**30])
@pytest.mark.parametrize(
    "field", ["hidden_size", "layer_types", "num_hidden_layers", "tie_word_embeddings", "head_dim"]
)
def test_odd_values_never_end_in_a_traceback(field: str, value: Any) -> None:
    try:
        read(llama(model_type="qwen3", **{field: value}))
    except PlannerError as error:
        assert "some/model" in str(error)


def test_assuming_another_type_is_recorded() -> None:
    facts = read_config(
        llama(model_type="brand_new"), model="some/model", source="test", assume_like="llama"
    )
    assert facts.parameters == read(llama()).parameters
    assert facts.model_type == "brand_new"
    assert facts.assumptions == ("model_type 'brand_new' is read as 'llama', as asked",)


def test_old_names_of_a_renamed_type_are_read() -> None:
    old = {"model_type": "RefinedWebModel", "hidden_size": 128, "n_head": 4, "n_layer": 2}
    new = {
        "model_type": "falcon",
        "hidden_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    }
    assert read(old).parameters == read(new).parameters
    assert any("read as 'falcon'" in text for text in read(old).assumptions)


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}, "x"])
@pytest.mark.parametrize("key", ["config_groups", "ignore", "quantized_layers", "quant_method"])
def test_odd_quantisation_sections_never_end_in_a_traceback(key: str, value: Any) -> None:
    section = {"quant_method": "compressed-tensors", "quant_algo": "MIXED_PRECISION", key: value}
    try:
        read(llama(quantization_config=section))
    except PlannerError as error:
        assert "some/model" in str(error)
