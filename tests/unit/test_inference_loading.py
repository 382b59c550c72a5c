"""What engines hold while they load: joined projections, quantised copies, heads of their own."""

from typing import Any

import polars as pl
import pytest

from planner.estimate.inference import estimate_inference
from planner.estimate.inference.quantised import unpacked_matrix_bytes
from planner.resolve.arch.read import read_config
from planner.units import BYTES_PER_MIB
from tests.inference_tables import CONFIGS, cell, facts, tables

LLAMA_7B = {
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
FUSED = {
    "model_type": "mpt",
    "d_model": 4096,
    "n_heads": 32,
    "n_layers": 32,
    "vocab_size": 50432,
    "max_seq_len": 2048,
}
MODELS = (
    *(facts(name) for name in CONFIGS),
    read_config({**CONFIGS["llama-8b"], **LLAMA_7B}, model="llama-7b", source="test"),
    read_config(FUSED, model="mpt-7b", source="test"),
)


def estimate(*cells: dict[str, Any]) -> list[dict[str, Any]]:
    used = [(c["engine"], c["engine_version"]) for c in cells]
    frame = pl.DataFrame(cells, infer_schema_length=None).lazy()
    return estimate_inference(frame, tables(MODELS, used)).collect(engine="in-memory").to_dicts()


def run(engine: str, weight_format: str, **columns: Any) -> dict[str, Any]:
    given = {"context_tokens": None, "input_tokens": 64, "output_tokens": 64, **columns}
    return cell(engine=engine, engine_version=None, weight_format=weight_format, **given)


def step_mib(row: dict[str, Any], end: str = "") -> float:
    return float(row[f"activations_{end}bytes"] + row[f"logits_{end}bytes"]) / BYTES_PER_MIB


def test_autoawq_holds_joined_projections_twice_until_all_are_joined() -> None:
    """3 x 4096 x 4096 x 32 in 4.15625 bits: 0.78 GiB, more than a short prompt takes."""
    short, long = estimate(
        run("autoawq", "awq-int4-g128", model="llama-7b"),
        run("autoawq", "awq-int4-g128", model="llama-7b", input_tokens=2048, output_tokens=2048),
    )
    joined = 3 * 4096**2 * 32 * 4.15625 / 8 / BYTES_PER_MIB
    assert step_mib(short) == pytest.approx(joined, rel=0.04)
    assert step_mib(short, "low_") < 100  # versions that delete them one by one
    assert step_mib(long) > 1.5 * joined  # the scores of a long prompt are the peak


def test_autoawq_from_0_2_joins_layer_by_layer_and_dequantises_long_steps() -> None:
    """From 1024 tokens on, a matrix of 11008 x 4096 in 16 bits."""
    given = {"model": "llama-7b", "output_tokens": 8}
    old, new = estimate(
        run("autoawq", "awq-int4-g128", **given) | {"engine_version": "0.1.8"},
        run("autoawq", "awq-int4-g128", **given) | {"engine_version": "0.2.5"},
    )
    assert step_mib(old) > 700
    assert step_mib(new) < 200
    short, long = estimate(
        *(
            run("autoawq", "awq-int4-g128", model="llama-7b", input_tokens=tokens)
            | {"engine_version": "0.2.5"}
            for tokens in (1023, 1024)
        )
    )
    matrices = pl.DataFrame([short, long], infer_schema_length=None).select(unpacked_matrix_bytes())
    assert matrices.to_series().to_list() == [0, 11008 * 4096 * 2]


def test_a_projection_that_is_one_matrix_is_not_joined() -> None:
    """What is left is the warm-up of 128 MiB."""
    short, long = estimate(
        run("autoawq", "awq-int4-g128", model="mpt-7b"),
        run("autoawq", "awq-int4-g128", model="mpt-7b", output_tokens=2048),
    )
    assert 128 < step_mib(short) < 200
    assert long["weights_bytes"] == short["weights_bytes"]  # ALiBi has no rotary tables


def test_joined_projections_of_a_stored_checkpoint_have_its_bits() -> None:
    stored = {"bits": 4, "group_size": 128, "quant_method": "awq", "zero_point": True}
    config = {**CONFIGS["llama-8b"], **LLAMA_7B, "quantization_config": stored}
    model = read_config(config, model="llama-7b-awq", source="test")
    frame = pl.DataFrame([run("autoawq", "checkpoint", model="llama-7b-awq")]).lazy()
    used = tables((model,), [("autoawq", None)])
    (row,) = estimate_inference(frame, used).collect(engine="in-memory").to_dicts()
    joined = 3 * 4096**2 * 32 * 4.15625 / 8 / BYTES_PER_MIB
    assert step_mib(row) == pytest.approx(joined, rel=0.04)


def test_litgpt_casts_the_unpacked_head_from_fp16_to_bf16() -> None:
    """32000 x 4096 in fp16 and in bf16 at once."""
    (row,) = estimate(run("litgpt", "nf4", model="llama-7b"))
    assert step_mib(row) == pytest.approx(32000 * 4096 * 4 / BYTES_PER_MIB, abs=100)
    assert step_mib(row) - step_mib(row, "low_") > 32000 * 4096 * 2 / BYTES_PER_MIB


@pytest.mark.parametrize(
    ("engine", "elements", "bytes_each"),
    [("litgpt", 32000 * 4096, 4), ("transformers", 11008 * 4096, 3)],
)
def test_quantising_to_int8_holds_copies_of_the_largest_matrix(
    engine: str, elements: int, bytes_each: int
) -> None:
    """LitGPT quantises the head, Transformers keeps it in 16 bits."""
    plain, quantised = estimate(
        run(engine, "bf16", model="llama-7b", input_tokens=2),
        run(engine, "int8-bnb", model="llama-7b", input_tokens=2),
    )
    more = step_mib(quantised) - step_mib(plain)
    assert more == pytest.approx(elements * bytes_each / BYTES_PER_MIB, abs=20)


def test_products_of_int8_weights_are_made_in_int32() -> None:
    """Four bytes more for each of 2048 tokens and 11008 outputs of the MLP."""
    given = {"model": "llama-7b", "input_tokens": 2048, "output_tokens": 1}
    plain, quantised = estimate(
        run("transformers", "bf16", **given), run("transformers", "int8-bnb", **given)
    )
    more = step_mib(quantised) - step_mib(plain)
    assert more == pytest.approx(2048 * 11008 * 4 / BYTES_PER_MIB, rel=0.02)


@pytest.mark.parametrize(("weight_format", "bits"), [("bf16", 16), ("nf4", 4.5)])
def test_litgpt_makes_a_head_of_its_own_for_a_tied_model(weight_format: str, bits: float) -> None:
    here, there = estimate(
        run("litgpt", weight_format, model="qwen-1.5b"),
        run("transformers", weight_format, model="qwen-1.5b"),
    )
    head = 151936 * 1536 * bits / 8
    assert here["weights_bytes"] - there["weights_bytes"] == pytest.approx(head, rel=0.05)


def test_exllama_cuts_a_prompt_to_a_square_of_2048_tokens() -> None:
    given = {"model": "llama-7b", "output_tokens": 128}
    rows = estimate(
        run("exllama", "gptq-int4-g128", input_tokens=1920, **given),
        run("exllama", "gptq-int4-g128", input_tokens=2048, **given),
        run("exllama", "gptq-int4-g128", input_tokens=3968, **given),
    )
    short, square, long = (step_mib(row) for row in rows)
    buffer = 2 * 11008 * (3968 - 2048) / BYTES_PER_MIB  # temp_state, for the whole context
    assert short < square
    assert long == pytest.approx(square + buffer, abs=1)


@pytest.mark.parametrize(
    ("config", "layers", "kv_heads", "billions"),
    [
        (
            {
                "model_type": "RefinedWeb",
                "hidden_size": 8192,
                "n_head": 128,
                "n_head_kv": 8,
                "n_layer": 60,
                "vocab_size": 65024,
                "bias": False,
                "parallel_attn": True,
            },
            60,
            8,
            41.3,
        ),
        (
            {
                "model_type": "RefinedWebModel",
                "hidden_size": 2048,
                "n_head": 32,
                "n_layer": 24,
                "multi_query": True,
                "vocab_size": 50304,
                "bias": False,
                "parallel_attn": True,
            },
            24,
            1,
            1.12,
        ),
    ],
)
def test_falcon_files_of_before_its_class_are_read(
    config: dict[str, Any], layers: int, kv_heads: int, billions: float
) -> None:
    found = read_config(config, model="falcon", source="test")
    assert len(found.layers) == layers
    assert {layer.num_key_value_heads for layer in found.layers} == {kv_heads}
    parameters = sum(t.numel * t.count for t in found.tensors if not t.tied)
    assert parameters / 1e9 == pytest.approx(billions, rel=0.02)
