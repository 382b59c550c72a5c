"""Safetensors headers: exact bytes by name and dtype, and broken files told apart."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.resolve.headers import (
    BITS_BY_DTYPE,
    BadHeader,
    Stored,
    pick_files,
    read_file,
    read_folder,
    tensors_from_header,
)
from tests import tiny
from tests.hubserver import safetensors


def test_a_single_file_gives_names_shapes_and_bytes(tmp_path: Path) -> None:
    stored = read_folder(tiny.write(tmp_path, tiny.files()))
    assert stored is not None
    assert stored.total_bytes == 2 * tiny.PARAMETERS
    assert stored.bytes_by_dtype() == {"BF16": 2 * tiny.PARAMETERS}
    assert {t.name: (t.dtype, t.shape) for t in stored.tensors} == tiny.tensors()


def test_shards_add_up_to_the_same(tmp_path: Path) -> None:
    stored = read_folder(tiny.write(tmp_path, tiny.sharded_files()))
    assert stored is not None
    assert stored.total_bytes == 2 * tiny.PARAMETERS
    assert len(stored.files) == 2


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = safetensors({"w": ("BF16", (1 << 20, 1 << 16))}, data=False)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + (1 << 37))  # 128 GiB of holes: reading them would never end
    assert read_file(path)[0].size_bytes == 1 << 37


def test_alike_tensors_become_one_group_with_their_layers(tmp_path: Path) -> None:
    stored = read_folder(tiny.write(tmp_path, tiny.files()))
    assert stored is not None
    groups = {group.pattern: group for group in stored.groups()}
    assert groups["model.layers.{i}.mlp.up_proj.weight"].layers == (0, 1)
    assert groups["lm_head.weight"].layers == ()
    assert sum(group.total_bytes for group in stored.groups()) == stored.total_bytes


def test_layers_that_hold_fewer_experts_are_a_group_of_their_own() -> None:
    names = ["layers.0.experts.0.w", "layers.0.experts.1.w", "layers.1.experts.0.w"]
    header = {
        name: {"dtype": "U8", "shape": [4], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    groups = Stored(tensors_from_header(header, "f", 12), {}).groups()
    assert [(g.pattern, g.layers, g.copies) for g in groups] == [
        ("layers.{i}.experts.*.w", (1,), 1),
        ("layers.{i}.experts.*.w", (0,), 2),
    ]


shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(\.[0-9]{1,2}){0,2}\.[a-z]{1,3}", fullmatch=True),
        st.tuples(st.sampled_from(sorted(BITS_BY_DTYPE)), shapes),
        max_size=12,
    )
)
def test_bytes_are_bits_times_elements_however_grouped(
    made: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    made = {n: (d, s) for n, (d, s) in made.items() if BITS_BY_DTYPE[d] * math.prod(s) % 8 == 0}
    header, offset = {}, 0
    for name, (dtype, shape) in made.items():
        size = BITS_BY_DTYPE[dtype] * math.prod(shape) // 8
        places = [offset, offset + size]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": places}
        offset += size
    stored = Stored(tensors_from_header(header, "f", offset), {})
    assert stored.total_bytes == offset
    assert sum(group.total_bytes for group in stored.groups()) == offset
    assert sum(group.count for group in stored.groups()) == len(made)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "too short"),
        (b"\x01\x02", "too short"),
        (struct.pack("<Q", 1 << 50) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 100) + b"{}", "cut off within its header"),
        (struct.pack("<Q", 4) + b"nope", "not JSON"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "not a tensor"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (safetensors(tiny.tensors())[:-1], "cut off"),
        (safetensors(tiny.tensors()) + b"x", "bytes that no tensor owns"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadHeader, match=says):
        read_file(path)


@pytest.mark.parametrize(
    "places",
    [[(0, 4), (8, 12)], [(0, 4), (2, 6)], [(4, 8), (8, 12)]],
    ids=["hole", "overlap", "late start"],
)
def test_data_with_holes_or_overlaps_is_refused(places: list[tuple[int, int]]) -> None:
    header = {
        str(i): {"dtype": "F32", "shape": [1], "data_offsets": list(place)}
        for i, place in enumerate(places)
    }
    with pytest.raises(BadHeader, match="hole or overlap"):
        tensors_from_header(header, "f", None)


def test_a_shape_that_does_not_match_its_bytes_is_refused() -> None:
    header = {"w": {"dtype": "BF16", "shape": [3, 3], "data_offsets": [0, 16]}}
    with pytest.raises(BadHeader, match="can't take 16"):
        tensors_from_header(header, "f", None)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, tiny.sharded_files())
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadHeader, match=r"1 of 2 shards are missing, such as 'model-00002"):
        read_folder(folder)


def test_an_index_that_names_absent_tensors_is_refused(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, tiny.sharded_files())
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text("utf-8"))
    index["weight_map"]["model.extra.weight"] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(BadHeader, match=r"1 tensors that no shard holds.*model\.extra\.weight"):
        read_folder(folder)


@pytest.mark.parametrize("shard", ["../other/model.safetensors", "/etc/x.safetensors", "notes.txt"])
def test_an_index_may_not_lead_out_of_its_folder(tmp_path: Path, shard: str) -> None:
    folder = tiny.write(tmp_path, {"config.json": b"{}"})
    index = {"weight_map": {"w": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(BadHeader, match="outside its folder"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("names", "index", "files"),
    [
        (["model.safetensors", "adapter_model.safetensors"], None, ["model.safetensors"]),
        (["model.safetensors.index.json", "model.safetensors"], "model.safetensors.index.json", []),
        (["consolidated.safetensors"], None, ["consolidated.safetensors"]),
        (["consolidated.safetensors", "weights.safetensors"], None, ["weights.safetensors"]),
        (["adapter_model.safetensors", "config.json"], None, []),
        (["original/model.safetensors"], None, []),
    ],
)
def test_which_files_are_the_model(names: list[str], index: str | None, files: list[str]) -> None:
    assert pick_files(names) == (index, files)
