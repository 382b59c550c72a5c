"""The weight format a measured run names, as the catalog and the checkpoint know it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from planner.estimate.weights import CHECKPOINT

_PLAIN: Final = ("bf16", "fp16", "fp32")
_USUAL_GROUP: Final = "-g128"
_NO_GROUPS: Final = "-per-channel"
_GGUF_MIX: Final = re.compile(r"i?q[1-8](_k[a-z]*)?_(xl|l|m|s)", re.IGNORECASE)
_GGUF_EIGHT: Final = re.compile(r"q8_([01]|k|kv)(_(xl|l|m|s))?", re.IGNORECASE)
_SPELLINGS: Final[Mapping[str, str]] = {
    "fp4": "fp4-bnb",
    "fp4-dq": "nf4-dq",
    "nf4-unsloth-dynamic": "nf4-dq-dynamic",
    "fp8-static": "fp8",
}
"""Names of measured files that the catalog reads otherwise or keeps under one of equal size."""


def measured_format(
    name: str,
    own: Sequence[str],
    bits: Mapping[str, float],
    resolve: Callable[[str], str | None],
) -> str:
    """The format id to estimate a run with.

    A run in bits its checkpoint stores modules in uses the checkpoint's own layout, which knows
    which modules have other formats. Group formats whose group was not printed take 128.

    Args:
        name: what the run says.
        own: formats of the pre-quantised checkpoint, the most common first; empty for others.
        bits: payload bits by format id.
        resolve: a name to a format id, None where unknown.
    """
    known = known_format(name, resolve)
    if name in _PLAIN or not own:
        return known or name
    if known is None or any(bits.get(stored) == bits.get(known) for stored in own):
        return CHECKPOINT
    return known


def least_format(name: str, own: Sequence[str], resolve: Callable[[str], str | None]) -> str | None:
    """The smallest format that a name without its group size may mean: one group a channel.

    None where the group was printed, the checkpoint tells it, or the catalog has no such format.
    """
    return None if own else resolve(f"{name}{_NO_GROUPS}")


def known_format(name: str, resolve: Callable[[str], str | None]) -> str | None:
    """The catalog's id of a printed name: group size, GGUF prefix and row interleaving aside.

    Sizes of a GGUF mix that the catalog lacks (`ud-q4_k_xl`) take the next smaller one: they
    raise a few tensors.
    """
    plain = re.sub(r"(_r\d+|_moe)$", "", name.removeprefix("gguf-").removeprefix("ud-"))
    spelled = _SPELLINGS.get(name, name)
    base = re.sub(r"_(xl|l|m|s)$", "", plain) if _GGUF_MIX.fullmatch(plain) else plain
    smaller = [f"{base}_{size}" for size in ("l", "m")] if plain != base else []
    eight = ["q8_0"] if _GGUF_EIGHT.fullmatch(plain) else []
    candidates = (spelled, f"{name}{_USUAL_GROUP}", plain, f"ggml-{plain}", *smaller, base, *eight)
    for candidate in candidates:
        found = resolve(candidate)
        if found:
            return found
    return None
