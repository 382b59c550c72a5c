"""GGUF files: metadata and tensor types from the header, exact bytes by ggml type.

Layout (ggml's docs/gguf.md): magic, version, number of tensors, number of key-value pairs; the
pairs; for each tensor its name, dimensions (the innermost first), ggml type and place; the data,
which is never read. A large model is split into files that name their own number and count.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from planner.resolve.headers import BadHeader, Stored, StoredTensor

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
KEPT_ARRAY_ITEMS: Final = 4096
"""Longer arrays (vocabularies) are kept as their length only."""
DEFAULT_ALIGNMENT: Final = 32
BLOCKS: Final[Mapping[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    31: ("Q4_0_4_4", 32, 18),
    32: ("Q4_0_4_8", 32, 18),
    33: ("Q4_0_8_8", 32, 18),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""ggml type -> its name, elements of a block, bytes of a block (ggml.h, ggml-common.h)."""
FORK_TYPES: Final[Mapping[int, str]] = {
    133: "Q6_0",
    134: "IQ1_BN",
    135: "IQ2_BN",
    137: "IQ2_K",
    138: "IQ3_K",
    139: "IQ4_K",
    140: "IQ5_K",
    141: "IQ6_K",
    144: "IQ4_KS",
    145: "IQ2_KS",
    146: "IQ4_KSS",
    151: "Q8_KV",
    152: "IQ5_KS",
    153: "IQ2_KT",
    154: "IQ3_KT",
    155: "IQ4_KT",
    156: "IQ3_KS",
    157: "IQ2_KL",
    158: "IQ1_KT",
}
"""Types of ik_llama.cpp; some keep a scale per row, so their size is taken from the places."""
_SPLIT_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_SCALARS: Final = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Gguf:
    """The header of a GGUF model, of all its files together.

    `metadata` maps keys to values; an array longer than KEPT_ARRAY_ITEMS is an `ArrayLength`.
    Shapes are as in torch: the innermost dimension last.
    """

    metadata: Mapping[str, Any]
    stored: Stored

    @property
    def architecture(self) -> str:
        """`general.architecture`: llama, qwen3moe, ..."""
        return str(self.metadata.get("general.architecture") or "")

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the architecture's own keys, such as `block_count`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


class ArrayLength(int):
    """How long an array is whose items were not kept."""


def read_gguf(path: Path) -> Gguf:
    """The header of a GGUF file, or of all files where it is one of a split model.

    Raises:
        BadHeader: missing, cut off, not GGUF, of an unknown version, or a part is missing.
    """
    parts = [_read_part(part) for part in split_files(path)]
    metadata = parts[0][0]
    tensors = tuple(tensor for _, found in parts for tensor in found)
    expected = metadata.get("split.tensors.count")
    if isinstance(expected, int) and expected != len(tensors):
        raise BadHeader(f"{path}: its files hold {len(tensors)} of {expected} tensors")
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise BadHeader(f"{path}: a tensor is there twice")
    files = {part.name: part.stat().st_size for part in split_files(path)}
    return Gguf(metadata, Stored(tensors, files, "GGUF headers"))


def split_files(path: Path) -> list[Path]:
    """All files of the model that a path belongs to, in order.

    Raises:
        BadHeader: one of them is missing.
    """
    named = _SPLIT_NAME.fullmatch(path.name)
    if named is None:
        return [path]
    stem, _, count = named.groups()
    parts = [path.with_name(f"{stem}-{n:05}-of-{count}.gguf") for n in range(1, int(count) + 1)]
    gone = [part.name for part in parts if not part.is_file()]
    if gone or not parts:
        raise BadHeader(
            f"{path}: {len(gone)} of {len(parts)} files are missing, such as {gone[:1]}"
        )
    return parts


def _read_part(path: Path) -> tuple[dict[str, Any], list[StoredTensor]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _Reader(file, path, size).read()
    except OSError as error:
        raise BadHeader(f"{path}: can't be read: {error.strerror}") from None
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise BadHeader(f"{path}: has a header that contradicts itself") from None


class _Reader:
    """Reads one file's header; every length is checked against the size of the file."""

    def __init__(self, file: BinaryIO, path: Path, file_bytes: int) -> None:
        self.file, self.path, self.file_bytes = file, path, file_bytes
        self.order = "<"
        self.place = 0

    def bad(self, message: str) -> BadHeader:
        return BadHeader(f"{self.path}: {message}")

    def take(self, size: int) -> bytes:
        if size > self.file_bytes - self.place:
            raise self.bad("is cut off within its header")
        self.place += size
        taken = self.file.read(size)
        if len(taken) < size:
            raise self.bad("is cut off within its header")
        return taken

    def skip(self, size: int) -> None:
        if size > self.file_bytes - self.place:
            raise self.bad("is cut off within its header")
        self.place += size
        self.file.seek(self.place)

    def number(self, code: str) -> Any:
        return struct.unpack(f"{self.order}{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def string(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        if kind not in _SCALARS:
            raise self.bad(f"has a value of the unknown type {kind}")
        return self.number(_SCALARS[kind])

    def array(self) -> Any:
        kind, count = self.number("I"), self.number("Q")
        if count > self.file_bytes:
            raise self.bad("is cut off within its header")
        if count <= KEPT_ARRAY_ITEMS:
            return [self.value(kind) for _ in range(count)]
        if kind in _SCALARS:
            self.skip(struct.calcsize(f"<{_SCALARS[kind]}") * count)
        elif kind == _STRING:
            for _ in range(count):
                self.skip(self.number("Q"))
        else:
            raise self.bad("has a long array of arrays")
        return ArrayLength(count)

    def read(self) -> tuple[dict[str, Any], list[StoredTensor]]:
        if self.take(4) != MAGIC:
            raise self.bad("is not a GGUF file")
        version = self.number("I")
        if version > 0xFFFF:
            self.order = ">"
            version = struct.unpack(">I", struct.pack("<I", version))[0]
        if version not in VERSIONS:
            raise self.bad(f"is GGUF of version {version}; versions 2 and 3 can be read")
        tensor_count, pair_count = self.number("Q"), self.number("Q")
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = self.string()
            metadata[key] = self.value(self.number("I"))
        rows = [self.tensor_row() for _ in range(tensor_count)]
        alignment = int(metadata.get("general.alignment") or DEFAULT_ALIGNMENT)
        start = -(-self.place // alignment) * alignment
        return metadata, self.sized(rows, start)

    def tensor_row(self) -> tuple[str, tuple[int, ...], int, int]:
        name, rank = self.string(), self.number("I")
        if rank > 8:
            raise self.bad(f"tensor '{name:.80}' has {rank} dimensions")
        shape = tuple(self.number("Q") for _ in range(rank))[::-1]
        return name, shape, self.number("I"), self.number("Q")

    def sized(
        self, rows: list[tuple[str, tuple[int, ...], int, int]], start: int
    ) -> list[StoredTensor]:
        """Bytes of each tensor: blocks of its type, or the room to the next where unknown."""
        places = sorted(offset for *_, offset in rows)
        ends = dict(zip(places, [*places[1:], self.file_bytes - start], strict=False))
        tensors = []
        for name, shape, kind, offset in rows:
            room = ends[offset] - offset
            if kind in BLOCKS:
                dtype, block, block_bytes = BLOCKS[kind]
                if shape and shape[-1] % block:
                    raise self.bad(
                        f"tensor '{name:.80}' is no multiple of {dtype}'s {block} elements"
                    )
                size = math.prod(shape) // block * block_bytes
            else:
                dtype, size = FORK_TYPES.get(kind, f"type-{kind}"), room
            if size > room:
                raise self.bad(f"is cut off: tensor '{name:.80}' does not fit into the file")
            tensors.append(StoredTensor(name, dtype, shape, size, self.path.name))
        return tensors
