"""Module names as quantisers spell them, and the patterns that their lists are made of."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import cache

from planner.resolve.facts import Tensor

_PREFIXES = ("model", "language_model", "thinker", "transformer", "backbone")
_FUSED = {
    "q_proj": ("qkv_proj",),
    "k_proj": ("qkv_proj",),
    "v_proj": ("qkv_proj",),
    "gate_proj": ("gate_up_proj",),
    "up_proj": ("gate_up_proj",),
    "qkv_proj": ("q_proj",),
    "gate_up_proj": ("gate_proj",),
    "qkv": ("qkv_proj",),
    "in_proj_qkv": ("in_proj_qkvz",),
    "in_proj_z": ("in_proj_qkvz",),
    "in_proj_b": ("in_proj_ba",),
    "in_proj_a": ("in_proj_ba",),
}
_EXPERT_PARTS = {
    "gate_up_proj": ("gate_proj", "up_proj", "w1", "w3", "gate_up_proj"),
    "down_proj": ("down_proj", "w2"),
    "up_proj": ("up_proj",),
}
# Checkpoints of these types keep names of their own, which their quantisers' lists use.
_OWN_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "deepseek_v4": (
        ("self_attn.q_a_proj", "attn.wq_a"),
        ("self_attn.q_a_proj", "attn.fused_wqa_wkv"),
        ("self_attn.kv_proj", "attn.wkv"),
        ("self_attn.kv_proj", "attn.fused_wqa_wkv"),
        ("self_attn.q_b_proj", "attn.wq_b"),
        ("self_attn.o_a_proj", "attn.wo_a"),
        ("self_attn.o_b_proj", "attn.wo_b"),
        ("self_attn.", "attn."),
        ("mlp.", "ffn."),
        ("lm_head", "head"),
    ),
    "mixtral": (("mlp.", "block_sparse_moe."),),
    "minimax_m2": (("mlp.", "block_sparse_moe."),),
}


def bare(name: str) -> str:
    """A module name without the leading names of the models that hold it."""
    head, _, rest = name.partition(".")
    while head in _PREFIXES and rest:
        name = rest
        head, _, rest = name.partition(".")
    return name


def names_of(tensor: Tensor, model_type: str = "") -> tuple[str, ...]:
    """Every spelling under which a list may name the module of a tensor, numbers left open."""
    return _spellings(tensor.name, tensor.kind == "experts", model_type)


@cache
def _spellings(name: str, experts: bool, model_type: str) -> tuple[str, ...]:
    stem = name.removesuffix(".weight")
    spelled = [stem]
    parent, _, leaf = stem.rpartition(".")
    if experts:
        spelled.append(parent)
        spelled += [f"{parent}.0.{part}" for part in _EXPERT_PARTS.get(leaf, ())]
    else:
        spelled += [f"{parent}.{other}" for other in _FUSED.get(leaf, ())]
    for old, new in _OWN_NAMES.get(model_type, ()):
        spelled += [one.replace(old, new) for one in spelled if old in one]
    return tuple(dict.fromkeys([*(bare(one) for one in spelled), *spelled]))


class Patterns:
    """A list of module patterns: `re:` regular expressions, globs, names and parts of names."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.always = False
        plain: set[str] = set()
        expressions: list[str] = []
        for pattern in patterns:
            if pattern == "Linear":
                self.always = True
            elif pattern.startswith("re:"):
                expressions.append(f"(?:{pattern[3:]})")
            elif "*" in pattern or "?" in pattern:
                expressions.append(fnmatch.translate(bare(pattern)))
                if "{" not in pattern:
                    expressions.append(fnmatch.translate(bare(pattern) + ".*"))
            else:
                plain.add(bare(pattern))
        self._plain = frozenset(plain)
        self._expression = re.compile("|".join(expressions)) if expressions else None

    def match(self, names: Sequence[str]) -> bool:
        """Whether one of the spellings, or a whole part of one, is listed."""
        if self._plain and any(not self._plain.isdisjoint(_parts(name)) for name in names):
            return True
        return self._expression is not None and any(self._expression.match(name) for name in names)

    @property
    def empty(self) -> bool:
        """Whether nothing is listed, which makes a look at each layer needless."""
        return not self._plain and self._expression is None


@cache
def _parts(name: str) -> tuple[str, ...]:
    """Every run of whole segments of a dotted name."""
    segments = name.split(".")
    return tuple(
        ".".join(segments[i:j])
        for i in range(len(segments))
        for j in range(i + 1, len(segments) + 1)
    )
