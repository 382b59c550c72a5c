"""The speed model against hand computation, and what it does with gaps."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from planner.estimate.speed import rule_of_thumb_speed, scaling_efficiency, with_speed
from planner.estimate.speed.decode import tokens_per_step, touched_share
from planner.estimate.speed.model import SPEED_COLUMNS
from tests.speed_tables import cells, speed_tables

NO_OVERHEAD = {
    "kernels_attention": 0.0,
    "kernels_experts": 0.0,
    "kernels_dense": 0.0,
    "sequence_us": 0.0,
    "all_reduce_us": 0.0,
    "first_token_ms": 0.0,
    "arrival_ms": 0.0,
    "wait_steps": 0.0,
    "bandwidth_fraction_16bit": 1.0,
    "bandwidth_fraction_8bit": 1.0,
    "cache_bandwidth_fraction": 1.0,
    "compute_fraction_16bit": 1.0,
    "attention_compute_fraction": 1.0,
}
TABLES = speed_tables()
BARE = speed_tables(**NO_OVERHEAD)


def one(frame: pl.LazyFrame, column: str) -> float:
    value = frame.collect(engine="in-memory")[column][0]
    assert isinstance(value, float)
    return value


def test_decode_of_one_sequence_reads_weights_and_cache_once() -> None:
    got = one(with_speed(cells(), BARE), "time_per_output_token_ms")
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    head = 4096 * 128256
    cache = 32 * 2 * 8 * 128 * (1000 + 100)
    assert got == pytest.approx(2 * (linear + head + cache) / 3.35e12 * 1e3, rel=1e-3)


def test_prefill_of_one_prompt_is_its_products_and_its_attention() -> None:
    got = one(with_speed(cells(input_tokens=4000.0), BARE), "time_to_first_token_ms")
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    attention = 32 * 32 * 2 * (128 + 128) * 4000**2 / 2
    assert got == pytest.approx((2 * linear * 4000 + attention) / 989e12 * 1e3, rel=1e-3)


def test_eight_bit_weights_halve_the_reading() -> None:
    got = with_speed(
        cells(weight_format=["bf16", "fp8"], output_tokens=1.0, input_tokens=1.0), BARE
    )
    wide, narrow = got.collect(engine="in-memory")["time_per_output_token_ms"]
    head = 2 * 4096 * 128256 / 3.35e12 * 1e3
    assert (narrow - head) / (wide - head) == pytest.approx(0.5, rel=0.01)


def test_a_batch_reads_only_the_experts_its_tokens_are_sent_to() -> None:
    frame = pl.DataFrame(
        {
            "s_num_experts": 128.0,
            "s_num_experts_per_tok": 8.0,
            "s_expert_spread": 1.0,
            "n": [1.0, 64.0],
        }
    )
    first, many = frame.select(x=touched_share(pl.col("n")))["x"]
    assert first == pytest.approx(8 / 128)
    assert many == pytest.approx(1 - (1 - 8 / 128) ** 64)


def test_tokens_per_step_follow_the_acceptance_rate() -> None:
    frame = pl.DataFrame({"s_drafted": [0.0, 1.0, 3.0], "s_acceptance": 0.5})
    assert frame.select(x=tokens_per_step())["x"].to_list() == pytest.approx([1.0, 1.5, 1.875])


def test_drafting_speeds_up_a_small_batch() -> None:
    got = with_speed(cells(speculative_tokens=[0.0, 3.0]), TABLES).collect(engine="in-memory")
    plain, drafted = got["time_per_output_token_ms"]
    assert drafted < 0.7 * plain


def test_a_cached_prefix_shortens_the_first_token_and_not_the_next() -> None:
    got = with_speed(cells(prefix_cache_share=[0.0, 0.9], input_tokens=16000.0), TABLES).collect(
        engine="in-memory"
    )
    cold, warm = got["time_to_first_token_ms"]
    assert warm < 0.5 * cold
    assert got["time_per_output_token_ms"][0] == pytest.approx(got["time_per_output_token_ms"][1])


def test_an_eight_bit_cache_is_read_in_half_the_time() -> None:
    got = with_speed(
        cells(
            kv_cache_dtype=["bf16", "fp8", "auto"], concurrent_sequences=64, input_tokens=16000.0
        ),
        BARE,
    ).collect(engine="in-memory")["time_per_output_token_ms"]
    assert got[1] < got[0]
    assert got[2] == got[0]


def test_tensor_parallelism_over_pcie_is_slower_than_over_nvlink() -> None:
    got = with_speed(
        cells(
            gpu=["a100-sxm4-80gb", "a100-pcie-80gb"], tensor_parallel_size=4, input_tokens=8000.0
        ),
        TABLES,
    ).collect(engine="in-memory")["time_to_first_token_ms"]
    assert got[1] > 1.5 * got[0]


def test_ranks_on_two_nodes_join_over_the_network() -> None:
    got = with_speed(
        cells(nodes=[1, 2], tensor_parallel_size=8, input_tokens=8000.0), TABLES
    ).collect(engine="in-memory")["time_to_first_token_ms"]
    assert got[1] > 1.5 * got[0]


def test_clients_that_find_no_place_wait_for_one() -> None:
    got = with_speed(
        cells(concurrent_sequences=64, max_concurrent_sequences=[None, 32.0]), TABLES
    ).collect(engine="in-memory")
    assert got["time_per_output_token_ms"][1] < got["time_per_output_token_ms"][0]
    service = got["end_to_end_ms"][1] / 2
    assert got["time_to_first_token_ms"][1] == pytest.approx(
        got["end_to_end_ms"][1] - 199 * got["time_per_output_token_ms"][1]
    )
    assert got["time_to_first_token_ms"][1] > 0.9 * service


def test_tokens_per_second_are_the_places_over_the_time_of_a_token() -> None:
    got = with_speed(cells(concurrent_sequences=16, output_tokens=4000.0), TABLES).collect(
        engine="in-memory"
    )
    rate = 16e3 / got["time_per_output_token_ms"][0]
    assert got["tokens_per_second"][0] == pytest.approx(rate, rel=0.05)


def test_lengths_left_open_come_from_demand_or_from_the_context() -> None:
    open_lengths = cells(context_tokens=8192).drop("input_tokens", "output_tokens")
    given = cells(input_tokens=6144.0, output_tokens=2048.0)
    means = open_lengths.with_columns(input_tokens_mean=6144.0, output_tokens_mean=2048.0)
    results = [
        with_speed(frame, TABLES).collect(engine="in-memory")["time_per_output_token_ms"][0]
        for frame in (open_lengths, given, means)
    ]
    assert results[0] == pytest.approx(results[1])
    assert results[0] == pytest.approx(results[2])


def test_measured_gpus_and_engines_are_calibrated_and_the_others_wider() -> None:
    got = with_speed(
        cells(
            gpu=["h100-sxm-80gb", "a100-sxm4-80gb", "h100-sxm-80gb"],
            engine=["sglang", "vllm", "llama.cpp"],
        ),
        TABLES,
    ).collect(engine="in-memory")
    assert got["speed_basis"].to_list() == ["calibrated", "first-principles", "first-principles"]
    width = got["time_per_output_token_high_ms"] / got["time_per_output_token_low_ms"]
    assert width[1] > width[0]
    assert width[2] == pytest.approx(width[1])


@pytest.mark.parametrize(
    ("column", "note"),
    [
        ("memory_bandwidth_bytes_per_second", "the GPU's memory bandwidth is not known"),
        ("bf16_dense_tflops", "the GPU's 16-bit tensor throughput is not known"),
    ],
)
def test_a_missing_hardware_fact_leaves_nulls_and_a_note(column: str, note: str) -> None:
    blank = pl.lit(None, dtype=pl.Float64)
    names = [column, *(["fp16_dense_tflops"] if column.startswith("bf16") else [])]
    tables = replace(TABLES, gpus=TABLES.gpus.with_columns(blank.alias(name) for name in names))
    got = with_speed(cells(), tables).collect(engine="in-memory")
    assert got.select(SPEED_COLUMNS).row(0) == (None,) * len(SPEED_COLUMNS)
    assert got["speed_note"].to_list() == [note]
    assert got["speed_basis"].to_list() == [None]


def test_an_unknown_model_leaves_a_note() -> None:
    got = with_speed(cells(model=["dense", "nobody/knows"]), TABLES).collect(engine="in-memory")
    assert got["speed_note"].to_list() == [None, "the model or its weight format is not known"]


def test_without_constants_there_is_no_estimate() -> None:
    got = with_speed(cells(), replace(TABLES, speed=None)).collect(engine="in-memory")
    assert got["tokens_per_second"].to_list() == [None]
    assert got["speed_note"].to_list() == ["there are no speed constants"]


def test_cells_keep_their_order_and_their_columns() -> None:
    frame = cells(concurrent_sequences=[4, 1, 2], gpu=["b200-sxm-180gb", "l4-24gb", "nothing"])
    got = with_speed(frame.with_columns(case_id=pl.lit("a")), TABLES).collect(engine="in-memory")
    assert got["concurrent_sequences"].to_list() == [4, 1, 2]
    assert got.columns[:9] == [*frame.collect_schema().names(), "case_id"]


def test_each_added_gpu_counts_as_the_guide_says() -> None:
    frame = pl.DataFrame({"n": [1, 2, 8]})
    got = frame.select(
        x=scaling_efficiency(pl.col("n")), y=rule_of_thumb_speed(pl.lit(10.0), pl.col("n"))
    )
    assert got["x"].to_list() == pytest.approx([1.0, 1.85, 6.95])
    assert got["y"].to_list() == pytest.approx([10.0, 18.5, 69.5])


@pytest.mark.parametrize("place", [{"gpu_layers": 10}, {"cpu_offload_gib": 2.0}])
def test_weights_in_host_memory_have_no_speed_and_say_so(place: dict[str, float]) -> None:
    found = with_speed(cells(**place), TABLES).collect(engine="in-memory")
    assert found["time_per_output_token_ms"][0] is None
    assert "host memory" in found["speed_note"][0]
    whole = with_speed(cells(gpu_layers=32, cpu_offload_gib=0.0), TABLES)
    assert one(whole, "time_per_output_token_ms") > 0
