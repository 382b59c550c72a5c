"""Layer patterns, caches and states that the reader works out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.resolve.arch import known_model_types, read_config
from planner.resolve.card import card, card_text, kv_bytes_at, kv_bytes_per_token, layer_pattern


def read(model_type: str, **fields: Any) -> Any:
    return read_config({"model_type": model_type, **fields}, model="m", source="test")


def test_gemma3_has_one_full_layer_in_six() -> None:
    facts = read("gemma3_text", num_hidden_layers=12, sliding_window=1024)
    assert layer_pattern(facts) == "5x sliding(1024) + 1x full, 2 times"


def test_qwen_window_counts_only_where_it_is_on() -> None:
    off = read("qwen2", sliding_window=4096, use_sliding_window=False, num_hidden_layers=4)
    on = read(
        "qwen2",
        sliding_window=4096,
        use_sliding_window=True,
        max_window_layers=2,
        num_hidden_layers=4,
    )
    assert [layer.window_tokens for layer in off.layers] == [None] * 4
    assert [layer.window_tokens for layer in on.layers] == [None, None, 4096, 4096]


def test_latent_attention_caches_the_latent_and_expands_without_it() -> None:
    layer = read("deepseek_v3").layers[0]
    assert layer.kv_elements_per_token == 512 + 64
    assert layer.kv_expanded_elements_per_token == 128 * (128 + 64 + 128)


def test_shared_cache_stores_nothing() -> None:
    facts = read("gemma3n_text", num_hidden_layers=10, num_kv_shared_layers=5)
    assert [layer.kv_elements_per_token > 0 for layer in facts.layers] == [True] * 5 + [False] * 5


def test_recurrent_layers_keep_a_state_and_no_cache() -> None:
    facts = read("mamba2", num_hidden_layers=1)
    assert kv_bytes_per_token(facts) == 0
    assert facts.layers[0].ssm_state_elements == 128 * 64 * 128


def test_mtp_layers_are_counted_on_request() -> None:
    config = {"model_type": "deepseek_v3", "num_nextn_predict_layers": 1}
    plain = read_config(config, model="m", source="test")
    more = read_config(config, model="m", source="test", include_mtp=True)
    hidden, experts = 7168, 256
    expert = 3 * hidden * 2048
    assert more.num_hidden_layers == plain.num_hidden_layers + 1
    assert more.parameters - plain.parameters > (experts + 1) * expert + 2 * hidden * hidden


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "falcon_h1", "minimax", "lfm2"])
@given(context=st.integers(min_value=1, max_value=300_000))
def test_a_longer_context_never_needs_less_cache(model_type: str, context: int) -> None:
    facts = read(model_type)
    assert kv_bytes_at(facts, context) <= kv_bytes_at(facts, context + 1)
    assert kv_bytes_at(facts, context) <= kv_bytes_per_token(facts) * context


@given(
    layers=st.integers(1, 6),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 4),
    width=st.integers(1, 8).map(lambda n: 16 * n),
)
def test_parameters_add_up_over_roles(layers: int, groups: int, per_group: int, width: int) -> None:
    facts = read(
        "qwen3",
        num_hidden_layers=layers,
        num_attention_heads=groups * per_group,
        num_key_value_heads=groups,
        head_dim=16,
        hidden_size=width,
        intermediate_size=2 * width,
        vocab_size=50,
    )
    assert facts.parameters == sum(facts.parameters_by_role().values())
    attention = layers * width * 16 * (2 * groups * per_group + 2 * groups)
    assert facts.parameters_by_role()["attention"] == attention
    assert facts.parameters_by_role()["mlp"] == layers * 3 * width * 2 * width


@pytest.mark.parametrize("model_type", known_model_types())
def test_a_known_type_reads_its_own_defaults_or_says_why_not(model_type: str) -> None:
    try:
        facts = read(model_type)
    except Exception as error:
        assert type(error).__name__ in ("ConfigProblem", "UnknownModelType"), repr(error)
        return
    assert facts.layers
    assert facts.parameters > 0
    assert facts.active_parameters <= facts.parameters
    names = [tensor.name for tensor in facts.tensors]
    assert all("None" not in name for name in names)


def test_card_has_the_promised_keys() -> None:
    shown = card(read("llama"), lora=(8, "q_proj;v_proj"))
    promised = (
        "model parameters text_parameters active_parameters embedding lm_head attention mixer mlp"
        " routed_experts shared_experts router norm multimodal other tied_embeddings"
        " kv_bytes_per_token state_bytes_per_sequence quantisable_parameters layer_types source"
        " assumptions lora_parameters"
    )
    assert set(promised.split()) <= set(shown)
    assert shown["lora_parameters"] == 8 * 32 * 2 * (4096 + 4096)


def test_card_text_says_where_a_public_number_differs() -> None:
    text = card_text(read("llama"), published_parameters={"the hub": 7_000_000_000})
    assert "the hub says 7,000,000,000" in text
    assert "6,738,415,616" in text
