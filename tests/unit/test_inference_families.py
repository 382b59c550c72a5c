"""What modeling code keeps by family and version: rotary tables, caches of tuples, logits."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.inference import estimate_inference
from planner.resolve.arch.read import read_config
from planner.resolve.engines import find_engine, profile_of
from planner.units import BYTES_PER_MIB
from tests.inference_tables import CONFIGS, cell, facts, tables

LLAMA_7B = {
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 1600,
    "n_layer": 48,
    "n_head": 25,
    "n_positions": 1024,
    "vocab_size": 50257,
}
MISTRAL = {
    **CONFIGS["llama-8b"],
    "model_type": "mistral",
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 4096,
    "ffn_dim": 16384,
    "word_embed_proj_dim": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 50272,
    "max_position_embeddings": 2048,
}
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "multi_query": True,
    "parallel_attn": True,
    "new_decoder_architecture": False,
    "vocab_size": 65024,
}
FALCON_40B = {
    "model_type": "falcon",
    "hidden_size": 8192,
    "num_hidden_layers": 60,
    "num_attention_heads": 128,
    "num_kv_heads": 8,
    "new_decoder_architecture": True,
    "vocab_size": 65024,
}
PHI_3 = {
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
}
MODELS = (
    read_config(PHI_3, model="phi-3-mini", source="test"),
    read_config(FALCON_40B, model="falcon-40b", source="test"),
    read_config(MISTRAL, model="mistral-7b", source="test"),
    read_config(OPT, model="opt-6.7b", source="test"),
    read_config(FALCON, model="falcon-7b", source="test"),
    *(facts(name) for name in CONFIGS),
    read_config({**CONFIGS["llama-8b"], **LLAMA_7B}, model="llama-7b", source="test"),
    read_config(GPT2, model="gpt2-xl", source="test"),
)


def estimate(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    used = [(c["engine"], c["engine_version"]) for c in cells]
    frame = pl.DataFrame(cells, infer_schema_length=None).lazy()
    return estimate_inference(frame, tables(MODELS, used)).collect(engine="in-memory").to_dicts()


def run(version: str | None, **columns: Any) -> dict[str, Any]:
    given = {"context_tokens": None, "input_tokens": 64, "output_tokens": 64, **columns}
    return cell(engine="transformers", engine_version=version, **given)


def mib(row: dict[str, Any], *items: str) -> float:
    return float(sum(row[f"{item}_bytes"] or 0 for item in items)) / BYTES_PER_MIB


@pytest.mark.parametrize(
    ("model", "version", "table_mib"),
    [
        ("qwen-1.5b", "4.44.2", 448),  # 28 layers x 2 x 32768 x 128 x 2 bytes
        ("qwen-1.5b", "4.45.0", 0),
        ("llama-7b", "4.30.2", 128),  # 32 x 2 x 4096 x 128 x 4: fp32 at first
        ("llama-7b", "4.40.2", 64),
        ("llama-7b", "4.41.0", 0),
        ("mixtral", "4.47.1", 512),  # 32 x 2 x 32768 x 128 x 2
        ("mixtral", "4.48.0", 0),
        ("gemma-2b", "4.44.2", 0),
    ],
)
def test_attention_layers_kept_rotary_tables_by_family(
    model: str, version: str, table_mib: float
) -> None:
    row, newest = estimate(run(version, model=model), run("4.49.0", model=model))
    rounding = 0 if model == "mixtral" else 1
    assert mib(row, "weights") - mib(newest, "weights") == pytest.approx(table_mib, abs=rounding)


def test_a_cache_of_tuples_is_alive_twice_in_the_last_step() -> None:
    """Llama-2-7B: 2 x 32 layers x 4096 x 2 bytes a token, 2049 tokens."""
    given = {"model": "llama-7b", "input_tokens": 1, "output_tokens": 2048}
    tuples, dynamic = estimate(run("4.41.2", **given), run("4.42.4", **given))
    assert {tuples["peak_phase"], dynamic["peak_phase"]} == {"decode"}
    assert mib(dynamic, "kv_cache") == pytest.approx(0.5 * 2049, rel=0.003)
    assert mib(tuples, "kv_cache") == pytest.approx(2 * 0.5 * 2049, rel=0.003)


def test_logits_of_the_prompt_live_through_the_first_decode_step() -> None:
    """Two caches of 2048 tokens at 0.5 MiB, and fp32 logits of the prompt: 2048 x 32000 x 4."""
    given = {"model": "llama-7b", "input_tokens": 2048, "output_tokens": 64}
    held, deleted = estimate(run("4.41.2", **given), run("4.42.4", **given))
    assert held["peak_phase"] == "first decode step"
    assert mib(held, "kv_cache") == pytest.approx(2048, rel=0.003)
    assert mib(held, "logits") == pytest.approx(250)
    assert deleted["peak_phase"] == "prefill"


@pytest.mark.parametrize(
    ("version", "copies"), [("4.44.2", 2), ("4.51.3", 2), ("4.52.0", 1), (None, 1)]
)
def test_families_moved_to_the_cache_class_one_by_one(version: str | None, copies: int) -> None:
    """GPT-2 XL: 48 layers x 2 x 1600 x 2 bytes a token."""
    (row,) = estimate(run(version, model="gpt2-xl", input_tokens=1, output_tokens=1000))
    cache = copies * 1001 * 48 * 2 * 1600 * 2 / BYTES_PER_MIB
    assert mib(row, "kv_cache") == pytest.approx(cache, rel=0.003)


def test_a_version_that_is_unknown_ranges_over_what_families_had() -> None:
    engine = find_engine("transformers")
    unknown = profile_of(engine, "a fork").by_model_type["qwen2"]["rope_bytes_per_width"]
    assert (unknown.low, unknown.value, unknown.high) == (0, 0, 4)
    assert "qwen2" not in profile_of(engine, None).by_model_type
    early = profile_of(engine, "4.20").by_model_type["llama"]["rope_bytes_per_width"]
    assert early.value == 8  # the oldest profile stands in


@pytest.mark.parametrize(
    ("version", "phase", "gib"),
    [
        ("4.55.4", "decode", 30000 / 8192),  # 3.66 GiB: every token at 128 KiB
        ("4.56.2", "prefill", 29936 / 8192),  # the whole prompt until the next step
        ("5.5.0", "prefill", 29936 / 8192),
    ],
)
def test_windows_of_a_dynamic_cache(version: str, phase: str, gib: float) -> None:
    """Mistral-7B-v0.1 with a window of 4096: 64 new tokens after a long prompt."""
    given = {"model": "mistral-7b", "input_tokens": 29936, "output_tokens": 64}
    (row,) = estimate(run(version, **given))
    assert mib(row, "kv_cache") / 1024 == pytest.approx(gib, rel=0.004)


def test_windows_hold_in_decode_from_4_56() -> None:
    given = {"model": "mistral-7b", "input_tokens": 1, "output_tokens": 29999}
    before, after = estimate(run("4.55.4", **given), run("4.56.2", **given))
    assert mib(before, "kv_cache") == pytest.approx(30000 / 8, rel=0.003)
    assert mib(after, "kv_cache") == pytest.approx(4096 / 8, rel=0.003)


def test_gemma_2_reserves_a_hybrid_cache_for_the_whole_length() -> None:
    """26 layers of 4096 bytes a token, half of them with a window of 4096."""
    given = {"model": "gemma-2b", "input_tokens": 4096, "output_tokens": 4096}
    (row,) = estimate(run("4.47.1", **given))
    assert row["peak_phase"] == "prefill"
    assert mib(row, "kv_cache") == pytest.approx(
        13 * (8192 + 4096) * 4096 / BYTES_PER_MIB, rel=0.01
    )


@pytest.mark.parametrize(
    ("model", "version", "rows", "bytes_each"),
    [
        ("llama-7b", "4.30.2", 1900, 2),  # no .float()
        ("llama-7b", "4.44.2", 1900, 6),
        ("llama-7b", "4.45.2", 1, 6),
        ("falcon-7b", "4.44.2", 1900, 2),
        ("falcon-7b", "4.46.0", 1900, 4),  # cloned whole by generate
        ("falcon-7b", "4.46.3", 1900, 2),
        ("falcon-7b", "4.47.1", 1, 2),
        ("opt-6.7b", "4.57.6", 1900, 2),
        ("opt-6.7b", "5.0.0", 1, 6),
        ("gpt2-xl", "4.52.4", 1900, 2),
        ("gpt2-xl", "4.53.0", 1, 2),
    ],
)
def test_logits_of_the_prompt_by_family(
    model: str, version: str, rows: int, bytes_each: int
) -> None:
    (row,) = estimate(run(version, model=model, input_tokens=1900, output_tokens=1))
    assert (row["logit_rows"], row["bytes_per_logit"]) == (rows, bytes_each)


def test_grouped_experts_hold_rows_sorted_by_expert() -> None:
    """Mixtral, 2048 tokens x 2 experts: inputs twice and 4 x 14336 elements of the gate at once."""
    given = {"model": "mixtral", "input_tokens": 2048, "output_tokens": 1}
    single, first, later = estimate(
        run("4.57.6", **given), run("5.0.0", **given), run("5.24.0", **given)
    )
    rows = 2048 * 2 * 2 / BYTES_PER_MIB
    before = mib(single, "activations")
    assert mib(first, "activations") - before == pytest.approx(rows * (2 * 4096 + 4 * 14336))
    assert mib(later, "activations") - before == pytest.approx(rows * (4096 + 4 * 14336))
    assert mib(later, "activations_low") < before  # PyTorch before 2.9


def test_narrow_experts_keep_their_inputs_to_the_end() -> None:
    """DeepSeek-V2-Lite, 6 x 1408 of 2048: (2 + 3) x 2048 + 3 x 1408, later 4 x 2048."""
    given = {"model": "deepseek-lite", "input_tokens": 4096, "output_tokens": 1}
    first, later = estimate(run("5.0.0", **given), run("5.24.0", **given))
    less = mib(first, "activations") - mib(later, "activations")
    assert less == pytest.approx(4096 * 6 * 2 * (2048 + 3 * 1408) / BYTES_PER_MIB)


@pytest.mark.parametrize(
    ("engine", "version", "model", "elements"),
    [
        ("litgpt", "0.5.3", "llama-8b", 32 * 2 * 32 * 128),  # 32 heads instead of 8
        ("litgpt", "0.5.6", "llama-8b", 32 * 2 * 8 * 128),
        ("litgpt", "0.5.3", "falcon-7b", 32 * 2 * 64),  # one group stays one
        ("transformers", "4.57.6", "falcon-40b", 60 * 2 * 128 * 64),
        ("transformers", "4.57.6", "falcon-7b", 32 * 2 * 64),
    ],
)
def test_keys_and_values_that_are_repeated_before_they_are_cached(
    engine: str, version: str, model: str, elements: int
) -> None:
    (row,) = estimate(run(version, model=model) | {"engine": engine})
    assert row["kv_bytes_per_token"] == 2 * elements


def test_litgpt_keeps_its_logits_in_sixteen_bits() -> None:
    """2000 rows of 32000 logits in 2 bytes, less than an MLP of four buffers of 11008."""
    given = {"model": "llama-7b", "input_tokens": 2000, "output_tokens": 1}
    (row,) = estimate(run("0.5.13", **given) | {"engine": "litgpt"})
    layer = 2000 * (4 * 4096 + 4 * 11008) * 2 / BYTES_PER_MIB
    assert mib(row, "logits") == 0
    assert mib(row, "activations") == pytest.approx(layer + 32)


def test_a_script_runs_its_own_prompt_where_none_is_told() -> None:
    """torchao's generate.py: 6 tokens, of 256 that its cache has room for."""
    given = {"engine": "torchao", "engine_version": "0.9", "input_tokens": None}
    bare, told = estimate(
        cell(**given, context_tokens=None), cell(**given, context_tokens=256, output_tokens=200)
    )
    assert (bare["prompt_tokens"], bare["room_tokens"]) == (6, 256)
    assert told["prompt_tokens"] == 56
    tables_of_angles = 131072 * 128 * 2
    assert bare["weights_bytes"] == pytest.approx(2 * 8_030_261_248 + tables_of_angles, rel=1e-4)


def test_values_that_are_a_view_keep_the_joined_projection_alive() -> None:
    """Phi-3-mini: queries and keys of 2 x 3072 elements a layer beside the cache of as many."""
    given = {"model": "phi-3-mini", "input_tokens": 3000, "output_tokens": 1}
    views, copies = estimate(run("4.55.4", **given), run("4.56.2", **given))
    cache = 3000 * 32 * 2 * 3072 * 2 / BYTES_PER_MIB
    assert mib(copies, "kv_cache") == pytest.approx(cache, rel=1e-3)
    assert mib(views, "kv_cache") == pytest.approx(2 * cache, rel=1e-3)
