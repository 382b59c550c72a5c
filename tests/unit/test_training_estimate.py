"""The training estimator against figures that real model classes gave, and its contract."""

import polars as pl
import pytest

from planner.estimate.ledger import ITEMS, item_column
from planner.estimate.training import TERMS, estimate_training
from planner.estimate.training.advice import advise
from tests.training_cells import BASE, cell, estimate, tables

GIB = 2**30

# (changes, bytes at the peak) of real transformers classes: one step of llama-3.2-1b, bf16.
ORACLE = [
    ({"gradient_checkpointing": "full"}, 10_937_205_584),
    ({"gradient_checkpointing": "full", "micro_batch_size": 4}, 20_694_692_688),
    ({"gradient_checkpointing": "full", "sequence_tokens": 8192}, 20_696_314_704),
    ({"gradient_checkpointing": "full", "gradient_accumulation_steps": 2}, 13_206_872_912),
    ({"micro_batch_size": 2}, 20_909_061_328),
]


@pytest.mark.parametrize(("changes", "peak"), ORACLE)
def test_the_peak_agrees_with_the_real_class(changes: dict[str, object], peak: int) -> None:
    (row,) = estimate(cell(**changes))
    assert row["allocated_bytes"] == pytest.approx(peak, rel=0.001)


def test_saved_bytes_of_a_layer_follow_the_closed_form() -> None:
    """16h + 4Q + 4K + 8f + 4a + 8 bytes a token: a Llama layer, bf16, flash attention."""
    (row,) = estimate(cell(micro_batch_size=2))
    h, q, k, f, a = 2048, 2048, 512, 8192, 32
    assert row["layer_saved_bytes"] == 4096 * (16 * h + 4 * q + 4 * k + 8 * f + 4 * a + 8)


def test_lora_with_fp32_adapters_saves_an_fp32_copy_of_every_input() -> None:
    (row,) = estimate(cell(method="lora", lora_rank=16, lora_targets="all-linear"))
    assert row["layer_saved_bytes"] == pytest.approx(2048 * 158_280, rel=1e-4)


def test_checkpointing_keeps_one_hidden_state_a_layer() -> None:
    (row,) = estimate(cell(gradient_checkpointing="full"))
    assert row["layers_saved_bytes"] == 16 * 2 * 2048 * 2048


def test_items_add_up_to_the_totals_in_all_three_bounds() -> None:
    rows = estimate(cell(), cell(method="lora", lora_rank=8, lora_targets="q_proj;v_proj"))
    for row in rows:
        for bound in ("low", "expected", "high"):
            parts = sum(row[item_column(item, bound)] or 0.0 for item in ITEMS)
            assert parts == pytest.approx(row[item_column("total", bound)])
        assert row["total_low_bytes"] <= row["total_bytes"] <= row["total_high_bytes"]
        assert row["allocated_bytes"] <= row["reserved_bytes"] <= row["process_bytes"]


def test_bf16_adamw_with_foreach_peaks_at_ten_bytes_a_parameter() -> None:
    (row,) = estimate(
        cell(model="llama-8b", framework="torch-loop", gradient_checkpointing="full",
             sequence_tokens=512)
    )  # fmt: skip
    assert row["peak_phase"] == "optimizer step"
    assert row["allocated_bytes"] == pytest.approx(10 * 8_030_261_248, rel=0.002)


def test_optimizer_in_backward_keeps_no_gradients() -> None:
    plain, fused = estimate(
        cell(gradient_checkpointing="full"),
        cell(gradient_checkpointing="full", optimizer_in_backward=True),
    )
    assert fused["allocated_bytes"] < plain["allocated_bytes"]


def deepspeed_zero(stage: int, **changes: object) -> dict[str, object]:
    """An 8B model on eight GPUs under one of DeepSpeed's stages."""
    layout = {"model": "llama-8b", "framework": "deepspeed", "gradient_checkpointing": "full"}
    return cell(**layout, gpu_count=8, data_parallel_size=8, sharding=f"zero{stage}", **changes)


def test_zero_stages_cut_the_states_that_deepspeed_cuts() -> None:
    """Stage 1 and 2 keep 2 bytes of weights and cut 12 of the optimizer, stage 3 cuts all."""
    n, gpus = 8_030_261_248, 8
    one, two, three = estimate(
        *(
            deepspeed_zero(stage, micro_batch_size=8, gradient_accumulation_steps=2)
            for stage in (1, 2, 3)
        )
    )
    states = ("weights_bytes", "optimizer_bytes")
    for row, expected in ((one, 2 + 12 / gpus), (two, 2 + 12 / gpus), (three, 14 / gpus)):
        assert row["peak_phase"].startswith("loss")
        assert sum(row[name] for name in states) == pytest.approx(expected * n, rel=0.07)
    assert one["gradients_bytes"] > two["gradients_bytes"]


def test_zero_3_agrees_with_deepspeeds_own_estimator() -> None:
    """estimate_zero3_model_states_mem_needs: 18 bytes a parameter over the GPUs, and one layer."""
    (row,) = estimate(deepspeed_zero(3, sequence_tokens=128, micro_batch_size=1))
    states = ("weights_bytes", "gradients_bytes", "optimizer_bytes")
    own = 18 * 8_030_261_248 / 8 + 4 * 218_112_000
    assert sum(row[name] for name in states) == pytest.approx(own, rel=0.15)


def test_fsdp_mixed_precision_keeps_twenty_bytes_a_parameter_over_the_gpus() -> None:
    """fp32 shards, gradients, two states and the foreach copy: what accelerate's FSDP showed."""
    (row,) = estimate(
        cell(model="llama-8b", framework="fsdp", sharding="fsdp", gpu_count=2,
             data_parallel_size=2, gradient_checkpointing="full", sequence_tokens=512)
    )  # fmt: skip
    assert row["peak_phase"] == "optimizer step"
    assert row["allocated_bytes"] == pytest.approx(20 * 8_030_261_248 / 2, rel=0.002)


def test_nulls_take_the_preset_and_the_result_shows_it() -> None:
    (row,) = estimate({**BASE, "framework": "trl", "optimizer": None, "attention": None,
                       "gradient_checkpointing": None})  # fmt: skip
    assert row["optimizer"] == "adamw"
    assert row["gradient_checkpointing"] == "full"
    assert row["attention"] == "sdpa"


def test_what_cannot_be_estimated_has_a_reason() -> None:
    rows = estimate(
        cell(method="adapter"),
        cell(weight_format="nf4"),
        cell(framework="nothing-known"),
        cell(method="lora", lora_rank=8, lora_targets="no_such_layer"),
        cell(optimizer="unheard-of"),
        cell(tensor_parallel_size=3, gpu_count=3),
        cell(pipeline_parallel_size=64, gpu_count=64),
        cell(attention="flash", gpu="t4-16gb"),
        cell(),
    )
    reasons = [row["unsupported_reason"] or row["impossible_reason"] for row in rows]
    assert all(reasons[:-1])
    assert reasons[-1] is None
    assert "heads" in rows[5]["impossible_reason"]


def test_terms_name_columns_that_the_result_has() -> None:
    (row,) = estimate(cell())
    for term in TERMS:
        assert set(term.operands) <= set(row), term.name
        for operand in term.operands:
            assert f"{{{operand}}}" in term.formula


def test_cells_keep_their_order_and_the_streaming_engine_agrees() -> None:
    names = ["a100-sxm4-80gb", "t4-16gb", "h100-sxm-80gb"]
    cells = pl.DataFrame([cell(case_id=str(i), gpu=names[i % 3]) for i in range(9)]).lazy()
    known = tables()
    lazy = estimate_training(cells, known).select("case_id", "gpu", "total_bytes")
    plain = lazy.collect(engine="in-memory")
    assert plain["case_id"].to_list() == [str(i) for i in range(9)]
    assert lazy.collect(engine="streaming").sort("case_id").equals(plain.sort("case_id"))


def test_experts_under_lora_keep_their_adapted_weights_whatever_the_tokens() -> None:
    short, long = estimate(
        *(
            cell(model="mixtral", method="lora", lora_rank=16, lora_targets="all-linear",
                 sequence_tokens=tokens)
            for tokens in (512, 1024)
        )
    )  # fmt: skip
    slope = (long["layer_saved_bytes"] - short["layer_saved_bytes"]) / 512
    assert short["layer_saved_bytes"] - 512 * slope == pytest.approx(2.83e9, rel=0.02)


def test_speed_is_a_range_and_adapters_are_faster_than_full() -> None:
    full, lora = estimate(
        cell(gpu="a100-sxm4-80gb"),
        cell(gpu="a100-sxm4-80gb", method="lora", lora_rank=8, lora_targets="q_proj;v_proj"),
    )
    for row in (full, lora):
        assert (
            0
            < row["tokens_per_second_low"]
            < row["tokens_per_second"]
            < row["tokens_per_second_high"]
        )
    assert lora["tokens_per_second"] > full["tokens_per_second"]


def test_advice_lists_changes_that_fit_cheapest_first() -> None:
    known = tables()
    usable = 79.2 * GIB
    cells = pl.DataFrame(
        [
            cell(model="llama-8b", method="lora", lora_rank=16, lora_targets="all-linear",
                 framework="trl", sequence_tokens=4096, micro_batch_size=4, gpu="a100-sxm4-80gb",
                 usable_low_bytes=usable, usable_bytes=usable, usable_high_bytes=usable)
        ]
    ).lazy()  # fmt: skip
    advice = advise(cells, known).collect(engine="in-memory")
    assert advice.height >= 2
    assert advice["effort"].is_sorted()
    assert (advice["total_bytes"] <= advice["budget_bytes"]).all()
    assert "checkpoint activations" in advice["change"].to_list()
