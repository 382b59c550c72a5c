"""LoRA sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.resolve.arch import read_config
from planner.resolve.lora import lora_modules, lora_parameters, missing_targets


def read(model_type: str, **fields: Any) -> Any:
    return read_config({"model_type": model_type, **fields}, model="m", source="test")


LLAMA = read("llama")
H, LAYERS = 4096, 32


def test_rank_times_in_plus_out() -> None:
    assert lora_parameters(LLAMA, 8, ["q_proj", "v_proj"]) == 8 * (H + H) * 2 * LAYERS
    assert lora_parameters(LLAMA, 16, "down_proj") == 16 * (11008 + H) * LAYERS


def test_head_and_embedding_as_targets() -> None:
    assert lora_parameters(LLAMA, 8, "lm_head") == 8 * (H + 32000)
    assert lora_parameters(LLAMA, 8, "embed_tokens") == 8 * (H + 32000)


def test_all_linear_leaves_the_head_out() -> None:
    each = 4 * (H + H) + 3 * (H + 11008)
    assert lora_parameters(LLAMA, 16, "all-linear") == 16 * each * LAYERS


def test_all_attention() -> None:
    assert lora_parameters(LLAMA, 4, "all-attention") == 4 * 4 * 2 * H * LAYERS


def test_rank_pattern_matches_at_the_end_of_the_name() -> None:
    pattern = {"layers.0.self_attn.q_proj": 32, "v_proj": 4}
    expected = 8192 * (32 + 8 * (LAYERS - 1) + 4 * LAYERS)
    assert lora_parameters(LLAMA, 8, "q_proj,v_proj", rank_pattern=pattern) == expected


def test_dora_adds_one_magnitude_for_each_output() -> None:
    plain = lora_parameters(LLAMA, 8, "q_proj")
    assert lora_parameters(LLAMA, 8, "q_proj", dora=True) == plain + H * LAYERS


def test_saved_modules_are_trained_whole() -> None:
    plain = lora_parameters(LLAMA, 8, "q_proj")
    saved = lora_parameters(LLAMA, 8, "q_proj", modules_to_save=["lm_head", "embed_tokens"])
    assert saved == plain + 2 * 32000 * H


def test_one_layer_by_its_number() -> None:
    modules = lora_modules(LLAMA, 8, "layers.3.mlp.down_proj")
    assert [(module.layers, module.count) for module in modules] == [((3,), 1)]


def test_fused_projections_have_no_separate_targets() -> None:
    facts = read("gpt2")
    assert lora_parameters(facts, 8, "q_proj;v_proj") == 0
    assert missing_targets(facts, "q_proj;c_attn") == ("q_proj",)
    assert lora_parameters(facts, 8, "c_attn") == 8 * (768 + 3 * 768) * 12


def test_towers_are_not_adapted() -> None:
    facts = read("gemma3", text_config={"model_type": "gemma3_text"})
    modules = lora_modules(facts, 8, "q_proj")
    assert {module.role for module in modules} == {"attention"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "model_type": "mixtral",
                "num_local_experts": 8,
                "intermediate_size": 14336,
                "num_key_value_heads": 8,
            },
            359_665_664,
        ),
        (
            {
                "model_type": "deepseek_v2",
                "hidden_size": 2048,
                "num_hidden_layers": 27,
                "first_k_dense_replace": 1,
                "q_lora_rank": None,
                "kv_lora_rank": 512,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
                "intermediate_size": 10944,
                "moe_intermediate_size": 1408,
                "n_routed_experts": 64,
                "n_shared_experts": 2,
                "num_experts_per_tok": 6,
                "qk_nope_head_dim": 128,
                "qk_rope_head_dim": 64,
                "v_head_dim": 128,
                "vocab_size": 102400,
            },
            358_994_944,
        ),
    ],
)
def test_fused_experts_as_peft_counts_them(config: dict[str, Any], expected: int) -> None:
    facts = read_config(config, model="m", source="test")
    assert lora_parameters(facts, 16, "all-linear+experts") == expected


@given(rank=st.integers(1, 256))
def test_size_is_linear_in_the_rank(rank: int) -> None:
    assert lora_parameters(LLAMA, rank, "all-linear") == rank * lora_parameters(
        LLAMA, 1, "all-linear"
    )
