"""The inference estimator against figures that engines logged, worked out by hand."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.inference import TERMS, estimate_inference
from planner.estimate.inference.resident import PARTS
from planner.estimate.ledger import COMPONENTS, ITEMS, item_columns
from tests.inference_tables import CONFIGS, GIB, cell, facts, tables

MODELS = tuple(facts(name) for name in CONFIGS)


def estimate(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    used = [(c["engine"], c["engine_version"]) for c in cells]
    frame = pl.DataFrame(cells, infer_schema_length=None).lazy()
    return estimate_inference(frame, tables(MODELS, used)).collect(engine="in-memory").to_dicts()


SERVED: dict[str, Any] = {
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "gpu_memory_utilization": 0.95,
}


def test_pool_of_vllm_as_an_h100_logged_it() -> None:
    """vLLM 0.19, Llama-3.1-8B, 79.19 GiB at 0.95: KV pool 58.11 GiB, 476,016 tokens."""
    (row,) = estimate(cell(**SERVED))
    assert row["weights_bytes"] / GIB == pytest.approx(14.99, abs=0.005)
    peak = (row["activations_bytes"] + row["logits_bytes"]) / GIB
    assert peak == pytest.approx(1.89, abs=0.03)
    assert row["kv_pool_bytes"] / GIB == pytest.approx(58.11, abs=0.05)
    assert row["kv_cache_tokens_capacity"] == pytest.approx(476016, rel=1e-3)
    assert row["kv_bytes_per_token"] == 131072
    assert row["kv_pool_low_bytes"] < row["kv_pool_bytes"] < row["kv_pool_high_bytes"]


def test_hybrid_pool_counts_concurrency_times_context() -> None:
    """vLLM 0.19, gemma-2-2b-it: 66.47 GiB, 670,160 tokens at 8192."""
    (row,) = estimate(cell(model="gemma-2b", **SERVED))
    assert row["kv_cache_tokens_capacity"] == pytest.approx(670160, rel=2e-3)


def test_experts_buffers_stay_beside_the_sampler() -> None:
    """vLLM 0.19: Mixtral at TP 2 peaks at 1.21 GiB, DeepSeek-V2-Lite at 1.93 GiB."""
    mixtral, deepseek = estimate(
        cell(model="mixtral", tensor_parallel_size=2, **SERVED),
        cell(model="deepseek-lite", **SERVED),
    )
    for row, measured in ((mixtral, 1.21), (deepseek, 1.93)):
        peak = (row["activations_bytes"] + row["logits_bytes"]) / GIB
        assert peak == pytest.approx(measured, rel=0.03)


def test_transformers_peaks_in_the_prefill_or_at_the_last_token() -> None:
    """Qwen2.5-1.5B in Transformers 4.46: 4.16 GiB after 14,336 tokens, 2.95 after one."""
    given = {"model": "qwen-1.5b", "engine": "transformers", "engine_version": "4.46.0"}
    long, short = estimate(
        cell(**given, context_tokens=None, input_tokens=14336, output_tokens=2048),
        cell(**given, context_tokens=None, input_tokens=1, output_tokens=2048),
    )
    assert long["peak_phase"] == "prefill"
    assert long["allocated_bytes"] / GIB == pytest.approx(4.16, rel=0.01)
    assert short["peak_phase"] == "decode"
    assert short["allocated_bytes"] / GIB == pytest.approx(2.95, rel=0.01)


def test_older_transformers_hold_the_logits_of_the_whole_prompt() -> None:
    given = {"model": "qwen-1.5b", "engine": "transformers", "context_tokens": None}
    lengths = {"input_tokens": 6144, "output_tokens": 2048}
    old, new = estimate(
        cell(**given, **lengths, engine_version="4.38.2"),
        cell(**given, **lengths, engine_version="4.46.0"),
    )
    assert old["logits_bytes"] == pytest.approx(6144 * 151936 * 6)
    assert new["logits_bytes"] == 0


def test_items_add_up_to_the_total_in_every_engine() -> None:
    engines = ("vllm", "sglang", "tensorrt-llm", "transformers", "llama.cpp", "exllama", "autoawq")
    rows = estimate(
        *(
            cell(model=model, engine=engine, engine_version=None, concurrent_sequences=3)
            for engine in engines
            for model in CONFIGS
        )
    )
    assert len(rows) == len(engines) * len(CONFIGS)
    for row in rows:
        assert row["unsupported_reason"] is None
        items = sum(row[f"{item}_bytes"] or 0 for item in ITEMS)
        assert items == pytest.approx(row["total_bytes"])
        assert row["total_low_bytes"] <= row["total_bytes"] <= row["total_high_bytes"]
        for item in ITEMS:
            low, expected, high = (row[c] for c in item_columns([item]))
            assert (low is None) == (expected is None)
            assert low is None or low <= expected <= high


def test_sglang_shares_out_what_is_free_after_start() -> None:
    """A card with 78.81 GiB free, fraction 0.88, Llama-3.1-8B: pool 54.26 GiB (SGLang docs)."""
    given = {"engine": "sglang", "engine_version": None, "gpu_memory_utilization": 0.88}
    (row,) = estimate(cell(**given, card_gib=79.32))
    assert row["kv_pool_bytes"] / GIB == pytest.approx(54.26, rel=0.01)


def test_what_cannot_be_estimated_or_built_says_why() -> None:
    unknown_format, unknown_cache, heads, stages, fine = estimate(
        cell(weight_format="int3-imagined"),
        cell(kv_cache_dtype="int3"),
        cell(tensor_parallel_size=5),
        cell(pipeline_parallel_size=33),
        cell(),
    )
    assert "int3-imagined" in unknown_format["unsupported_reason"]
    assert "int3" in unknown_cache["unsupported_reason"]
    assert "not divisible" in heads["impossible_reason"]
    assert "33" in stages["impossible_reason"]
    assert fine["unsupported_reason"] is None
    assert fine["impossible_reason"] is None


def test_an_unknown_model_is_reported_not_dropped() -> None:
    (row,) = estimate(cell(model="acme/unknown"))
    assert row["unsupported_reason"] == "the model acme/unknown is not known"


def test_a_context_beyond_the_model_is_noted() -> None:
    (row,) = estimate(cell(model="gemma-2b", context_tokens=16384))
    assert "8192 positions" in row["note"]


def test_what_is_offloaded_leaves_the_card() -> None:
    whole, part = estimate(cell(), cell(cpu_offload_gib=4.0))
    assert whole["weights_bytes"] - part["weights_bytes"] == 4 * GIB


def test_adapter_slots_reserve_buffers_for_every_linear() -> None:
    plain, alone, cut = estimate(
        cell(),
        cell(lora_adapters=4, lora_rank=16),
        cell(lora_adapters=4, lora_rank=16, tensor_parallel_size=2),
    )
    column_in, column_out = 5 * 4096, 4096 + 2 * 1024 + 2 * 14336
    row_in, row_out = 4096 + 14336, 2 * 4096
    assert plain["adapter_bytes"] is None
    outer = 4 * 2 * 16 * 2 * (4096 + 128256)  # embedding and head
    layers = 4 * 2 * 16 * 32
    assert alone["adapter_bytes"] == outer + layers * (column_in + column_out + row_in + row_out)
    assert cut["adapter_bytes"] == outer + layers * (
        column_in + column_out / 2 + row_in / 2 + row_out
    )


def test_adapters_of_an_unknown_rank_have_a_range() -> None:
    (row,) = estimate(cell(lora_adapters=1))
    assert row["adapter_low_bytes"] == row["adapter_bytes"] / 2
    assert row["adapter_high_bytes"] == row["adapter_bytes"] * 4


def test_a_shared_prefix_is_stored_once() -> None:
    plain, shared = estimate(
        cell(concurrent_sequences=10), cell(concurrent_sequences=10, prefix_cache_share=0.5)
    )
    assert shared["kv_cache_bytes"] == pytest.approx(plain["kv_cache_bytes"] * 5.5 / 10)


def test_eager_mode_makes_no_graphs() -> None:
    (row,) = estimate(cell(enforce_eager=True))
    assert row["cuda_graphs_bytes"] == 0


def test_headroom_applies_outside_the_memory_fraction() -> None:
    loose, tight = estimate(
        cell(gpu_memory_utilization=0.5, memory_headroom=0.05),
        cell(gpu_memory_utilization=0.98, memory_headroom=0.05),
    )
    beside = loose["total_bytes"] - loose["kv_cache_bytes"]
    assert loose["budget_bytes"] == pytest.approx(beside + loose["kv_pool_bytes"])
    assert tight["budget_bytes"] == pytest.approx(0.95 * 79.19 * GIB)


def test_an_unknown_version_widens_the_range_and_is_noted() -> None:
    known, unknown = estimate(cell(), cell(engine_version=None))
    width = [row["total_high_bytes"] - row["total_low_bytes"] for row in (known, unknown)]
    assert width[1] > width[0]
    assert "not given" in unknown["note"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"engine": "llama.cpp", "engine_version": None, "gpu_layers": 20},
        {"cpu_offload_gib": 2.0, "draft_model": "qwen-1.5b"},
        {"model": "deepseek-lite", "engine_version": "0.7.3"},
    ],
)
def test_the_weights_are_the_sum_of_the_parts_in_their_formula(asked: dict[str, Any]) -> None:
    (row,) = estimate(cell(**asked))
    parts = [float(row[p.column]) * (1 if p.sign == "+" else -1) for p in PARTS]
    assert row["weights_bytes"] == pytest.approx(sum(parts))
    assert sum(part != 0 for part in parts) > 1


def test_every_item_with_a_size_is_explained_with_columns_that_exist() -> None:
    (row,) = estimate(cell())
    explained = {term.name: term for term in TERMS}
    for item in ITEMS:
        if row[f"{item}_bytes"] is not None:
            assert item in explained
    for term in TERMS:
        assert term.name in COMPONENTS[term.component]
        for operand in term.operands:
            assert operand in row
            assert f"{{{operand}}}" in term.formula
