"""Weights in GGUF mixes against published files and what llama.cpp prints of them."""

from functools import cache

import polars as pl
import pytest

from planner.catalog import load_catalog
from planner.estimate.gguf_mix import BLOCK_BITS, OUTPUT_BLOCKS, OWN_BLOCKS, RULES, TABLE_BLOCKS
from planner.estimate.stored import stored_tensors
from planner.estimate.weights import weights_by_rank
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_MIB
from planner.verify.read import facts_of_models, tables_of

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"
# Decimal GB of files with an importance matrix on the hub; a vocabulary is up to 10 MB of each.
FILES_GB = {
    (LLAMA_8B, "q2_k"): 3.18,
    (LLAMA_8B, "q3_k_s"): 3.66,
    (LLAMA_8B, "q3_k_m"): 4.02,
    (LLAMA_8B, "q3_k_l"): 4.32,
    (LLAMA_8B, "q4_k_s"): 4.69,
    (LLAMA_8B, "q4_k_m"): 4.92,
    (LLAMA_8B, "q5_k_s"): 5.60,
    (LLAMA_8B, "q5_k_m"): 5.73,
    (LLAMA_8B, "q6_k"): 6.60,
    (LLAMA_8B, "q8_0"): 8.54,
    (LLAMA_8B, "iq2_m"): 2.95,
    (LLAMA_8B, "iq3_xs"): 3.52,
    (LLAMA_8B, "iq3_m"): 3.78,
    (LLAMA_8B, "iq4_xs"): 4.45,
    (LLAMA_70B, "q3_k_s"): 30.91,
    (LLAMA_70B, "q3_k_m"): 34.27,
    (LLAMA_70B, "q3_k_l"): 37.14,
    (LLAMA_70B, "q4_k_s"): 40.35,
    (LLAMA_70B, "q4_k_m"): 42.52,
    (LLAMA_70B, "q5_k_s"): 48.66,
    (LLAMA_70B, "q5_k_m"): 49.95,
    (LLAMA_70B, "q6_k"): 57.89,
    (LLAMA_70B, "q8_0"): 74.98,
    (LLAMA_70B, "iq3_m"): 31.94,
    (LLAMA_70B, "iq4_xs"): 37.90,
    # Tied table in the output's type; rows of 896 that no block of 256 divides; one tensor for
    # queries, keys and values; eight experts.
    ("meta-llama/Llama-3.2-3B-Instruct", "q4_k_m"): 2.02,
    ("Qwen/Qwen2.5-0.5B", "q4_k_m"): 0.398,
    ("google/gemma-2-9b-it", "q4_k_m"): 5.76,
    ("microsoft/Phi-3-mini-4k-instruct", "q4_k_m"): 2.39,
    ("microsoft/phi-4", "q4_k_m"): 9.05,
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "q4_k_m"): 28.45,
    ("Qwen/Qwen2.5-72B-Instruct", "q4_k_m"): 47.42,
    ("Qwen/Qwen3-8B", "q4_k_m"): 5.03,
}


@cache
def model_tables(model: str) -> Tables:
    facts, reasons = facts_of_models([model], None, load_catalog())
    assert not reasons
    return tables_of(facts.values(), ())


def weights(model: str, weight_format: str, stages: int = 1) -> dict[str, float]:
    wanted = pl.LazyFrame(
        {"model": model, "weight_format": weight_format, "pipeline_parallel_size": stages}
    )
    return weights_by_rank(model_tables(model), wanted).collect(engine="in-memory").to_dicts()[0]


@pytest.mark.parametrize(("model", "weight_format"), FILES_GB)
def test_whole_files_have_their_published_size(model: str, weight_format: str) -> None:
    rest = FILES_GB[model, weight_format] - weights(model, weight_format)["weights_bytes"] / 1e9
    assert -0.006 <= rest <= 0.016  # rounding of the size, and the vocabulary


def test_llama_cpp_prints_the_same_buffers_to_a_hundredth_of_a_mib() -> None:
    """`CUDA0 model buffer size = 4403.49 MiB`, `CPU_Mapped model buffer size = 281.81 MiB`."""
    found = weights(LLAMA_8B, "q4_k_m")
    table = found["embedding_weights_bytes"]
    assert table / BYTES_PER_MIB == pytest.approx(281.81, abs=0.006)
    assert (found["weights_bytes"] - table) / BYTES_PER_MIB == pytest.approx(4403.49, abs=0.006)


def test_first_and_last_layers_of_a_mix_are_heavier() -> None:
    """The first and last four of 32 layers, and every third between them."""
    tensors = stored_tensors(
        model_tables(LLAMA_8B), pl.LazyFrame({"model": [LLAMA_8B], "weight_format": ["q4_k_m"]})
    )
    down = tensors.filter(pl.col("leaf") == "down_proj").collect(engine="in-memory")
    layers = dict(down.select("stored_bits", "layers").iter_rows())
    raised = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    assert layers[BLOCK_BITS["Q6_K"]] == raised
    assert sorted([*layers[BLOCK_BITS["Q4_K"]], *raised]) == list(range(32))
    assert down["count"].sum() == 32


@pytest.mark.parametrize("weight_format", OWN_BLOCKS)
def test_rules_and_catalog_name_the_same_blocks(weight_format: str) -> None:
    row = load_catalog().formats.row(
        by_predicate=pl.col("weight_format") == weight_format, named=True
    )
    own = OWN_BLOCKS[weight_format]
    assert row["block_bits"] == BLOCK_BITS[own]
    assert row["embedding_bits"] == BLOCK_BITS[TABLE_BLOCKS.get(weight_format, own)]
    assert row["lm_head_bits"] == BLOCK_BITS[OUTPUT_BLOCKS[weight_format]]


def test_every_rule_names_mixes_and_blocks_that_exist() -> None:
    for rule in RULES:
        assert set(rule.mixes) <= set(OWN_BLOCKS)
        assert rule.block in BLOCK_BITS
