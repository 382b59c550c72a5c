"""What a checkpoint stores, from the headers of its safetensors files: names, shapes and dtypes.

A safetensors file begins with eight bytes (the length of the header, little-endian), then a JSON
object that gives each tensor its dtype, shape and place in the data; the data itself is never
read. A checkpoint is one file, or several that an index names.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planner.errors import PlannerError

LENGTH_BYTES: Final = 8
MAX_HEADER_BYTES: Final = 100_000_000
"""The largest header that the format's own library accepts."""
MAX_INDEX_BYTES: Final = 100_000_000
SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
BITS_BY_DTYPE: Final[Mapping[str, int]] = {
    **dict.fromkeys(("F4", "F4_E2M1"), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_LFS_POINTER = b"version https://git-lfs"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|(?<=\.)\d+$")


class BadHeader(PlannerError):
    """A checkpoint file that is not what its format says, or is cut off."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it lies in a file.

    `dtype` is the format's own word (`BF16`, `F8_E4M3`, `Q4_K`), `size_bytes` what it takes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    file: str = ""

    @property
    def numel(self) -> int:
        """Elements as the shape counts them (packed words count as one)."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors that differ only in the numbers of their names, such as every layer's `q_proj`.

    Attributes:
        pattern: name with `{i}` for its first number and `*` for each further one.
        layers: the values of that first number; empty where the name has none.
        copies: tensors of each layer (of all, where there are no layers).
        tensor_bytes: size of one tensor.
    """

    pattern: str
    dtype: str
    shape: tuple[int, ...]
    layers: tuple[int, ...]
    copies: int
    tensor_bytes: int

    @property
    def count(self) -> int:
        """How many tensors there are."""
        return max(1, len(self.layers)) * self.copies

    @property
    def total_bytes(self) -> int:
        """Bytes of all of them."""
        return self.count * self.tensor_bytes

    @property
    def elements(self) -> int:
        """Elements of all of them, as their shapes count."""
        return self.count * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Stored:
    """Every tensor of a checkpoint, and the size of its files in bytes."""

    tensors: tuple[StoredTensor, ...]
    files: Mapping[str, int]
    basis: str = "safetensors headers"

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    def bytes_by_dtype(self) -> dict[str, int]:
        """Bytes of all tensors of each dtype, the largest share first."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.size_bytes
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))

    def groups(self) -> tuple[TensorGroup, ...]:
        """Tensors of one name pattern, dtype and shape as one row, in the order of the files."""
        found: dict[tuple[str, str, tuple[int, ...], int], Counter[int]] = {}
        for tensor in self.tensors:
            pattern, layer = name_pattern(tensor.name)
            key = (pattern, tensor.dtype, tensor.shape, tensor.size_bytes)
            found.setdefault(key, Counter())[layer] += 1
        return tuple(
            TensorGroup(pattern, dtype, shape, layers, copies, size)
            for (pattern, dtype, shape, size), by_layer in found.items()
            for copies, layers in _alike(by_layer)
        )


def _alike(by_layer: Counter[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Layers that hold equally many."""
    for copies in sorted(set(by_layer.values())):
        layers = sorted(layer for layer, n in by_layer.items() if n == copies and layer >= 0)
        if layers or by_layer.get(-1) == copies:
            yield copies, tuple(layers)


def name_pattern(name: str) -> tuple[str, int]:
    """`model.layers.3.mlp.experts.7.up_proj.weight` as a pattern, and its first number (or -1)."""
    first = _NUMBER.search(name)
    if first is None:
        return name, -1
    rest = _NUMBER.sub("*", name[first.end() :])
    return f"{name[: first.start()]}{{i}}{rest}", int(first[0])


def tensors_from_header(
    header: Mapping[str, Any], file: str, data_bytes: int | None
) -> tuple[StoredTensor, ...]:
    """The tensors of one parsed header; `data_bytes` is what follows the header in the file.

    Raises:
        BadHeader: an entry is not a tensor, its bytes do not match its dtype and shape, the data
            has holes or overlaps, or it ends elsewhere than the file.
    """
    tensors = []
    places = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = str(entry["dtype"]), tuple(_size(n) for n in entry["shape"])
            begin, end = (_size(n) for n in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise BadHeader(f"{file}: the header's entry '{name:.80}' is not a tensor") from None
        size = end - begin
        bits = BITS_BY_DTYPE.get(dtype)
        if size < 0 or (bits is not None and math.prod(shape) * bits != size * 8):
            raise BadHeader(
                f"{file}: tensor '{name:.80}' ({dtype}, shape {list(shape)}) can't take {size} B"
            )
        tensors.append(StoredTensor(name, dtype, shape, size, file))
        places.append((begin, end))
    _check_places(places, file, data_bytes)
    return tuple(tensors)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _check_places(places: list[tuple[int, int]], file: str, data_bytes: int | None) -> None:
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise BadHeader(f"{file}: the header's tensors leave a hole or overlap at byte {begin}")
        reached = end
    if data_bytes is not None and reached != data_bytes:
        cut = "is cut off" if data_bytes < reached else "has bytes that no tensor owns"
        raise BadHeader(
            f"{file}: {cut}: the header describes {reached:,} bytes of data, there are"
            f" {data_bytes:,}"
        )


def parse_header(text: bytes, file: str) -> Mapping[str, Any]:
    """The JSON of a header.

    Raises:
        BadHeader: not a JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise BadHeader(f"{file}: its safetensors header is not JSON") from None
    if not isinstance(header, dict):
        raise BadHeader(f"{file}: its safetensors header is not a JSON object")
    return header


def read_file(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of one safetensors file; only the header is read.

    Raises:
        BadHeader: missing, unreadable, not a safetensors file, or cut off.
    """
    name = path.name
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            if file_bytes < 1000 and _LFS_POINTER.startswith(start) and start:
                raise BadHeader(f"{path}: is a git-lfs pointer, no weights; run `git lfs pull`")
            if len(start) < LENGTH_BYTES:
                raise BadHeader(f"{path}: is too short for a safetensors file")
            length = struct.unpack("<Q", start)[0]
            if length > MAX_HEADER_BYTES:
                raise BadHeader(
                    f"{path}: is not a safetensors file: its header would be {length:,} bytes long"
                )
            text = file.read(length)
    except OSError as error:
        raise BadHeader(f"{path}: can't be read: {error.strerror}") from None
    if len(text) < length:
        raise BadHeader(f"{path}: is cut off within its header")
    data_bytes = file_bytes - LENGTH_BYTES - length
    return tensors_from_header(parse_header(text, str(path)), name, data_bytes)


def files_of_index(text: bytes, file: str) -> dict[str, set[str]]:
    """Tensor names by shard of an index (`weight_map`).

    Raises:
        BadHeader: not an index, or a shard that does not lie beside it.
    """
    try:
        weight_map = json.loads(text)["weight_map"]
        pairs = [(str(tensor), str(shard)) for tensor, shard in weight_map.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadHeader(f"{file}: is not an index of safetensors files") from None
    shards: dict[str, set[str]] = {}
    for tensor, shard in pairs:
        if not shard.endswith(".safetensors") or "/" in shard or "\\" in shard:
            raise BadHeader(f"{file}: names a shard outside its folder: '{shard:.80}'")
        shards.setdefault(shard, set()).add(tensor)
    return dict(sorted(shards.items()))


def check_against_index(
    tensors: Iterable[StoredTensor], shards: Mapping[str, set[str]], index: str
) -> None:
    """Refuse shards that do not hold what the index says.

    Raises:
        BadHeader: a tensor that the index names is in no shard.
    """
    held = {tensor.name for tensor in tensors}
    missing = sorted(set().union(*shards.values()) - held) if shards else []
    if missing:
        raise BadHeader(
            f"{index}: names {len(missing)} tensors that no shard holds, such as '{missing[0]:.80}'"
        )


def pick_files(names: Iterable[str]) -> tuple[str | None, list[str]]:
    """Which files of a folder are the model: (index, files); the index decides where there is one.

    Adapters and the consolidated copies of other loaders are left aside.
    """
    found = sorted(name for name in names if "/" not in name)
    if INDEX_FILE in found:
        return INDEX_FILE, []
    if SINGLE_FILE in found:
        return None, [SINGLE_FILE]
    indexes = [name for name in found if name.endswith(".safetensors.index.json")]
    if len(indexes) == 1:
        return indexes[0], []
    files = [name for name in found if name.endswith(".safetensors")]
    plain = [name for name in files if not name.startswith(("consolidated", "adapter"))]
    return None, plain or [name for name in files if not name.startswith("adapter")]


def read_folder(folder: Path) -> Stored | None:
    """What a checkpoint folder stores; None where it holds no safetensors files.

    Raises:
        BadHeader: a shard is missing, cut off or not what the index says.
    """
    index, files = pick_files(path.name for path in folder.iterdir())
    shards: dict[str, set[str]] = {}
    if index is not None:
        shards = files_of_index(_small(folder / index), str(folder / index))
        files = list(shards)
        gone = [name for name in files if not (folder / name).is_file()]
        if gone:
            raise BadHeader(
                f"{folder / index}: {len(gone)} of {len(files)} shards are missing, such as"
                f" '{gone[0]}'"
            )
    if not files:
        return None
    tensors = tuple(tensor for name in files for tensor in read_file(folder / name))
    if index is not None:
        check_against_index(tensors, shards, str(folder / index))
    return Stored(tensors, {name: (folder / name).stat().st_size for name in files})


def _small(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise BadHeader(f"{path}: is larger than {MAX_INDEX_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadHeader(f"{path}: can't be read: {error.strerror}") from None
