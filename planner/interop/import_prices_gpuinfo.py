"""The GpuInfo cell of SkyPilot's catalogs, in every dialect that its sellers write."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

GIB_PER_MIB: Final = 1 / 1024
_LEAST_MIB: Final = 1024
_JSON_WORDS: Final = {"null": "None", "true": "True", "false": "False"}


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """What a cell says of one GPU. None: not said. `memory_gib` is that of one GPU."""

    name: str | None = None
    memory_gib: float | None = None
    count: float | None = None


@lru_cache(maxsize=4096)
def parse_gpu_info(text: str) -> GpuInfo | None:
    """A GpuInfo cell; None where it can't be read.

    Python dict text, JSON, a Python dict with JSON's null, keys in lower case, counts as text, a
    bare name, or nothing. The total memory beside it is that of one GPU with some sellers and of
    all with others, so it is not read.
    """
    text = text.strip()
    if not text:
        return GpuInfo()
    if not text.startswith(("{", "[")):
        return GpuInfo(name=text)
    data = _mapping(text)
    if data is None:
        return None
    first = _get(data, "gpus")
    if isinstance(first, list) and first and isinstance(first[0], Mapping):
        data = first[0]
    name, memory = _get(data, "name"), _get(data, "memoryinfo")
    size = _number(_get(memory, "sizeinmib")) if isinstance(memory, Mapping) else None
    return GpuInfo(
        name=str(name) if name else None,
        memory_gib=memory_gib(size),
        count=_number(_get(data, "count")),
    )


def memory_gib(size: float | None) -> float | None:
    """GiB of a size that is called MiB: below 1024 it is in GB, 0 is not known."""
    if not size or size < 0:
        return None
    return size if size < _LEAST_MIB else size * GIB_PER_MIB


def _mapping(text: str) -> Mapping[str, Any] | None:
    for read in (json.loads, ast.literal_eval, _python_with_json_words):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, Mapping) else None
    return None


def _python_with_json_words(text: str) -> Any:
    bare = re.sub(
        r"(?<=[:,\[])\s*(null|true|false)(?=\s*[,}\]])",
        lambda found: f" {_JSON_WORDS[found[1]]}",
        text,
    )
    return ast.literal_eval(bare)


def _get(data: Mapping[str, Any], key: str) -> Any:
    for name, value in data.items():
        if str(name).casefold() == key:
            return value
    return None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
