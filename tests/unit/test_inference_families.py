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
MODELS = (
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
