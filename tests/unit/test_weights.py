"""Weights per rank against sums by hand and against counts of the real checkpoints."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.allocation import slack_bytes
from planner.estimate.weights import GROUPS, stage_of_layer, weights_by_rank
from planner.resolve.facts import ModelFacts, QuantizedModules
from planner.units import BYTES_PER_MIB
from tests.inference_tables import facts, tables


def weights(model: ModelFacts, weight_format: str = "bf16", **layout: Any) -> dict[str, Any]:
    wanted = {
        "model": model.model,
        "weight_format": weight_format,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "expert_parallel_size": 1,
        **layout,
    }
    return (
        weights_by_rank(tables([model]), pl.LazyFrame([wanted]))
        .collect(engine="in-memory")
        .to_dicts()[0]
    )


LAYER = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
EMBEDDING = 128256 * 4096
LLAMA = 2 * EMBEDDING + 32 * (LAYER + 2 * 4096) + 4096


def test_sixteen_bit_weights_are_two_bytes_a_parameter() -> None:
    assert LLAMA == 8_030_261_248  # as the checkpoint of Llama-3.1-8B
    assert weights(facts("llama-8b"))["weights_bytes"] == 2 * LLAMA
    assert weights(facts("llama-8b"), "fp32")["weights_bytes"] == 4 * LLAMA


def test_groups_add_up() -> None:
    row = weights(facts("mixtral"), "awq-int4-g128", tensor_parallel_size=2)
    total = sum(row[f"{group}_weights_bytes"] for group in GROUPS)
    assert total == pytest.approx(row["weights_bytes"])


def test_four_bit_groups_pay_scales_and_zeros_and_leave_embedding_and_head() -> None:
    row = weights(facts("llama-8b"), "awq-int4-g128")
    quantised = 32 * LAYER * (4 + 20 / 128) / 8
    assert row["quantised_weights_bytes"] == pytest.approx(quantised)
    assert row["embedding_weights_bytes"] == 2 * EMBEDDING
    assert row["weights_bytes"] == pytest.approx(
        quantised + 4 * EMBEDDING + 2 * (32 * 2 * 4096 + 4096)
    )


def test_eight_bit_weights_pay_a_scale_per_output_channel() -> None:
    row = weights(facts("llama-8b"), "fp8-dynamic")
    channels = 4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096
    assert row["quantised_weights_bytes"] == pytest.approx(32 * (LAYER + 4 * channels), rel=1e-6)


def test_tensor_parallelism_cuts_linears_and_replicates_norms() -> None:
    row = weights(facts("llama-8b"), tensor_parallel_size=4)
    norms = 2 * (32 * 2 * 4096 + 4096)
    assert row["weights_bytes"] == pytest.approx(2 * (2 * EMBEDDING + 32 * LAYER) / 4 + norms)
    assert row["norm_weights_bytes"] == norms


def test_a_rank_keeps_one_key_value_head_at_least() -> None:
    model = facts("qwen-1.5b")  # two key-value heads of 128
    at_two, at_four = (weights(model, tensor_parallel_size=tp) for tp in (2, 4))
    kv = 28 * 2 * (128 * 1536 + 128) * 2  # K and V of one head, with biases
    embedding = 151936 * 1536 * 2

    def others(row: dict[str, Any], tp: int) -> float:
        return (row["weights_bytes"] - kv - row["norm_weights_bytes"] - embedding / tp) * tp

    assert others(at_two, 2) == pytest.approx(others(at_four, 4))


def test_vocabulary_rows_are_padded_before_they_are_cut() -> None:
    model = facts("llama-8b", vocab_size=32003)
    row = weights(model, tensor_parallel_size=2, vocab_padding=64)
    assert row["embedding_weights_bytes"] == pytest.approx(32064 / 2 * 4096 * 2)


def test_pipeline_stages_hold_embedding_first_and_head_last() -> None:
    row = weights(facts("llama-8b"), pipeline_parallel_size=4)
    stage = 2 * 8 * (LAYER + 2 * 4096)
    assert row["first_rank_weights_bytes"] == stage + 2 * EMBEDDING
    assert row["weights_bytes"] == stage + 2 * EMBEDDING + 2 * 4096  # the last: head and norm
    assert row["total_weights_bytes"] == 2 * LLAMA


def test_a_tied_head_is_copied_to_the_last_stage_only() -> None:
    model = facts("qwen-1.5b")
    assert weights(model)["weights_bytes"] == 2 * 1_543_714_304
    apart = weights(model, pipeline_parallel_size=2)
    assert apart["total_weights_bytes"] == 2 * (1_543_714_304 + 151936 * 1536)


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [(32, 4, [8, 8, 8, 8]), (61, 4, [15, 15, 16, 15]), (5, 3, [2, 2, 1]), (7, 4, [2, 2, 2, 1])],
)
def test_uneven_stages_give_the_rest_to_the_middle(
    layers: int, stages: int, sizes: list[int]
) -> None:
    """vLLM get_pp_indices: the remainder goes to stages before the last, from the back."""
    frame = pl.DataFrame({"layer": range(layers)}).select(
        stage=stage_of_layer(pl.col("layer"), pl.lit(layers), pl.lit(stages))
    )
    counts = frame.group_by("stage").len().sort("stage")["len"].to_list()
    assert counts == sizes


def test_experts_are_cut_by_width_or_dealt_whole() -> None:
    model = facts("mixtral")
    experts = 32 * 8 * 3 * 14336 * 4096 * 2
    by_width = weights(model, tensor_parallel_size=4)
    dealt = weights(model, tensor_parallel_size=4, expert_parallel_size=4)
    both = weights(model, tensor_parallel_size=4, expert_parallel_size=2)
    for row in (by_width, dealt, both):
        assert row["experts_weights_bytes"] == pytest.approx(experts / 4)
    uneven = weights(model, tensor_parallel_size=3, expert_parallel_size=3)
    assert uneven["experts_weights_bytes"] == pytest.approx(experts * 3 / 8)


def test_a_prequantised_checkpoint_keeps_its_own_layout() -> None:
    plain = facts("llama-8b")
    down = "model.layers.{i}.mlp.down_proj.weight"
    quantised = QuantizedModules("fp8-block", (down,), layers=(0, 1))
    model = ModelFacts(
        **{
            name: getattr(plain, name)
            for name in ModelFacts.__dataclass_fields__
            if name != "quantization"
        },
        quantization=(quantised,),
    )
    row = weights(model, "checkpoint")
    moved = 2 * 14336 * 4096
    assert row["weights_bytes"] == pytest.approx(2 * LLAMA - moved * (2 - 8.001953125 / 8))
    assert weights(model, "fp8-block")["weights_bytes"] == row["weights_bytes"]


def test_an_unknown_format_has_no_weights() -> None:
    assert weights(facts("llama-8b"), "int3-imagined")["weights_bytes"] is None


def test_mxfp4_experts_are_padded_to_the_kernels_width() -> None:
    model = facts("mixtral", intermediate_size=14400)
    plain = weights(model, "mxfp4")
    padded = weights(model, "mxfp4", expert_padding=256)
    assert padded["experts_weights_bytes"] == pytest.approx(
        plain["experts_weights_bytes"] * 14592 / 14400
    )


@pytest.mark.parametrize(
    ("mib", "slack"), [(9.5, 0), (10, 0), (11.5, 0.5), (12.9, 0), (259, 1), (31.5, 0.5)]
)
def test_the_allocator_keeps_rests_up_to_a_mebibyte(mib: float, slack: float) -> None:
    size = pl.DataFrame({"size": [mib * BYTES_PER_MIB]})
    assert size.select(slack_bytes(pl.col("size"))).item() == slack * BYTES_PER_MIB
