"""What a parameter is booked under and what kind it is, by its name and module."""

from __future__ import annotations

import re
from typing import Any

from planner.resolve.facts import Role, TensorKind

_TOWER = re.compile(
    r"(^|\.)(visual|vision\w*|audio\w*|image\w*|video\w*|speech\w*|\w*projector|connector|aligner"
    r"|embed_vision|embed_audio|talker|token2wav|code2wav)(\.|$)"
)
_RULES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("lm_head", re.compile(r"(^|\.)(lm_head|embed_out|output_projection)\.")),
    ("embedding", re.compile(r"(^|\.)(wte|wpe|\w*embed\w*|word_embeddings|tok_embeddings)\.")),
    ("routed_experts", re.compile(r"\.experts?\.(?!.*router)|\.experts_")),
    ("shared_experts", re.compile(r"shared_expert|shared_mlp")),
    ("router", re.compile(r"\.(gate|router|classifier|wg)(\.|$)|e_score_correction")),
    ("norm", re.compile(r"norm\w*(\.|$)|(^|\.)ln_?\w*\.")),
    ("mixer", re.compile(r"mamba|linear_attn|\.mixer\.|\bssm|conv1d|A_log|dt_bias|\.conv\.")),
    ("attention", re.compile(r"attn|attention")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|\.fc[12]\.|block_sparse_moe|moe")),
)


def tower_of(name: str) -> bool:
    """Whether a module belongs to a vision, audio or projector part."""
    return _TOWER.search(name) is not None


def role_of(name: str) -> Role:
    """The role that a parameter's name tells."""
    if tower_of(name):
        return "multimodal"
    return next((role for role, rule in _RULES if rule.search(name)), "other")


def module_kind(name: str, parameter: Any, module: Any) -> TensorKind:
    """The kind of a parameter, by the class of its module."""
    of = type(module).__name__ if module is not None else ""
    bases = {base.__name__ for base in type(module).__mro__} if module is not None else set()
    if name.endswith(".bias"):
        return "norm" if "Norm" in of else "bias"
    if name.endswith(".weight") and (bases & {"Linear", "Conv1D"}) and parameter.dim() == 2:
        return "linear"
    if parameter.dim() == 3 and re.search(r"expert|moe|input_linear|output_linear", name):
        return "experts"
    if "Embedding" in bases:
        return "embedding"
    if bases & {"Conv1d", "Conv2d", "Conv3d"}:
        return "conv"
    return "norm" if "Norm" in of else "other"
