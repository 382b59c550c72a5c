"""Layers on the host, llama.cpp's compute buffer, draft models, and engines known by their code."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.inference import estimate_inference
from planner.resolve.arch.read import read_config
from tests.inference_tables import CONFIGS, GIB, cell, facts, tables

MIB = 2**20
QWEN_235B: dict[str, Any] = {
    "model_type": "qwen3_moe",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "num_hidden_layers": 94,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
LARGE = read_config(QWEN_235B, model="qwen-235b", source="test")
MODELS = (*(facts(name) for name in CONFIGS), LARGE)


def estimate(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    used = [(c["engine"], c["engine_version"]) for c in cells]
    frame = pl.DataFrame(cells, infer_schema_length=None).lazy()
    return estimate_inference(frame, tables(MODELS, used)).collect(engine="in-memory").to_dicts()


def llama(**columns: Any) -> dict[str, Any]:
    given = {"engine": "llama.cpp", "engine_version": None, "weight_format": "q8_0"}
    return cell(**{**given, **columns})


def compute_buffer(row: dict[str, Any]) -> float:
    return float(row["activations_bytes"] + row["logits_bytes"]) / MIB


def test_compute_buffer_holds_mask_experts_and_the_copied_stack() -> None:
    """llama.cpp, Qwen3-235B q8_0 with experts on the CPU, 32k, ubatch 512: 1024 MiB printed."""
    (row,) = estimate(
        llama(
            model="qwen-235b",
            context_tokens=32768,
            max_num_batched_tokens=512,
            has_host_weights=True,
        )
    )
    assert compute_buffer(row) == pytest.approx(1024, rel=0.03)


def test_compute_buffer_is_the_logits_where_all_is_on_the_gpu() -> None:
    """ik_llama.cpp printed 312.7 MiB: 512 rows of 151,936 fp32 logits and two hidden states."""
    (row,) = estimate(
        llama(model="qwen-235b", context_tokens=8192, max_num_batched_tokens=512, gpu_layers=99)
    )
    assert compute_buffer(row) == pytest.approx(312.7, rel=0.05)


def test_small_batches_copy_no_host_tensors() -> None:
    small, large = estimate(
        *(
            llama(model="qwen-235b", max_num_batched_tokens=n, has_host_weights=True)
            for n in (31, 32)
        )
    )
    assert compute_buffer(large) - compute_buffer(small) > 700


def test_layers_on_the_host_take_no_gpu_memory() -> None:
    rows = estimate(*(llama(gpu_layers=count) for count in (0, 16, 32, 33)), llama())
    none, half, body, whole, default = rows
    assert none["weights_bytes"] == pytest.approx(0, abs=20 * MIB)
    assert none["kv_cache_bytes"] == 0
    assert half["weights_bytes"] == pytest.approx(body["weights_bytes"] / 2, rel=0.02)
    assert half["kv_cache_bytes"] == pytest.approx(whole["kv_cache_bytes"] / 2)
    head = 128256 * 4096 * 34 / 32
    assert whole["weights_bytes"] - body["weights_bytes"] == pytest.approx(head, rel=0.01)
    assert whole["weights_bytes"] == default["weights_bytes"]
    assert none["logits_bytes"] == 0


def test_engines_that_place_no_layers_refuse_a_count() -> None:
    (row,) = estimate(cell(gpu_layers=10))
    assert "gpu_layers" in row["unsupported_reason"]


def test_draft_model_adds_its_weights_and_cache() -> None:
    plain, drafted = estimate(
        cell(max_num_seqs=256), cell(max_num_seqs=256, draft_model="qwen-1.5b")
    )
    parameters = next(m for m in MODELS if m.model == "qwen-1.5b").parameters
    added = drafted["weights_bytes"] - plain["weights_bytes"]
    assert added == pytest.approx(2 * parameters, rel=0.01)
    per_token = drafted["kv_bytes_per_token"] - plain["kv_bytes_per_token"]
    assert per_token == 28 * 2 * 2 * 128 * 2
    assert drafted["kv_pool_bytes"] == pytest.approx(plain["kv_pool_bytes"] - added)
    assert drafted["max_concurrent_sequences"] < plain["max_concurrent_sequences"]


def test_draft_model_is_counted_in_a_cache_of_windows_too() -> None:
    plain, drafted = estimate(
        cell(model="gemma-2b"), cell(model="gemma-2b", draft_model="qwen-1.5b")
    )
    added = drafted["kv_cache_bytes"] - plain["kv_cache_bytes"]
    assert added == pytest.approx(8192 * 28 * 2 * 2 * 128 * 2, rel=0.01)


def test_heads_of_the_model_itself_are_one_more_layer() -> None:
    plain, heads = estimate(cell(), cell(speculative_tokens=2))
    layer = (plain["weights_bytes"] - 2 * 128256 * 4096 * 2) / 32
    assert heads["weights_bytes"] - plain["weights_bytes"] == pytest.approx(layer, rel=0.01)
    assert heads["kv_bytes_per_token"] == plain["kv_bytes_per_token"] * 33 / 32
    assert heads["weights_low_bytes"] == plain["weights_low_bytes"]


def test_unknown_draft_model_is_named() -> None:
    (row,) = estimate(cell(draft_model="nobody/nothing"))
    assert row["unsupported_reason"] == "the draft model nobody/nothing is not known"


def test_fused_awq_writes_the_scores_of_a_prompt_out() -> None:
    """32 heads x 4096 x 4096 x (2 + 4 + 4) bytes, beside hidden states and rotary tables."""
    (row,) = estimate(
        cell(
            engine="autoawq",
            engine_version=None,
            weight_format="awq-int4-g128",
            context_tokens=None,
            input_tokens=4096,
            output_tokens=4096,
        )
    )
    scores = 32 * 4096**2 * 10
    step = row["activations_bytes"] + row["logits_bytes"]
    assert step > scores
    assert step / GIB == pytest.approx(scores / GIB, abs=0.4)


def test_exllama_keeps_the_embedding_on_the_host() -> None:
    given = {"weight_format": "gptq-int4-g128", "engine_version": None}
    here, there = estimate(cell(engine="exllama", **given), cell(engine="transformers", **given))
    saved = there["weights_bytes"] - here["weights_bytes"]
    assert saved == pytest.approx(128256 * 4096 * 2, rel=0.02)


def test_litgpt_quantises_the_head_as_well() -> None:
    given = {"weight_format": "nf4", "engine_version": None}
    here, there = estimate(cell(engine="litgpt", **given), cell(engine="transformers", **given))
    saved = there["weights_bytes"] - here["weights_bytes"]
    assert saved == pytest.approx(128256 * 4096 * 2 * 0.75, rel=0.05)


def test_llama_cpp_deals_layers_with_the_output_as_one_more() -> None:
    """33 parts on three GPUs: 11, 11, and 10 with the head; the input embedding is on the CPU."""
    (row,) = estimate(
        cell(engine="llama.cpp", engine_version=None, pipeline_parallel_size=3, gpu_count=3)
    )
    layer = 2 * (4096 * (4096 * 2 + 2 * 1024) + 3 * 4096 * 14336)
    head = 2 * 128256 * 4096
    assert row["weights_bytes"] == pytest.approx(10 * layer + head, rel=0.001)


def test_llama_cpp_stores_8_bit_caches_in_blocks_with_scales() -> None:
    named, blocks = estimate(
        *(
            cell(engine="llama.cpp", engine_version=None, kv_cache_dtype=kind)
            for kind in ("int8", "q8_0")
        )
    )
    assert named["kv_cache_bytes"] == blocks["kv_cache_bytes"]


def test_sglang_keeps_windows_of_listed_families_only() -> None:
    (row,) = estimate(cell(model="gemma-2b", engine="sglang", engine_version="0.5.4"))
    assert row["room_sequence_bytes"] == 8192 * 26 * 2 * 4 * 256 * 2


@pytest.mark.parametrize(
    ("engine", "weight_format", "runs"),
    [
        ("llama.cpp", "awq-int4-g128", False),
        ("llama.cpp", "q4_k_m", True),
        ("llama.cpp", "bf16", True),
        ("llama.cpp", "checkpoint", True),
        ("transformers", "q4_k_m", False),
        ("transformers", "awq-int4-g128", True),
        ("vllm", "q4_k_m", True),
    ],
)
def test_formats_that_an_engine_does_not_run_are_told(
    engine: str, weight_format: str, runs: bool
) -> None:
    (row,) = estimate(cell(engine=engine, engine_version=None, weight_format=weight_format))
    reason = row["unsupported_reason"]
    assert (reason is None) is runs
    assert runs or reason == f"{engine} does not run {weight_format} weights"
