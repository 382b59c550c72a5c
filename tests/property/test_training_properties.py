"""Properties that hold for every training cell."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training_cells import cell, estimate, tables

KNOWN = tables()
GROWS = ("allocated_bytes", "total_bytes", "total_high_bytes")


@st.composite
def training_cells(draw: st.DrawFn) -> dict[str, Any]:
    """A cell of any method, kernel and layout that exists."""
    method = draw(st.sampled_from(["full", "lora", "dora", "qlora"]))
    adapted = method != "full"
    gpus = draw(st.sampled_from([1, 2, 4, 8]))
    sharding = draw(st.sampled_from(["ddp", "zero1", "zero2", "zero3", "fsdp"]))
    return cell(
        model=draw(st.sampled_from(["llama-1b", "llama-8b", "mixtral"])),
        method=method,
        weight_format="nf4-dq" if method == "qlora" else "bf16",
        framework=draw(st.sampled_from(["trl", "torchtune", "litgpt", "deepspeed", "fsdp"])),
        lora_rank=draw(st.sampled_from([8, 64])) if adapted else None,
        lora_targets=draw(st.sampled_from(["all-linear", "q_proj;v_proj"])) if adapted else None,
        sequence_tokens=draw(st.sampled_from([512, 2048, 8192])),
        micro_batch_size=draw(st.integers(1, 8)),
        gradient_accumulation_steps=draw(st.integers(1, 4)),
        gradient_checkpointing=draw(st.sampled_from(["full", "none", "selective"])),
        attention=draw(st.sampled_from(["eager", "sdpa", "flash"])),
        loss_kernel=draw(st.sampled_from(["none", "fused", "chunked", "liger"])),
        gpu_count=gpus,
        data_parallel_size=gpus,
        sharding=sharding if gpus > 1 else "none",
        gpu="a100-sxm4-80gb",
    )


@settings(max_examples=25, deadline=None)
@given(training_cells())
def test_a_longer_or_larger_batch_never_needs_less(base: dict[str, Any]) -> None:
    plain, longer, larger = estimate(
        base,
        {**base, "sequence_tokens": base["sequence_tokens"] * 2},
        {**base, "micro_batch_size": base["micro_batch_size"] + 1},
        known=KNOWN,
    )
    for name in GROWS:
        assert longer[name] >= plain[name]
        assert larger[name] >= plain[name]


@settings(max_examples=25, deadline=None)
@given(training_cells())
def test_every_item_is_a_range_of_finite_bytes(base: dict[str, Any]) -> None:
    (row,) = estimate(base, known=KNOWN)
    assert row["unsupported_reason"] is None
    assert row["impossible_reason"] is None
    for name, value in row.items():
        if name.endswith("_bytes") and value is not None:
            assert 0 <= value < 1e16, name
    assert row["total_low_bytes"] <= row["total_bytes"] <= row["total_high_bytes"]


@settings(max_examples=25, deadline=None)
@given(training_cells())
def test_full_checkpointing_never_saves_more_than_none(base: dict[str, Any]) -> None:
    none, full = estimate(
        {**base, "gradient_checkpointing": "none"},
        {**base, "gradient_checkpointing": "full"},
        known=KNOWN,
    )
    assert full["layers_saved_bytes"] <= none["layers_saved_bytes"]


@settings(max_examples=15, deadline=None)
@given(training_cells(), st.sampled_from([2, 4, 8]))
def test_sharding_over_more_gpus_never_keeps_more_states(base: dict[str, Any], gpus: int) -> None:
    layout = {"sharding": "zero3", "framework": "deepspeed", "nodes": 1}
    fewer, more = estimate(
        {**base, **layout, "gpu_count": gpus, "data_parallel_size": gpus},
        {**base, **layout, "gpu_count": 2 * gpus, "data_parallel_size": 2 * gpus},
        known=KNOWN,
    )
    states = ("weights_bytes", "adapter_bytes", "optimizer_bytes")
    assert sum(more[s] or 0 for s in states) <= sum(fewer[s] or 0 for s in states) * (1 + 1e-9)
