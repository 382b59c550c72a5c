"""What versions and cards change in the inference estimate, from the code of the engines."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.allocation import slack_of_weights
from planner.estimate.inference import estimate_inference
from planner.units import BYTES_PER_MIB
from tests.inference_tables import CONFIGS, GIB, cell, facts, tables

MODELS = tuple(facts(name) for name in CONFIGS)


def estimate(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    used = [(c["engine"], c["engine_version"]) for c in cells]
    frame = pl.DataFrame(cells, infer_schema_length=None).lazy()
    return estimate_inference(frame, tables(MODELS, used)).collect(engine="in-memory").to_dicts()


def tensors(**values: Any) -> pl.LazyFrame:
    row = {
        "model": "m",
        "weight_format": "bf16",
        "name": "experts.down_proj",
        "leaf": "experts",
        "role": "routed_experts",
        "kind": "experts",
        "layers": [0, 1],
        "copies": 1,
        "tied": False,
        "shape": [64, 3584, 2560],
        "payload_bytes": 2.0 * 64 * 3584 * 2560,
        **values,
    }
    return pl.LazyFrame([row])


@pytest.mark.parametrize(
    ("single", "name", "mib"),
    [
        (False, "experts.down_proj", 0),  # one stack a layer: 1120 MiB, even
        (True, "experts.down_proj", 2 * 64 * 0.5),  # 17.5 MiB each, in segments of 18
        (True, "experts.gate_up_proj", 2 * 64 * 2 * 0.0),  # halves of 8.75 MiB share segments
    ],
)
def test_experts_that_are_modules_of_their_own_are_rounded_one_by_one(
    single: bool, name: str, mib: float
) -> None:
    layout = pl.LazyFrame(
        [
            {
                "model": "m",
                "weight_format": "bf16",
                "pipeline_parallel_size": 1,
                "is_fused": False,
                "has_single_experts": single,
            }
        ]
    )
    slack = slack_of_weights(tensors(name=name), layout, pl.lit(1.0)).collect(engine="in-memory")
    assert slack["allocation_slack_bytes"].item() == mib * BYTES_PER_MIB


def test_transformers_from_4_50_carves_weights_out_of_one_block() -> None:
    given = {"model": "llama-8b", "engine": "transformers", "input_tokens": 1, "output_tokens": 8}
    before, after = (
        row["weights_bytes"]
        for row in estimate(
            cell(**given, engine_version="4.46.0"), cell(**given, engine_version="4.51.3")
        )
    )
    assert after == pytest.approx(2 * 8_030_261_248)
    assert before >= after


def test_a_generation_may_end_before_its_last_token() -> None:
    (row,) = estimate(
        cell(
            model="llama-8b",
            engine="transformers",
            engine_version="4.51.3",
            context_tokens=None,
            input_tokens=1,
            output_tokens=2048,
        )
    )
    assert row["kv_cache_bytes"] == pytest.approx(2049 * 131072)
    assert row["kv_cache_low_bytes"] == pytest.approx((2049 - 0.6 * 2048) * 131072, rel=0.01)
    assert row["kv_cache_high_bytes"] == pytest.approx(row["kv_cache_bytes"], rel=0.01)


def test_vllm_0_7_kept_absorbed_projections_and_aligned_latents() -> None:
    """Its first MLA backend: W_Q_UK, W_UV_O and W_QR, and entries of 640 elements for 576."""
    given = {"model": "deepseek-lite", "gpu": "h100-sxm-80gb"}
    old, new = estimate(
        cell(**given, engine_version="0.7.3"), cell(**given, engine_version="0.19.0")
    )
    config = CONFIGS["deepseek-lite"]
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    hidden, latent = config["hidden_size"], config["kv_lora_rank"]
    rotary = config["qk_rope_head_dim"]
    kept = 2 * layers * heads * (latent * 2 * hidden + rotary * hidden)
    assert old["weights_bytes"] - new["weights_bytes"] == pytest.approx(kept, rel=0.01)
    assert old["weights_low_bytes"] < new["weights_bytes"]
    assert new["kv_bytes_per_token"] == layers * 2 * 576
    assert old["kv_bytes_per_token"] == layers * 2 * 640


def test_vllm_before_mla_cached_expanded_heads() -> None:
    given = {"model": "deepseek-lite", "gpu": "h100-sxm-80gb"}
    (row,) = estimate(cell(**given, engine_version="0.6.6"))
    config = CONFIGS["deepseek-lite"]
    width = config["qk_nope_head_dim"] + config["qk_rope_head_dim"] + config["v_head_dim"]
    elements = config["num_hidden_layers"] * config["num_attention_heads"] * width
    assert row["kv_bytes_per_token"] == 2 * elements


@pytest.mark.parametrize(
    ("version", "gpu", "card_gib", "sequences"),
    [
        ("0.7.3", "h100-sxm-80gb", 79.2, 256),
        ("0.8.2", "l4-24gb", 22.1, 1024),  # 1024 on every card at first
        ("0.8.4", "l4-24gb", 22.1, 256),
        ("0.8.4", "a100-sxm4-80gb", 79.2, 256),
        ("0.8.4", "h100-sxm-80gb", 79.2, 1024),
        ("0.8.5", "a100-sxm4-80gb", 79.2, 1024),  # by memory
        ("0.9.1", "a100-sxm4-80gb", 79.2, 256),  # but for the A100
        ("0.9.1", "a800-sxm4-80gb", 79.2, 1024),  # whose name is another
        ("0.19.0", "mi300x-192gb", 191.7, 1024),
    ],
)
def test_default_sequences_of_vllm_by_version_and_card(
    version: str, gpu: str, card_gib: float, sequences: int
) -> None:
    (row,) = estimate(cell(engine_version=version, gpu=gpu, card_gib=card_gib, max_num_seqs=None))
    assert row["step_sequences"] == sequences


def test_bitsandbytes_unpacks_the_largest_matrix_for_a_prompt() -> None:
    given = {"engine": "transformers", "engine_version": "4.46.0", "input_tokens": 64}
    four, eight = estimate(cell(**given, weight_format="nf4"), cell(**given, weight_format="int8"))
    difference = four["activations_bytes"] - eight["activations_bytes"]
    assert difference == pytest.approx(2 * 14336 * 4096)
    assert four["activations_low_bytes"] < four["activations_bytes"] - difference


def test_quantising_leaves_holes_that_sixteen_bits_do_not() -> None:
    given = {"engine": "torchao", "engine_version": "0.9", "context_tokens": 256}
    plain, quantised = estimate(
        cell(**given, weight_format="bf16"), cell(**given, weight_format="torchao-int4-g64")
    )
    assert plain["allocator_reserve_bytes"] / GIB < 0.3
    assert quantised["allocator_reserve_bytes"] / GIB > 1.0
    # the head is converted with the other linears
    head = 2 * 128256 * 4096
    angles = 131072 * 128 * 2
    kept = quantised["weights_bytes"] - 128256 * 4096 * 2 - head * 4 / 16 - angles
    assert kept / (8_030_261_248 - 2 * 128256 * 4096) == pytest.approx(4.5 / 8, rel=0.01)


def test_a_warm_up_is_the_least_that_a_benchmark_of_autoawq_takes() -> None:
    given = {"engine": "autoawq", "engine_version": "0.1.6", "weight_format": "awq-int4-g128"}
    short, long = estimate(
        cell(**given, context_tokens=None, input_tokens=8, output_tokens=8),
        cell(**given, context_tokens=None, input_tokens=2048, output_tokens=2048),
    )
    for row, enough in ((short, 128), (long, 1024)):
        step = row["activations_bytes"] + row["logits_bytes"]
        assert step / BYTES_PER_MIB > enough


def test_an_unknown_context_lowers_the_tokens_of_a_hybrid_pool() -> None:
    given = {"model": "gemma-2b", "max_num_batched_tokens": 512}
    given |= {"engine_version": "0.21.0"}
    known, unknown = estimate(
        cell(**given, context_tokens=8192), cell(**given, context_tokens=None)
    )

    def low(row: dict[str, Any]) -> float:
        return float(row["kv_cache_tokens_low"] / row["kv_cache_tokens_capacity"])

    assert low(unknown) < low(known)


@pytest.mark.parametrize(
    ("layout", "gib"),
    [
        ({}, 0.91),
        ({"tensor_parallel_size": 2}, 0.76),
        ({"tensor_parallel_size": 4}, 0.67),
        ({"pipeline_parallel_size": 2}, 0.65),
        ({"pipeline_parallel_size": 4}, 0.51),
    ],
)
def test_graphs_shrink_with_the_share_of_the_mlp_and_the_layers(
    layout: dict[str, int], gib: float
) -> None:
    """vLLM 0.19, Llama-3.1-8B on H100."""
    (row,) = estimate(cell(max_num_seqs=1024, **layout))
    assert row["cuda_graphs_bytes"] / GIB == pytest.approx(gib, rel=0.15)
    assert row["cuda_graphs_low_bytes"] / GIB < gib < row["cuda_graphs_high_bytes"] / GIB


def test_only_a_fraction_left_to_the_engine_widens_the_pool() -> None:
    given = {"engine_version": "0.24.0", "max_num_seqs": 256, "max_num_batched_tokens": 2048}
    told, left = estimate(
        cell(**given, gpu_memory_utilization=0.92), cell(**given, gpu_memory_utilization=None)
    )

    def width(row: dict[str, Any]) -> float:
        return float(row["kv_pool_high_bytes"] - row["kv_pool_low_bytes"])

    assert told["kv_pool_bytes"] == left["kv_pool_bytes"]
    assert width(left) > width(told) + GIB


@pytest.mark.parametrize(
    ("version", "gpu", "card_gib", "ranks", "fraction", "chunk"),
    [
        ("0.4.6", "h100-sxm-80gb", 79.19, 1, 0.88, 8192),
        ("0.4.9", "h100-sxm-80gb", 79.19, 1, 0.874, 8192),  # (79.19 - 9.5 - 0.5) / 79.19
        ("0.4.9", "l4-24gb", 22.03, 1, 0.868, 2048),  # (22.03 - 2.8 - 0.1) / 22.03
        ("0.5.4", "t4-16gb", 14.56, 1, 0.749, 2048),  # 528 + 3072 + 128 MiB
        ("0.5.4", "l4-24gb", 22.03, 1, 0.833, 2048),
        ("0.5.4", "l40s-48gb", 44.4, 1, 0.849, 4096),
        ("0.5.4", "h100-sxm-80gb", 79.19, 1, 0.834, 8192),  # 1024 + 12288 + 128 MiB
        ("0.5.4", "h100-sxm-80gb", 79.19, 8, 0.817, 8192),  # 1536 + 12288 + 1024 MiB
        ("0.5.4", "b200-sxm-180gb", 178.35, 1, 0.857, 16384),
    ],
)
def test_sglang_derives_its_fraction_from_the_card(
    version: str, gpu: str, card_gib: float, ranks: int, fraction: float, chunk: int
) -> None:
    given = {"engine": "sglang", "gpu_memory_utilization": None, "tensor_parallel_size": ranks}
    (row,) = estimate(cell(**given, engine_version=version, gpu=gpu, card_gib=card_gib))
    assert row["gpu_memory_utilization"] == pytest.approx(fraction, abs=0.0011)
    assert row["batched_tokens"] == chunk


def test_a_small_chunk_leaves_sglang_its_least_reserve() -> None:
    """512 + 512 + 3072 + 128 MiB would be less than the 10 GiB of a card above 60 GiB."""
    given = {"engine": "sglang", "engine_version": "0.5.4", "gpu_memory_utilization": None}
    (row,) = estimate(cell(**given, max_num_batched_tokens=2048))
    assert row["gpu_memory_utilization"] == pytest.approx(1 - 10 / 79.19, abs=0.001)
    assert row["kv_pool_low_bytes"] < row["kv_pool_bytes"] - 2 * GIB


def test_loading_awq_peaks_at_the_second_head_before_any_workspace() -> None:
    """Qwen2.5-1.5B-AWQ in Transformers 4.46 after one token: 1.51 GiB allocated."""
    (row,) = estimate(
        cell(
            model="qwen-1.5b",
            engine="transformers",
            engine_version="4.46.0",
            weight_format="awq-int4-g128",
            context_tokens=None,
            input_tokens=1,
            output_tokens=2048,
        )
    )
    assert row["peak_phase"] == "load"
    assert row["activations_bytes"] == 0
    assert row["allocated_bytes"] / GIB == pytest.approx(1.51, rel=0.005)
