"""The matrix as a small block of bytes that a browser reads in milliseconds.

Every column becomes a dictionary of final texts and one code a cell; codes are stored in the
order, by case or by configuration, that compresses better, 16-bit codes as two planes. The block
is gzip over `length of the head (4 bytes, little endian) | head (JSON) | columns`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import polars as pl

_ONE_BYTE: Final = 256
_TWO_BYTES: Final = 65536
_SAMPLE_BYTES: Final = 60_000
_WORTH_STEPS: Final = 24
_HARMLESS: Final = str.maketrans("<&", ":,")
_ORIGINAL: Final = str.maketrans(":,", "<&")
_NUMBER: Final = re.compile(r"[\d,]+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the matrix: code 0 means nothing, code k the k-th text (from 1)."""

    name: str
    texts: Sequence[str]
    codes: pl.Series


def text_column(name: str, values: pl.Series) -> Column:
    """A column of texts; null stays empty."""
    unique = values.drop_nulls().unique(maintain_order=True)
    return _coded(name, values, unique, [str(text) for text in unique])


def number_column(name: str, values: pl.Series, words: Callable[[Any], str]) -> Column:
    """A column of numbers, already rounded to what is shown, with `words(value)` as its texts."""
    unique = values.drop_nulls().unique().sort()
    return _coded(name, values, unique, [words(value) for value in unique])


def _coded(name: str, values: pl.Series, unique: pl.Series, texts: Sequence[str]) -> Column:
    if len(unique) >= _TWO_BYTES:
        raise ValueError(f"{name} has {len(unique)} different texts; two bytes hold {_TWO_BYTES}")
    table = pl.DataFrame({"value": unique, "code": pl.Series(range(1, len(unique) + 1))})
    table = table.with_columns(pl.col("code").cast(pl.UInt32))
    codes = values.to_frame("value").join(table, on="value", how="left", maintain_order="left")
    return Column(name, texts, codes["code"].fill_null(0))


def pack(head: Mapping[str, Any], columns: Sequence[Column], width: int) -> str:
    """Head and columns as base85 text without `<` and `&`; `width` counts the configurations.

    `head` gets a key `columns`: name, bytes a code, whether it is stored by configuration, texts.
    """
    described, blocks = [], []
    for column in columns:
        wide = len(column.texts) >= _ONE_BYTE
        planes = [_bytes(column.codes % _ONE_BYTE)]
        if wide:
            planes.append(_bytes(column.codes // _ONE_BYTE))
        turned = [_transposed(plane, width) for plane in planes]
        by_configuration = _size(turned) < _size(planes)
        blocks.extend(turned if by_configuration else planes)
        described.append([column.name, len(planes), int(by_configuration), _steps(column.texts)])
    text = json.dumps({**head, "columns": described}, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode()
    content = b"".join([len(encoded).to_bytes(4, "little"), encoded, *blocks])
    squeezed = gzip.compress(content, compresslevel=9, mtime=0)
    return f"{len(squeezed)} {base64.b85encode(squeezed, pad=True).decode().translate(_HARMLESS)}"


def _steps(texts: Sequence[str]) -> dict[str, Any] | list[str]:
    """Rising numbers as the steps between them: `first` texts as they are, then whole steps.

    Only where writing the numbers again gives exactly the same texts.
    """
    numbers = [text for text in texts if _NUMBER.fullmatch(text)]
    first = len(texts) - len(numbers)
    if len(numbers) < _WORTH_STEPS or list(texts[first:]) != numbers:
        return list(texts)
    digits = len(numbers[0].partition(".")[2])
    scaled = [int(text.replace(",", "").replace(".", "")) for text in numbers]
    if [f"{value / 10**digits:,.{digits}f}" for value in scaled] != numbers:
        return list(texts)
    steps = [after - before for before, after in pairwise([0, *scaled])]
    return {"first": list(texts[:first]), "digits": digits, "steps": steps}


def _texts(stored: dict[str, Any] | list[str]) -> list[str]:
    if isinstance(stored, list):
        return stored
    digits = stored["digits"]
    found = (f"{value / 10**digits:,.{digits}f}" for value in accumulate(stored["steps"]))
    return [*stored["first"], *found]


def unpack(text: str) -> tuple[dict[str, Any], dict[str, list[str | None]]]:
    """What `pack` put in: the head and the columns as texts, case by case. For tests."""
    length, _, digits = text.partition(" ")
    content = gzip.decompress(base64.b85decode(digits.translate(_ORIGINAL))[: int(length)])
    size = int.from_bytes(content[:4], "little")
    head = json.loads(content[4 : 4 + size])
    cells, position = head["rows"] * head["width"], 4 + size
    found = {}
    for name, planes, turned, stored in head["columns"]:
        texts = _texts(stored)
        codes = [0] * cells
        for plane in range(planes):
            part = content[position : position + cells]
            part = _transposed(part, head["rows"]) if turned else part
            codes = [code + (byte << 8 * plane) for code, byte in zip(codes, part, strict=True)]
            position += cells
        found[name] = [texts[code - 1] if code else None for code in codes]
    return head, found


def _bytes(codes: pl.Series) -> bytes:
    return bytes(codes.cast(pl.UInt8).to_list())


def _transposed(plane: bytes, width: int) -> bytes:
    return b"".join(plane[start::width] for start in range(width)) if width else plane


def _size(planes: Sequence[bytes]) -> int:
    """Compressed size of a sample: enough to choose an order."""
    return sum(len(zlib.compress(plane[:_SAMPLE_BYTES], 1)) for plane in planes)
