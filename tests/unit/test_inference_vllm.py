"""What vLLM changed from version to version, against arithmetic on its public code."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from planner.catalog.load import load_catalog
from planner.errors import InputProblems
from planner.estimate.inference import estimate_inference
from planner.resolve.arch.read import read_config
from planner.resolve.engines import profile_of, read_engine
from planner.resolve.facts import ModelFacts
from tests.inference_tables import CONFIGS, DEEPSEEK_LITE, GEMMA_2B, GIB, cell, facts, tables

SPARSE = "deepseek-sparse"
SPARSE_CONFIG: dict[str, Any] = {
    **DEEPSEEK_LITE,
    "model_type": "deepseek_v32",
    "q_lora_rank": 768,
    "index_n_heads": 32,
    "index_head_dim": 128,
    "index_topk": 2048,
}
MODELS = (
    *(facts(name) for name in CONFIGS),
    read_config(SPARSE_CONFIG, model=SPARSE, source="test"),
)
MIB = 1 << 20


def estimate(models: tuple[ModelFacts, ...] = MODELS, **values: Any) -> dict[str, Any]:
    given = {"engine": "vllm", "engine_version": "0.19.0", **values}
    frame = pl.DataFrame([cell(**given)], infer_schema_length=None).lazy()
    used = [(given["engine"], given["engine_version"])]
    rows = estimate_inference(frame, tables(models, used)).collect(engine="in-memory").to_dicts()
    return rows[0]


def rotary(config: dict[str, Any]) -> int | None:
    return read_config(config, model="m", source="test").rotary_table_elements


def test_rotary_tables_are_as_long_as_the_scaling_makes_them() -> None:
    plain = {**CONFIGS["llama-8b"], "rope_theta": 1e6}
    positions, width = 131072, 128
    assert rotary(plain) == positions * width
    linear = plain | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert rotary(linear) == 8 * positions * width
    pictures = plain | {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
    assert rotary(pictures) == 4 * positions * width
    long = {"type": "longrope", "original_max_position_embeddings": 4096}
    assert rotary(plain | {"rope_scaling": long}) == (positions + 4096) * width
    stretched = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
    assert rotary(plain | {"rope_scaling": stretched}) == positions * width
    assert rotary(plain | {"partial_rotary_factor": 0.5}) == positions * width // 2


def test_gemma_3_has_a_second_table_without_saying_so() -> None:
    """What a log of 0.19 shows beside its tensors: 0.56 GiB, with 8 x 131072 positions."""
    model = read_config(
        load_catalog().models()["google/gemma-3-12b-it"]["config"], model="m", source="test"
    )
    assert model.rotary_table_elements == (8 + 1) * 131072 * 256


def test_text_alone_needs_no_tower_from_0_11_on() -> None:
    name = "google/gemma-3-4b-it"
    model = read_config(load_catalog().models()[name]["config"], model=name, source="test")
    given = {"model": name, "images_per_prompt": 0, "videos_per_prompt": 0}
    old, new = (
        estimate((model,), **given, engine_version=v)["weights_bytes"] for v in ("0.10.2", "0.11.0")
    )
    assert old - new == 2 * model.parameters_by_role()["multimodal"]


def test_sliding_layers_with_a_base_of_their_own_have_a_second_table() -> None:
    config = GEMMA_2B | {
        "model_type": "gemma3_text",
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_local_base_freq": 10000.0,
    }
    assert rotary(config) == (8 + 1) * 8192 * 256


def test_wide_experts_need_room_for_gate_and_up_and_their_product() -> None:
    """Mixtral's experts are wider than its hidden state: every layout comes to 3 x 14336."""
    row = estimate(model="mixtral", max_num_batched_tokens=8192, max_num_seqs=8)
    workspace = 8192 * 2 * 3 * 14336 * 2
    hidden = 2 * 4096 * 8192 * 2
    base = row["activation_base_bytes"]
    assert row["activations_bytes"] == pytest.approx(workspace + hidden + base, rel=0.001)


def test_narrow_experts_have_two_whole_workspaces_from_0_14_on() -> None:
    given = {"model": "deepseek-lite", "max_num_batched_tokens": 8192, "max_num_seqs": 8}
    given |= {"tensor_parallel_size": 4, "context_tokens": 4096}
    old, new = (estimate(**given, engine_version=v)["activations_bytes"] for v in ("0.13", "0.14"))
    hidden, tokens, routed = 2048, 8192 * 2, 8192 * 2 * 6
    dense = tokens * (4 * hidden + 3 * 10944 // 4)  # the first layer, beside a kept workspace
    shared = tokens * (4 * hidden + 3 * 2 * 1408 // 4)
    before = max(dense, shared + routed * (hidden + 1408 // 4))
    assert new - old == pytest.approx(dense + routed * 2 * hidden - before, rel=0.01)


def test_absorbed_halves_of_a_16_bit_projection_are_views() -> None:
    plain = estimate(model="deepseek-lite", weight_format="bf16")
    narrow = estimate(model="deepseek-lite", weight_format="fp8")
    copies = 2 * 27 * 16 * 512 * (128 + 128)
    table = 163840 * 64 * 2
    assert plain["weights_bytes"] < 2 * 15_706_484_224 + table + 64 * MIB
    held = narrow["weights_bytes"] - copies - table
    assert held == pytest.approx(15_706_484_224 + 2 * 102400 * 2048, rel=0.02)


def test_profiling_expands_a_chunk_of_latents_from_0_11_on() -> None:
    given = {"model": "deepseek-lite", "max_num_batched_tokens": 512, "max_num_seqs": 8}
    given |= {"context_tokens": 163840}
    old, new = (estimate(**given, engine_version=v) for v in ("0.10.2", "0.11.0"))
    chunk = 65536 * 16 * (128 + 128) * 2
    assert old["activations_bytes"] < chunk
    base = new["activation_base_bytes"]
    assert new["activations_bytes"] + new["logits_bytes"] == pytest.approx(chunk + base, rel=0.001)


def test_sparse_attention_keeps_a_workspace_for_prefills() -> None:
    given = {"model": SPARSE, "max_num_batched_tokens": 512, "max_num_seqs": 8}
    short = estimate(**given, context_tokens=8192)
    long = estimate(**given, context_tokens=163840)
    per_token = 5 * 576 * 2 + 40 * 132
    grown = long["activations_bytes"] - short["activations_bytes"]
    assert grown <= per_token * (163840 - 8192)
    assert long["activations_bytes"] >= per_token * 163840
    assert long["kv_bytes_per_token"] == 27 * (576 * 2 + 132)


@pytest.mark.parametrize(
    ("setting", "value", "version", "falls"),
    [
        ("lora_adapters", 1, "0.8.2", True),
        ("lora_adapters", 1, "0.8.4", False),
        ("kv_cache_dtype", "fp8", "0.9.2", False),  # Hopper has FlashAttention 3
        ("pipeline_parallel_size", 2, "0.9.0", True),
        ("pipeline_parallel_size", 2, "0.9.1", False),
        ("kv_cache_dtype", "fp8", "0.8.0", True),
        ("speculative_tokens", 2, "0.8.5", True),
        ("weight_format", "fp32", "0.9.2", False),
        ("gpu", "mi300x-192gb", "0.9.1", True),
        ("gpu", "mi300x-192gb", "0.9.2", False),
        ("weight_format", "nf4", "0.8.1", True),
        ("weight_format", "int8-bnb", "0.8.1", True),
        ("weight_format", "gptq-int8-g128", "0.8.1", False),
        ("weight_format", "nvfp4", "0.8.1", False),
        ("lora_adapters", 1, None, False),
    ],
)
def test_some_runs_of_early_v1_versions_are_taken_by_a_v0_worker(
    setting: str, value: Any, version: str | None, falls: bool
) -> None:
    row = estimate(engine_version=version, **{setting: value})
    assert ("V0 worker" in (row["note"] or "")) is falls
    assert (row["graph_base_bytes"] == 0) is falls


def test_cards_before_ampere_run_the_v0_worker_up_to_0_10_0() -> None:
    given = {"model": "qwen-1.5b", "weight_format": "fp16", "gpu": "t4-16gb", "card_gib": 14.56}
    notes = [estimate(**given, engine_version=v)["note"] for v in ("0.10.0", "0.10.1", "0.19.0")]
    assert ["V0 worker" in (note or "") for note in notes] == [True, False, False]
    fp8 = estimate(engine_version="0.9.2", gpu="l4-24gb", card_gib=22.0, kv_cache_dtype="fp8")
    assert "V0 worker" in fp8["note"]


def test_a_v0_worker_takes_a_prompt_of_a_run_with_adapters_in_one_chunk() -> None:
    given = {"engine_version": "0.7.0", "context_tokens": 65536}
    assert estimate(**given)["step_tokens"] == 2048
    assert estimate(**given, lora_adapters=1)["step_tokens"] == 65536


def test_the_second_runner_takes_models_step_by_step() -> None:
    """Its sampler holds 4 bytes a token of the vocabulary and a bit, for every sequence."""
    rows = 256 * 128256
    given = {"max_num_seqs": 256, "max_num_batched_tokens": 512}
    state = {}
    for version in ("0.21.0", "0.23.0", "0.27.0"):
        row = estimate(**given, engine_version=version)
        state[version] = (row["staging_bytes"], row["logits_bytes"])
    assert state["0.21.0"][0] == 0
    assert state["0.23.0"][0] == 4.125 * rows  # outside the memory fraction
    assert state["0.27.0"][0] == 0  # inside
    assert state["0.23.0"][1] < state["0.21.0"][1]
    quantised = estimate(**given, engine_version="0.23.0", weight_format="fp8")
    assert quantised["staging_bytes"] == 0
    assert estimate(**given, engine_version="0.24.0", weight_format="fp8")["staging_bytes"] > 0
    experts = {**given, "model": "mixtral"}
    assert estimate(**experts, engine_version="0.26.0")["staging_bytes"] == 0


def test_graphs_of_the_second_runner_are_inside_the_fraction_from_0_29_on() -> None:
    graphs = {}
    for version in ("0.28.0", "0.29.0"):
        row, eager = (
            estimate(engine_version=version, max_num_seqs=256, enforce_eager=e)
            for e in (False, True)
        )
        graphs[version] = eager["kv_pool_bytes"] - row["kv_pool_bytes"]
    assert graphs["0.28.0"] == 0
    assert graphs["0.29.0"] > 0.2 * GIB


def test_windows_shrink_the_pool_s_sequences_from_0_9_1_on() -> None:
    given = {"model": "gemma-2b", "max_num_batched_tokens": 512}
    old, new = (estimate(**given, engine_version=v) for v in ("0.9.0", "0.9.1"))
    layer = 2 * 4 * 256 * 2
    assert old["room_sequence_bytes"] == 26 * layer * 8192
    assert new["room_sequence_bytes"] < 0.85 * old["room_sequence_bytes"]


def test_narrow_layers_have_more_tokens_in_a_page_of_equal_size() -> None:
    """Gemma 4: full layers with 2 heads of 512 for keys and values, sliding ones with 8 of 256.

    Bytes of a sequence of 256,000 tokens behind a log of 0.20.2: 4.58 GiB hold 286,007 tokens.
    """
    name = "google/gemma-4-26B-A4B-it"
    model = read_config(load_catalog().models()[name]["config"], model=name, source="test")
    row = estimate(
        (model,),
        model=name,
        engine_version="0.20.2",
        kv_cache_dtype="fp8",
        context_tokens=256_000,
        max_num_batched_tokens=16_384,
    )
    per_token = row["room_sequence_bytes"] / 256_000
    assert per_token == pytest.approx(4.58 * GIB / 286_007, rel=0.001)


def test_compiling_on_a_cold_cache_may_take_more_than_the_largest_step() -> None:
    given = {"max_num_seqs": 8, "max_num_batched_tokens": 512}
    small = estimate(**given, engine_version="0.27.1")
    assert small["activations_low_bytes"] < 0.1 * GIB
    assert small["activations_high_bytes"] > 1.1 * GIB
    large = estimate(max_num_seqs=1024, engine_version="0.19.0")
    step = {
        end: large[f"activations{end}_bytes"] + large[f"logits{end}_bytes"] for end in ("", "_high")
    }
    assert step["_high"] < 1.1 * step[""]  # the sampler's peak hides it


def test_a_v1_sampler_keeps_its_warm_up_with_pytorch() -> None:
    given = {"max_num_seqs": 256, "concurrent_sequences": 1}
    first = estimate(**given, engine_version="0.19.0")
    budget = 0.9 * 79.19 * GIB
    outside = first["cuda_context_bytes"] + first["cuda_graphs_bytes"]
    shown = first["device_bytes"] - outside
    assert shown == pytest.approx(budget - first["activations_bytes"], rel=0.001)


def test_early_v1_versions_count_the_cuda_context_inside() -> None:
    old, new = (estimate(engine_version=v, max_num_seqs=256) for v in ("0.9.0", "0.9.1"))
    assert new["kv_pool_bytes"] - old["kv_pool_bytes"] == old["cuda_context_bytes"]


def test_more_batch_sizes_are_captured_up_to_0_11() -> None:
    old, new = (estimate(engine_version=v)["cuda_graphs_bytes"] for v in ("0.11.0", "0.12.0"))
    assert old / new == pytest.approx(67 / 51)


def test_sizes_of_graphs_follow_the_sequences_as_each_version_does() -> None:
    def share(version: str, sequences: int) -> float:
        few, many = (
            estimate(engine_version=version, max_num_seqs=n)["cuda_graphs_bytes"]
            for n in (sequences, 256)
        )
        return float(few / many)

    assert share("0.9.2", 16) == 1  # whatever their number
    assert share("0.10.0", 16) == pytest.approx(7 / 67)  # 1, 2, 4, 8 to 32
    assert share("0.7.3", 16) == pytest.approx(5 / 35)  # up to the number itself
    assert share("0.7.3", 512) == pytest.approx(67 / 35)


def test_datacenter_blackwell_captures_up_to_1024_from_0_28_on() -> None:
    given = {"engine_version": "0.28.0", "max_num_seqs": 1024, "card_gib": 178.0}
    other, wide = (
        estimate(**given, gpu=gpu)["cuda_graphs_bytes"]
        for gpu in ("h200-sxm-141gb", "b200-sxm-180gb")
    )
    assert wide / other == pytest.approx(83 / 51)


def test_a_default_step_is_no_longer_than_all_contexts() -> None:
    given = {"max_num_seqs": 1, "context_tokens": 1024}
    steps = [estimate(**given, engine_version=v)["step_tokens"] for v in ("0.11.0", "0.11.1")]
    assert steps == [8192, 1024]


def test_dgx_spark_has_defaults_of_small_cards_from_0_33_on() -> None:
    given = {"gpu": "dgx-spark-gb10-128gb", "card_gib": 119.0}
    steps = [estimate(**given, engine_version=v)["step_tokens"] for v in ("0.32.0", "0.33.0")]
    assert steps == [8192, 2048]


def test_the_second_runner_takes_draft_models_from_0_31_on() -> None:
    given = {"draft_model": "qwen-1.5b", "speculative_tokens": 3}
    taken = [estimate(**given, engine_version=v)["is_second_runner"] for v in ("0.30.0", "0.31.0")]
    assert taken == [False, True]


@pytest.mark.parametrize("asked", [1024, 100_000])
def test_the_longest_context_knows_latents_that_profiling_expands(asked: int) -> None:
    given = {"model": "deepseek-lite", "engine_version": "0.19.0", "max_num_batched_tokens": 512}
    given |= {"card_gib": 40.0, "max_num_seqs": 8, "concurrent_sequences": 40}
    longest = int(estimate(**given, context_tokens=asked)["max_context_tokens"])
    held, over = (estimate(**given, context_tokens=longest + n) for n in (0, 16))
    assert held["total_bytes"] <= held["budget_bytes"]
    assert over["total_bytes"] > over["budget_bytes"]


def test_very_large_cards_take_longer_steps_from_0_28_on() -> None:
    given = {"gpu": "b200-sxm-180gb", "card_gib": 178.0}
    steps = [estimate(**given, engine_version=v)["step_tokens"] for v in ("0.27.0", "0.28.0")]
    assert steps == [8192, 16384]


def test_recurrent_state_has_the_width_the_config_names() -> None:
    config: dict[str, Any] = {
        "model_type": "qwen3_next",
        "hidden_size": 2048,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    }
    wide = {**config, "mamba_ssm_dtype": "float32"}
    models = tuple(
        read_config(c, model=name, source="test") for name, c in (("own", config), ("wide", wide))
    )
    own, named = (
        estimate(models, model=m, context_tokens=64)["state_bytes"] for m in ("own", "wide")
    )
    layer = models[0].layers[0]
    assert named - own == 3 * layer.ssm_state_elements * 2


def test_of_stages_that_cache_alike_the_one_with_most_state_counts() -> None:
    name = "Qwen/Qwen3-Next-80B-A3B-Instruct"
    model = read_config(load_catalog().models()[name]["config"], model=name, source="test")
    found = {
        (row["state_layers"], row["global_layers"])
        for row in (estimate((model,), model=name, pipeline_parallel_size=5) for _ in range(4))
    }
    layers = len(model.layers)  # 48: stages of 9 and 10, an attention layer in every fourth
    assert layers == 48
    assert found == {(7, 3)}


PROFILES = """engine: mine
title: Mine
common:
  bytes_per_logit: {value: 3, source: me}
profiles:
  - from: "1"
    below: "2"
    constants:
      non_torch_bytes: {value: 7, source: me}
  - from: "2"
    below: "3"
    like: "1"
    constants:
      context_bytes: {value: 5, source: me}
"""


def test_a_profile_like_another_has_its_constants(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(PROFILES)
    later = profile_of(read_engine(path), "2.1").constants
    assert [later[n].value for n in ("bytes_per_logit", "non_torch_bytes", "context_bytes")] == [
        3,
        7,
        5,
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('like: "1"', 'like: "1.1"'),
        ("profiles:", 'fallback:\n  profile: "9"\n  reasons: []\nprofiles:'),
    ],
)
def test_a_profile_like_none_is_refused_with_its_place(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(PROFILES.replace(old, new))
    with pytest.raises(InputProblems) as caught:
        read_engine(path)
    found = {problem.code: problem.line for problem in caught.value.problems}
    assert found["unknown-profile"] in (6, 12)
