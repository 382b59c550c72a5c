"""GGUF headers: metadata, exact bytes by block type, split files, and facts without a config."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputProblems
from planner.resolve.gguf import BLOCKS, ArrayLength, read_gguf
from planner.resolve.gguf_facts import read_gguf_model
from planner.resolve.headers import BadHeader

IDS = {name: number for number, (name, _, _) in BLOCKS.items()}
CODES = {"I": 4, "f": 6, "?": 7, "Q": 10}
Rows = dict[str, tuple[str, tuple[int, ...]]]


def text(value: str, order: str = "<") -> bytes:
    return struct.pack(f"{order}Q", len(value.encode())) + value.encode()


def pair(key: str, value: Any, order: str = "<") -> bytes:
    if isinstance(value, str):
        return text(key, order) + struct.pack(f"{order}I", 8) + text(value, order)
    if isinstance(value, list):
        strings = bool(value) and isinstance(value[0], str)
        head = struct.pack(f"{order}IIQ", 9, 8 if strings else 4, len(value))
        items = [text(v, order) if strings else struct.pack(f"{order}I", v) for v in value]
        return text(key, order) + head + b"".join(items)
    code = "?" if isinstance(value, bool) else "I" if isinstance(value, int) else "f"
    return text(key, order) + struct.pack(f"{order}I{code}", CODES[code], value)


def gguf_bytes(
    metadata: dict[str, Any], rows: Rows, *, order: str = "<", version: int = 3, cut: int = 0
) -> bytes:
    """A GGUF file; shapes as torch has them (the file stores the innermost dimension first)."""
    out = b"GGUF" + struct.pack(f"{order}IQQ", version, len(rows), len(metadata))
    out += b"".join(pair(key, value, order) for key, value in metadata.items())
    offset = 0
    for name, (dtype, shape) in rows.items():
        number = IDS.get(dtype, 137)
        out += text(name, order) + struct.pack(f"{order}I", len(shape))
        out += b"".join(struct.pack(f"{order}Q", n) for n in reversed(shape))
        out += struct.pack(f"{order}IQ", number, offset)
        offset += -(-size_of(dtype, shape) // 32) * 32
    out += b"\0" * (-len(out) % 32)
    return out + b"\0" * (offset - cut)


def size_of(dtype: str, shape: tuple[int, ...]) -> int:
    _, block, size = BLOCKS[IDS[dtype]] if dtype in IDS else ("", 256, 76)
    return math.prod(shape) // block * size


LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 4096,
}


def llama_rows(layers: int = 2) -> Rows:
    rows: Rows = {
        "token_embd.weight": ("Q4_K", (320, 256)),
        "output.weight": ("Q6_K", (320, 256)),
        "output_norm.weight": ("F32", (256,)),
    }
    for i in range(layers):
        rows |= {
            f"blk.{i}.attn_q.weight": ("Q4_K", (256, 256)),
            f"blk.{i}.attn_k.weight": ("Q4_K", (64, 256)),
            f"blk.{i}.attn_v.weight": ("Q6_K" if i else "Q4_K", (64, 256)),
            f"blk.{i}.attn_output.weight": ("Q4_K", (256, 256)),
            f"blk.{i}.ffn_gate.weight": ("Q4_K", (512, 256)),
            f"blk.{i}.ffn_up.weight": ("Q4_K", (512, 256)),
            f"blk.{i}.ffn_down.weight": ("F16", (256, 512)),
            f"blk.{i}.attn_norm.weight": ("F32", (256,)),
            f"blk.{i}.ffn_norm.weight": ("F32", (256,)),
        }
    return rows


def write(path: Path, *args: Any, **options: Any) -> Path:
    path.write_bytes(gguf_bytes(*args, **options))
    return path


# Elements and bytes of a block as the published struct definitions add up (ggml-common.h).
@pytest.mark.parametrize(
    ("dtype", "elements", "size"),
    [
        ("Q4_0", 32, 2 + 16),
        ("Q4_1", 32, 2 + 2 + 16),
        ("Q5_0", 32, 2 + 4 + 16),
        ("Q5_1", 32, 2 + 2 + 4 + 16),
        ("Q8_0", 32, 2 + 32),
        ("Q8_1", 32, 2 + 2 + 32),
        ("Q2_K", 256, 256 // 16 + 256 // 4 + 2 + 2),
        ("Q3_K", 256, 256 // 8 + 256 // 4 + 12 + 2),
        ("Q4_K", 256, 2 + 2 + 12 + 256 // 2),
        ("Q5_K", 256, 2 + 2 + 12 + 256 // 8 + 256 // 2),
        ("Q6_K", 256, 256 // 2 + 256 // 4 + 256 // 16 + 2),
        ("IQ2_XXS", 256, 2 + 256 // 8 * 2),
        ("IQ2_XS", 256, 2 + 256 // 8 * 2 + 256 // 32),
        ("IQ3_XXS", 256, 2 + 3 * 256 // 8),
        ("IQ1_S", 256, 2 + 256 // 8 + 256 // 16),
        ("IQ4_NL", 32, 2 + 16),
        ("IQ4_XS", 256, 2 + 2 + 256 // 64 + 256 // 2),
        ("TQ1_0", 256, 2 + 256 // 64 + (256 - 4 * 256 // 64) // 5),
        ("TQ2_0", 256, 2 + 256 // 4),
        ("MXFP4", 32, 1 + 16),
    ],
)
def test_blocks_are_as_large_as_their_parts(dtype: str, elements: int, size: int) -> None:
    assert BLOCKS[IDS[dtype]] == (dtype, elements, size)


def test_bytes_by_type_are_exact(tmp_path: Path) -> None:
    stored = read_gguf(write(tmp_path / "m.gguf", LLAMA, llama_rows())).stored
    expected: dict[str, int] = {}
    for dtype, shape in llama_rows().values():
        expected[dtype] = expected.get(dtype, 0) + size_of(dtype, shape)
    assert stored.bytes_by_dtype() == dict(sorted(expected.items(), key=lambda kv: -kv[1]))


def test_facts_come_from_the_file_alone(tmp_path: Path) -> None:
    facts = read_gguf_model(write(tmp_path / "m.gguf", LLAMA, llama_rows()))
    assert facts.parameters == sum(math.prod(shape) for _, shape in llama_rows().values())
    roles = facts.parameters_by_role()
    assert roles["attention"] == 2 * (2 * 256 * 256 + 2 * 64 * 256)
    assert roles["mlp"] == 2 * 3 * 256 * 512
    assert roles["norm"] == 5 * 256
    assert roles["lm_head"] == 320 * 256
    assert [layer.kv_elements_per_token for layer in facts.layers] == [2 * 2 * 32] * 2
    assert (facts.vocab_size, facts.max_position_embeddings) == (320, 4096)
    assert not facts.tied_embeddings
    assert facts.layers[0].mlp == "gated"
    assert facts.layers[0].intermediate_size == 512


def test_arithmetic_from_the_formats_makes_the_same_bytes(tmp_path: Path) -> None:
    from planner.catalog.load import load_catalog
    from planner.resolve.checkpoint import arithmetic_bytes

    facts = read_gguf_model(write(tmp_path / "m.gguf", LLAMA, llama_rows()))
    bits = dict(load_catalog().formats.select("weight_format", "bits_per_parameter").iter_rows())
    assert arithmetic_bytes(facts, bits) == facts.stored_bytes


def test_every_block_type_has_a_format_of_its_bits() -> None:
    from planner.catalog.load import load_catalog
    from planner.resolve.gguf_facts import format_id

    bits = dict(load_catalog().formats.select("weight_format", "bits_per_parameter").iter_rows())
    only_in_memory = {"F64", "I8", "I16", "I32", "I64", "Q8_1", "Q8_K"}
    repacked = {"Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8"}
    for name, block, size in BLOCKS.values():
        if name not in only_in_memory | repacked | {"F16", "BF16"}:
            assert bits[format_id(name)] == size * 8 / block


def test_no_output_tensor_means_tied(tmp_path: Path) -> None:
    rows = llama_rows()
    del rows["output.weight"]
    assert read_gguf_model(write(tmp_path / "m.gguf", LLAMA, rows)).tied_embeddings


def test_experts_count_by_their_use(tmp_path: Path) -> None:
    rows: Rows = {"token_embd.weight": ("F16", (64, 32))}
    rows |= {
        "blk.0.ffn_gate_inp.weight": ("F32", (8, 32)),
        "blk.0.ffn_gate_exps.weight": ("F16", (8, 16, 32)),
        "blk.0.ffn_up_exps.weight": ("F16", (8, 16, 32)),
        "blk.0.ffn_down_exps.weight": ("F16", (8, 32, 16)),
        "blk.0.ffn_down_shexp.weight": ("F16", (32, 24)),
        "blk.0.attn_k.weight": ("F16", (32, 32)),
    }
    keys = {
        "general.architecture": "somemoe",
        "somemoe.block_count": 1,
        "somemoe.embedding_length": 32,
        "somemoe.attention.head_count": 2,
        "somemoe.expert_used_count": 2,
    }
    facts = read_gguf_model(write(tmp_path / "m.gguf", keys, rows))
    layer = facts.layers[0]
    assert (layer.mlp, layer.num_experts, layer.num_experts_per_tok) == ("moe", 8, 2)
    assert (layer.moe_intermediate_size, layer.shared_intermediate_size) == (16, 24)
    assert facts.parameters - facts.active_parameters == 3 * 6 * 16 * 32


def test_latent_attention_caches_the_latent(tmp_path: Path) -> None:
    keys = LLAMA | {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 1,
        "deepseek2.embedding_length": 256,
        "deepseek2.attention.head_count": 8,
        "deepseek2.attention.kv_lora_rank": 64,
        "deepseek2.rope.dimension_count": 16,
    }
    rows: Rows = {"blk.0.attn_kv_a_mqa.weight": ("F16", (80, 256))}
    layer = read_gguf_model(write(tmp_path / "m.gguf", keys, rows)).layers[0]
    assert (layer.mixer, layer.kv_elements_per_token) == ("mla", 80)


@pytest.mark.parametrize(
    ("extra", "windows"),
    [
        ({}, [None] * 6),
        ({"x.attention.sliding_window_pattern": [1, 0, 1, 0, 1, 0]}, [512, None] * 3),
        ({"x.attention.sliding_window_pattern": 3}, [512, 512, None] * 2),
    ],
)
def test_windows_follow_the_pattern_or_are_assumed_away(
    tmp_path: Path, extra: dict[str, Any], windows: list[int | None]
) -> None:
    keys = {
        "general.architecture": "x",
        "x.block_count": 6,
        "x.embedding_length": 64,
        "x.attention.head_count": 4,
        "x.attention.sliding_window": 512,
        **extra,
    }
    rows: Rows = {f"blk.{i}.attn_k.weight": ("F16", (64, 64)) for i in range(6)}
    facts = read_gguf_model(write(tmp_path / "m.gguf", keys, rows))
    assert [layer.window_tokens for layer in facts.layers] == windows
    assert bool(facts.assumptions) == (not extra)


def test_prediction_layers_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    keys = LLAMA | {"llama.block_count": 3, "llama.nextn_predict_layers": 1}
    path = write(tmp_path / "m.gguf", keys, llama_rows(3))
    facts = read_gguf_model(path)
    assert facts.num_hidden_layers == 2
    assert facts.parameters == sum(math.prod(shape) for _, shape in llama_rows(2).values())
    assert read_gguf_model(path, include_mtp=True).parameters > facts.parameters


def test_split_files_are_one_model(tmp_path: Path) -> None:
    rows = list(llama_rows().items())
    count = {"split.count": 2, "split.tensors.count": len(rows)}
    first = write(tmp_path / "m-00001-of-00002.gguf", LLAMA | count, dict(rows[:7]))
    second = write(
        tmp_path / "m-00002-of-00002.gguf", {"general.architecture": "llama"}, dict(rows[7:])
    )
    for path in (first, second):
        assert len(read_gguf(path).stored.tensors) == len(rows)
    second.unlink()
    with pytest.raises(BadHeader, match="1 of 2 files are missing"):
        read_gguf(first)


def test_long_arrays_are_kept_as_their_length(tmp_path: Path) -> None:
    keys = LLAMA | {"tokenizer.ggml.tokens": [str(i) for i in range(5000)]}
    metadata = read_gguf(write(tmp_path / "m.gguf", keys, llama_rows())).metadata
    assert metadata["tokenizer.ggml.tokens"] == ArrayLength(5000)


def test_big_endian_files_read_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", LLAMA, llama_rows(), order=">")
    assert read_gguf_model(path).num_hidden_layers == 2


def test_a_type_of_a_fork_takes_its_size_from_the_places(tmp_path: Path) -> None:
    rows: Rows = {"a": ("IQ2_K", (2, 256)), "b": ("F32", (8,))}
    tensors = read_gguf(write(tmp_path / "m.gguf", LLAMA, rows)).stored.tensors
    assert (tensors[0].dtype, tensors[0].size_bytes) == ("IQ2_K", 160)  # 152 and the alignment


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cut off"),
        (b"GGML" + b"\0" * 64, "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 1) + b"\0" * 64, "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60), "cut off"),
        (gguf_bytes(LLAMA, llama_rows())[:200], "cut off"),
        (gguf_bytes(LLAMA, llama_rows(), cut=64), "does not fit"),
        (gguf_bytes({"general.architecture": "clip"}, {}), "not a text model"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(InputProblems, match=says):
        read_gguf_model(path)
