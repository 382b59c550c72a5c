"""Bits of a weight, against published block layouts and file sizes."""

import polars as pl
import pytest

from planner.catalog import load_catalog


def bits(weight_format: str, column: str = "bits_per_parameter") -> float:
    formats = load_catalog().formats
    found: float = formats.row(by_predicate=pl.col("weight_format") == weight_format, named=True)[
        column
    ]
    return found


@pytest.mark.parametrize(
    ("weight_format", "expected"),
    [
        ("fp32", 32),
        ("bf16", 16),
        ("awq-int4-g128", 4 + 20 / 128),
        ("gptq-int4-g128", 4 + 20 / 128),
        ("gptq-int4-g32", 4 + 20 / 32),
        ("gptq-int8-g128", 8 + 24 / 128),
        ("int4-w4a16-g128", 4 + 16 / 128),
        ("hqq-int4-g64", 4.5),
        ("nf4", 4.5),
        ("nf4-dq", 4 + 8 / 64 + 32 / (64 * 256)),
        ("fp4-bnb", 4.5),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("fp8-block", 8 + 32 / (128 * 128)),
    ],
)
def test_group_arithmetic(weight_format: str, expected: float) -> None:
    assert bits(weight_format) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("weight_format", "block_bytes", "block_weights"),
    [
        ("q4_0", 18, 32),
        ("q4_1", 20, 32),
        ("q5_0", 22, 32),
        ("q5_1", 24, 32),
        ("q8_0", 34, 32),
        ("q2_k", 84, 256),
        ("q3_k_s", 110, 256),
        ("q4_k_m", 144, 256),
        ("q5_k_m", 176, 256),
        ("q6_k", 210, 256),
        ("iq1_s", 50, 256),
        ("iq2_xxs", 66, 256),
        ("iq2_xs", 74, 256),
        ("iq3_xxs", 98, 256),
        ("iq3_s", 110, 256),
        ("iq4_nl", 18, 32),
        ("iq4_xs", 136, 256),
        ("iq2_k", 76, 256),
        ("iq4_k", 144, 256),
        ("iq5_k", 176, 256),
    ],
)
def test_gguf_blocks(weight_format: str, block_bytes: int, block_weights: int) -> None:
    assert bits(weight_format, "block_bits") == block_bytes * 8 / block_weights


# Bits of a weight over the whole file of Llama-3.1-8B, from the README of llama-quantize.
PUBLISHED_8B = {
    "q2_k": 3.1593,
    "q3_k_s": 3.6429,
    "q3_k_m": 3.9960,
    "q3_k_l": 4.2979,
    "q4_k_s": 4.6672,
    "q4_k_m": 4.8944,
    "q5_k_s": 5.5704,
    "q5_k_m": 5.7036,
    "q6_k": 6.5633,
    "q8_0": 8.5008,
    "iq1_s": 2.0042,
    "iq1_m": 2.1460,
    "iq2_xxs": 2.3824,
    "iq2_xs": 2.5882,
    "iq2_s": 2.7403,
    "iq2_m": 2.9294,
    "iq3_xxs": 3.2548,
    "iq3_xs": 3.4977,
    "iq3_s": 3.6606,
    "iq3_m": 3.7628,
}


@pytest.mark.parametrize("weight_format", PUBLISHED_8B)
def test_gguf_mixes_reproduce_published_file_sizes(weight_format: str) -> None:
    table, norms = 128256 * 4096, (2 * 32 + 1) * 4096
    matrices = 8_030_261_248 - 2 * table - norms
    file_bits = (
        matrices * bits(weight_format)
        + table * bits(weight_format, "embedding_bits")
        + table * bits(weight_format, "lm_head_bits")
        + norms * 32
    )
    assert file_bits / 8_030_261_248 == pytest.approx(PUBLISHED_8B[weight_format], abs=0.002)


@pytest.mark.parametrize("weight_format", ["q4_k_m", "q5_k_m", "q3_k_m", "iq3_m"])
def test_mix_average_follows_from_its_tensor_classes(weight_format: str) -> None:
    sizes = {  # Llama-3.1-8B, one layer
        "attn_q": 4096 * 4096,
        "attn_k": 4096 * 1024,
        "attn_v": 4096 * 1024,
        "attn_output": 4096 * 4096,
        "ffn_gate": 4096 * 14336,
        "ffn_up": 4096 * 14336,
        "ffn_down": 4096 * 14336,
    }
    block = bits(weight_format, "block_bits")
    total = sum((bits(weight_format, f"{n}_bits") or block) * size for n, size in sizes.items())
    assert total / sum(sizes.values()) == pytest.approx(bits(weight_format), abs=1e-3)


def test_guide_column_is_the_rule_of_thumb() -> None:
    for weight_format, guide_bytes in [("fp32", 4), ("fp16", 2), ("bf16", 2), ("fp8", 1)]:
        assert bits(weight_format, "guide_bytes_per_parameter") == guide_bytes
    assert bits("int8-bnb", "guide_bytes_per_parameter") == 1
    assert bits("nf4", "guide_bytes_per_parameter") == 0.5
    assert bits("awq-int4-g128", "guide_bytes_per_parameter") == 0.5


def test_ranges_hold_their_expected_value_and_words_are_there() -> None:
    formats = load_catalog().formats
    inside = formats.select(
        (pl.col("bits_per_parameter_low") <= pl.col("bits_per_parameter"))
        & (pl.col("bits_per_parameter") <= pl.col("bits_per_parameter_high"))
    ).to_series()
    assert inside.all()
    for column in ("uses", "notes", "source", "title"):
        assert formats[column].null_count() == 0


def test_quantised_formats_say_what_stays_16_bit() -> None:
    kept = load_catalog().formats.filter(~pl.col("family").is_in(["float", "gguf"]))
    assert kept.select(pl.col("kept_16bit_roles").list.contains("norm").all()).item()
    assert kept.select(pl.col("kept_16bit_roles").list.contains("lm_head").all()).item()
