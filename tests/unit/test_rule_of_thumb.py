"""The textbook estimator against the guide's own worked examples (decimal GB)."""

import polars as pl
import pytest

from planner.catalog.load import load_catalog
from planner.estimate.rule_of_thumb import Range, RuleOfThumbSettings, estimate_rule_of_thumb
from planner.pipeline.context import simplified_lora_parameters
from planner.resolve.frameworks import optimizers_frame
from planner.resolve.scenario_models import facts_from_sizes
from planner.resolve.tables import Tables, layers_frame, models_frame, tensors_frame

GB = 10**9
GIB = 1 << 30
MODEL_8B = {"parameters": 8_000_000_000, "hidden_size": 4096, "num_hidden_layers": 32}
GUIDE = RuleOfThumbSettings(
    activations_and_kv_gb=Range(10, 18, 30), trainable_parameters=20_000_000
)


def tables(**sizes: int) -> Tables:
    facts = [facts_from_sizes("m", sizes or MODEL_8B)]
    empty = pl.LazyFrame()
    return Tables(
        models=models_frame(facts).lazy(),
        layers=layers_frame(facts).lazy(),
        tensors=tensors_frame(facts).lazy(),
        gpus=empty,
        formats=load_catalog().formats.lazy(),
        optimizers=optimizers_frame().lazy(),
        engines=empty,
        frameworks=empty,
    )


def row(
    settings: RuleOfThumbSettings = GUIDE, facts: Tables | None = None, **given: object
) -> dict:
    cell = {
        "model": "m",
        "method": "inference",
        "weight_format": "fp16",
        "kv_cache_dtype": "fp16",
        "optimizer": None,
        "context_tokens": 4096,
        "concurrent_sequences": 1,
        "sequence_tokens": None,
        "micro_batch_size": None,
        "adapter_parameters": None,
        "gpu_count": 1,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "data_parallel_size": 1,
        "sharding": "none",
        "usable_bytes": 80.0 * GIB,
        "memory_headroom": 0.0,
        **given,
    }
    types = dict.fromkeys(("sequence_tokens", "micro_batch_size", "adapter_parameters"), pl.Int64)
    frame = pl.LazyFrame([cell], schema_overrides={**types, "optimizer": pl.String})
    return (
        estimate_rule_of_thumb(frame, facts or tables(), settings)
        .collect(engine="in-memory")
        .to_dicts()[0]
    )


def training(method: str, weight_format: str = "fp16") -> dict:
    return row(
        method=method,
        weight_format=weight_format,
        optimizer="adamw",
        sequence_tokens=2048,
        micro_batch_size=1,
        context_tokens=None,
        concurrent_sequences=None,
    )


def total_gb(cell: dict) -> tuple[int, int]:
    return round(cell["total_low_bytes"] / GB), round(cell["total_high_bytes"] / GB)


def test_7b_in_fp16_is_14_decimal_gb_and_13_04_gib() -> None:
    cell = row(facts=tables(parameters=7_000_000_000, hidden_size=4096, num_hidden_layers=32))
    assert cell["weights_bytes"] == 14 * GB
    assert round(cell["weights_bytes"] / GIB, 2) == 13.04


def test_7b_adamw_keeps_56_gb_of_states_and_14_of_gradients() -> None:
    facts = tables(parameters=7_000_000_000, hidden_size=4096, num_hidden_layers=32)
    cell = row(facts=facts, method="full", optimizer="adamw", sequence_tokens=1, micro_batch_size=1)
    assert cell["optimizer_bytes"] == 56 * GB
    assert cell["gradients_bytes"] == 14 * GB


def test_8b_inference_takes_22_to_26_gb() -> None:
    cell = row(RuleOfThumbSettings(activations_and_kv_gb=Range(5, 6.5, 8)))
    assert cell["weights_bytes"] == 16 * GB
    assert total_gb(cell) == (22, 26)


def test_8b_full_fine_tuning_takes_107_to_128_gb() -> None:
    cell = training("full")
    parts = [cell[f"{name}_bytes"] / GB for name in ("weights", "gradients", "optimizer")]
    assert parts == [16, 16, 64]
    assert total_gb(cell) == (107, 128)


def test_8b_lora_takes_27_to_48_gb() -> None:
    cell = training("lora")
    parts = ("adapter", "gradients", "optimizer")
    assert sum(cell[f"{name}_bytes"] for name in parts) == pytest.approx(0.24 * GB)
    assert total_gb(cell) == (27, 48)


def test_8b_qlora_takes_15_to_36_gb() -> None:
    cell = training("qlora", "nf4")
    assert cell["weights_bytes"] == 4 * GB
    assert total_gb(cell) == (15, 36)


def test_lora_rank_8_on_q_and_v_counts_as_the_guide_simplifies() -> None:
    facts = facts_from_sizes("m", MODEL_8B)
    assert simplified_lora_parameters(facts, 8, "q_proj;v_proj") == 4_194_304


@pytest.mark.parametrize(
    ("weight_format", "bytes_per_parameter"),
    [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8-bnb", 1), ("nf4", 0.5)],
)
def test_the_precision_table(weight_format: str, bytes_per_parameter: float) -> None:
    cell = row(weight_format=weight_format)
    assert cell["weights_bytes"] == 8e9 * bytes_per_parameter


def test_an_8_bit_optimizer_keeps_two_bytes_per_parameter() -> None:
    cell = row(method="full", optimizer="adamw-8bit", sequence_tokens=1, micro_batch_size=1)
    assert cell["optimizer_bytes"] == 16 * GB


def test_kv_cache_is_as_wide_as_hidden_where_heads_are_unknown() -> None:
    cell = row(RuleOfThumbSettings(), context_tokens=1000, concurrent_sequences=2)
    assert cell["kv_cache_bytes"] == 2 * 32 * 4096 * 1000 * 2 * 2


def test_activations_follow_the_factor() -> None:
    cell = row(
        RuleOfThumbSettings(), method="full", optimizer="adamw", sequence_tokens=2048,
        micro_batch_size=4,
    )  # fmt: skip
    unit = 4 * 2048 * 4096 * 32 * 2
    found = [cell[f"activations_{bound}bytes"] for bound in ("low_", "", "high_")]
    assert found == [10 * unit, 18 * unit, 30 * unit]


def test_token_ids_are_a_line_of_the_ledger() -> None:
    assert row(context_tokens=4096, concurrent_sequences=4)["workspace_bytes"] == 4096 * 4 * 8


def test_each_further_gpu_adds_buffers_and_85_percent_of_speed() -> None:
    cell = row(gpu_count=4, tensor_parallel_size=4)
    assert cell["communication_bytes"] == 3 * 0.25 * GB
    assert cell["relative_speed"] == pytest.approx(1 + 0.85 * 3)
    assert cell["weights_bytes"] == 4 * GB


def test_sharding_divides_states_but_ddp_repeats_them() -> None:
    both = {
        kind: row(
            method="full", optimizer="adamw", sequence_tokens=1, micro_batch_size=1, gpu_count=4,
            data_parallel_size=4, sharding=kind,
        )
        for kind in ("ddp", "fsdp", "zero2")
    }  # fmt: skip
    assert both["ddp"]["optimizer_bytes"] == 64 * GB
    assert both["fsdp"]["optimizer_bytes"] == 16 * GB
    assert both["zero2"]["optimizer_bytes"] == 16 * GB
    assert both["zero2"]["weights_bytes"] == 16 * GB
    assert both["fsdp"]["weights_bytes"] == 4 * GB
