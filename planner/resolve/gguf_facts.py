"""Facts of a GGUF model: tensors from the header itself, layers from the architecture's keys.

llama.cpp names tensors alike for all architectures (`blk.3.attn_q.weight`,
`blk.3.ffn_gate_exps.weight`), so that counts, roles and bytes need no description of the family.
What a layer caches comes from the metadata keys (`attention.head_count_kv`, `key_length`, ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from planner.errors import InputProblems, Problem
from planner.resolve.facts import (
    ModelFacts,
    QuantizedModules,
    Role,
    Split,
    Tensor,
    TensorKind,
)
from planner.resolve.gguf import BLOCKS, Gguf, read_gguf
from planner.resolve.gguf_layers import layers_of, whole
from planner.resolve.headers import BadHeader, TensorGroup

_ROLES: Final[tuple[tuple[str, Role], ...]] = (
    (r"norm", "norm"),
    (r"^(token_embd|token_types|position_embd|per_layer_token_embd)", "embedding"),
    (r"^output(\.|$)", "lm_head"),
    (r"_exps(\.|$)", "routed_experts"),
    (r"_shexp(\.|$)", "shared_experts"),
    (r"gate_inp|exp_probs", "router"),
    (r"ssm_|time_mix|shortconv|attn_gate", "mixer"),
    (r"attn|cross", "attention"),
    (r"ffn|channel_mix", "mlp"),
    (r"^(v|mm|a|mmproj|resampler)\.", "multimodal"),
)
_ROW: Final = ("attn_output", "ffn_down", "ssm_out", "shortconv.out_proj")
_KV: Final = ("attn_k", "attn_v")
_REPLICATED: Final = ("attn_kv_a_mqa", "attn_q_a")
_PLAIN: Final = frozenset({"F16", "BF16"})
_MAINLINE: Final = frozenset(name for name, _, _ in BLOCKS.values())


def read_gguf_model(
    path: Path, *, model: str | None = None, include_mtp: bool = False
) -> ModelFacts:
    """Facts of a GGUF file (or of all files of a split model).

    Raises:
        InputProblems: not a GGUF file, cut off, a part is missing, or not a text model.
    """
    try:
        gguf = read_gguf(path)
    except BadHeader as error:
        raise _problem(path, str(error)) from None
    if not gguf.get("block_count") or not gguf.get("embedding_length"):
        kind = gguf.architecture or "of no named architecture"
        raise _problem(path, f"is not a text model: '{kind}' has no block_count")
    try:
        return facts_of(gguf, model or path.stem, str(path), include_mtp=include_mtp)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise _problem(path, f"its keys contradict its tensors: {error}") from None


def _problem(path: Path, message: str) -> InputProblems:
    return InputProblems([Problem(str(path), 0, 0, "broken-gguf", "", message)])


def facts_of(gguf: Gguf, model: str, source: str, *, include_mtp: bool = False) -> ModelFacts:
    """The facts record of a parsed header."""
    heads = int(gguf.get("nextn_predict_layers") or 0)
    count = int(gguf.get("block_count")) - heads
    kept, aside = [], 0
    for group in gguf.stored.groups():
        inside = group.layers
        if group.pattern.startswith("blk.{i}.") and not include_mtp:
            inside = tuple(i for i in group.layers if i < count)
        elif group.pattern == "rope_freqs.weight":
            inside = ()
        left = TensorGroup(
            group.pattern, group.dtype, group.shape, inside, group.copies, group.tensor_bytes
        )
        lost = bool(group.layers) and not inside
        aside += group.total_bytes - (0 if lost else left.total_bytes)
        kept += [] if lost or group.pattern == "rope_freqs.weight" else [left]
    tensors, quantization = _tensors(kept)
    layers, assumptions = layers_of(gguf, tensors, count)
    stored_bytes = sum(group.total_bytes for group in kept)
    notes = [f"weights: {stored_bytes:,} bytes by GGUF headers ({_by_dtype(kept)})"]
    notes += [f"not counted: multi-token-prediction layers, {aside:,} bytes"] if aside else []
    tables = [tensor for tensor in tensors if tensor.name == "token_embd.weight"]
    return ModelFacts(
        model=model,
        model_type=gguf.architecture,
        architecture=gguf.architecture,
        hidden_size=int(gguf.get("embedding_length")),
        vocab_size=tables[0].shape[0] if tables else _vocabulary(gguf),
        tied_embeddings=all(tensor.role != "lm_head" for tensor in tensors),
        dtype="float16",
        max_position_embeddings=whole(gguf.get("context_length")) or None,
        tensors=tensors,
        layers=layers,
        source=source,
        logit_softcap=bool(gguf.get("final_logit_softcapping")),
        quantization=quantization,
        quantization_method="gguf",
        stored_bytes=stored_bytes,
        assumptions=assumptions,
        notes=tuple(notes),
    )


def _vocabulary(gguf: Gguf) -> int:
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, list) else int(tokens or gguf.get("vocab_size") or 0)


def _by_dtype(groups: Iterable[TensorGroup]) -> str:
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.dtype] = sizes.get(group.dtype, 0) + group.total_bytes
    return ", ".join(f"{k} {v:,}" for k, v in sorted(sizes.items(), key=lambda x: (-x[1], x[0])))


def format_id(dtype: str) -> str:
    """The weight format that stands for one ggml type; fp32 for what is stored in 32 bits."""
    if dtype == "F32":
        return "fp32"
    return f"ggml-{dtype.lower()}" if dtype in _MAINLINE else dtype.lower()


def _tensors(
    groups: Iterable[TensorGroup],
) -> tuple[tuple[Tensor, ...], tuple[QuantizedModules, ...]]:
    """Tensors by name and shape over the layers that hold them, and what each is stored in."""
    layers: dict[tuple[str, tuple[int, ...]], set[int]] = {}
    stored: dict[tuple[str, tuple[int, ...] | None], list[str]] = {}
    for group in groups:
        name = group.pattern
        layers.setdefault((name, group.shape), set()).update(group.layers)
        if group.dtype not in _PLAIN:
            key = (format_id(group.dtype), group.layers or None)
            stored.setdefault(key, []).append(name)
    tensors = tuple(
        _tensor(name, shape, tuple(sorted(held))) for (name, shape), held in layers.items()
    )
    modules = tuple(
        QuantizedModules(format_name, tuple(names), held)
        for (format_name, held), names in stored.items()
    )
    return tensors, modules


def _tensor(name: str, shape: tuple[int, ...], layers: tuple[int, ...]) -> Tensor:
    inside = name.removeprefix("blk.{i}.")
    role = _role(inside)
    if role == "norm" and name.startswith(("v.", "a.")):
        role = "multimodal"
    kind = _kind(inside, shape, role)
    wide = kind in ("linear", "experts")
    return Tensor(
        name=name,
        shape=shape,
        role=role,
        kind=kind,
        split=_split(inside, role, kind),
        layers=layers,
        in_features=shape[-1] if wide else 0,
        out_features=shape[-2] if wide else 0,
    )


def _role(inside: str) -> Role:
    return next((role for rule, role in _ROLES if re.search(rule, inside)), "other")


def _kind(inside: str, shape: tuple[int, ...], role: Role) -> TensorKind:
    if role == "norm":
        return "norm"
    if inside.endswith(".bias"):
        return "bias"
    if role == "embedding":
        return "embedding"
    if "conv" in inside and "proj" not in inside:
        return "conv"
    if role == "routed_experts" and len(shape) == 3:
        return "experts"
    linear = len(shape) == 2 and role != "router" and not inside.startswith(("ssm_a", "ssm_d."))
    return "linear" if linear else "other"


def _split(inside: str, role: Role, kind: TensorKind) -> Split:
    module = inside.rpartition(".")[0]
    if role in ("embedding", "lm_head"):
        return "vocab"
    if role in ("norm", "router", "multimodal", "other") or kind in ("conv", "other"):
        return "replicated"
    if role == "routed_experts":
        return "experts"
    if module.startswith(_ROW):
        return "replicated" if kind == "bias" else "row"
    if module in _KV:
        return "kv"
    return "replicated" if module in _REPLICATED else "column"
