"""A checkpoint at hand: facts from its config.json, weights in true bytes from its headers.

The headers decide: what they store in 16 bits is not quantised, whatever the config says, and the
bytes of the weights are theirs. Each record says which of the two it used, and where they differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from planner.errors import InputProblems, Problem
from planner.resolve.facts import ModelFacts, QuantizedModules, Tensor
from planner.resolve.headers import BITS_BY_DTYPE, BadHeader, TensorGroup, read_folder

CONFIG_FILE: Final = "config.json"
QUANT_FILE: Final = "hf_quant_config.json"
MAX_CONFIG_BYTES: Final = 20_000_000
PLAIN_DTYPES: Final = frozenset({"BF16", "F16", "F32", "F64"})
_DTYPE_WORDS: Final = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_BUFFERS = re.compile(
    r"(^|\.)(inv_freq|masked_bias|position_ids|rope_freqs\.weight|num_batches_tracked)$"
    r"|\.rotary_emb\.|\.rotary_pos_emb\."
)
_ATTENTION_MASK = re.compile(r"\.attn\.(attention\.)?bias$|\.attention\.bias$")
_MTP = re.compile(r"(^|\.)(mtp|nextn)\w*(\.|$)")
_DECODER_LAYER = re.compile(r"(^|\.)(layers|h|blocks|blk)\.\{i\}\.")
_TOWER = re.compile(r"vis|audio|encoder|tower|projector|image|speech|talker|code2wav")


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file that the user named.

    Raises:
        InputProblems: missing, unreadable, too large, or not a JSON object.
    """

    def refuse(message: str, line: int = 0, col: int = 0) -> InputProblems:
        return InputProblems([Problem(str(path), line, col, "unreadable", "", message)])

    if path.exists() and not path.is_file():
        raise refuse("is no regular file")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise refuse(f"is larger than {MAX_CONFIG_BYTES:,} bytes, too large for a config")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refuse("is not UTF-8 text") from None
    except OSError as error:
        raise refuse(f"can't be read: {error.strerror}") from None
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise refuse(f"is not JSON: {error.msg}", error.lineno, error.colno) from None
    except (ValueError, RecursionError):
        raise refuse("is not JSON that can be read") from None
    if not isinstance(loaded, dict):
        raise refuse("is not a JSON object")
    return loaded


def read_checkpoint(
    folder: Path,
    *,
    model: str | None = None,
    include_mtp: bool = False,
    assume_like: str | None = None,
    bits_by_format: Mapping[str, float] | None = None,
) -> ModelFacts:
    """Facts of a checkpoint folder: its config.json, and its safetensors headers if it has any.

    Raises:
        InputProblems: no config.json, or one that can't be read; broken or missing weight files.
        ConfigProblem, UnknownModelType: the config can't be read as a model.
    """
    from planner.resolve.records import facts_of_record

    return facts_of_record(
        checkpoint_record(folder, model=model),
        source=str(folder / CONFIG_FILE),
        include_mtp=include_mtp,
        assume_like=assume_like,
        bits_by_format=bits_by_format,
    )


def checkpoint_record(folder: Path, *, model: str | None = None) -> dict[str, Any]:
    """The model record of a checkpoint folder: config and what its headers say is stored.

    Raises:
        InputProblems: as `read_checkpoint`.
    """
    from planner.resolve.records import pinned_tensors

    record: dict[str, Any] = {
        "id": model or folder.resolve().name,
        "config": load_json(folder / CONFIG_FILE),
    }
    if (folder / QUANT_FILE).is_file():
        record["hf_quant_config"] = load_json(folder / QUANT_FILE)
    try:
        stored = read_folder(folder)
    except BadHeader as error:
        problem = Problem(str(folder), 0, 0, "broken-checkpoint", "", str(error))
        raise InputProblems([problem]) from None
    if stored is not None:
        files = {name: {"size_bytes": size} for name, size in stored.files.items()}
        record["pinned"] = {"files": files, **pinned_tensors(stored)}
    return record


def with_stored(
    facts: ModelFacts,
    groups: Sequence[TensorGroup],
    basis: str,
    *,
    include_mtp: bool = False,
    bits_by_format: Mapping[str, float] | None = None,
) -> ModelFacts:
    """The facts with true stored bytes, with the quantised modules that the headers confirm.

    `bits_by_format` (bits per parameter of each weight format) lets it compare the bytes of a
    quantised checkpoint with arithmetic.
    """
    kept, aside = loaded_groups(facts, groups, include_mtp=include_mtp)
    stored_bytes = sum(group.total_bytes for group in kept)
    facts = replace(
        facts,
        stored_bytes=stored_bytes,
        dtype=facts.dtype or _majority_dtype(kept),
        quantization=confirmed_quantization(facts, kept),
    )
    notes = [f"weights: {stored_bytes:,} bytes by {basis} ({_by_dtype(kept)})"]
    notes += [f"not counted: {reason}, {size:,} bytes" for reason, size in aside.items()]
    notes += compare(facts, kept, bits_by_format or {})
    return replace(facts, notes=(*facts.notes, *notes))


def loaded_groups(
    facts: ModelFacts, groups: Iterable[TensorGroup], *, include_mtp: bool
) -> tuple[list[TensorGroup], dict[str, int]]:
    """Groups that an engine loads, and bytes of the others by the reason they are left out."""
    kept: list[TensorGroup] = []
    aside: dict[str, int] = {}
    for group in groups:
        reason = _why_aside(facts, group, include_mtp)
        extra: tuple[int, ...] = ()
        if reason is None and not include_mtp:
            reason, extra = _mtp_layers(facts, group)
        if reason is None:
            kept.append(group)
            continue
        inside = tuple(i for i in group.layers if i not in extra) if extra else ()
        if inside:
            kept.append(replace(group, layers=inside))
        left_out = replace(group, layers=tuple(extra)) if extra else group
        aside[reason] = aside.get(reason, 0) + left_out.total_bytes
    return kept, aside


def _why_aside(facts: ModelFacts, group: TensorGroup, include_mtp: bool) -> str | None:
    if _BUFFERS.search(group.pattern):
        return "buffers that are computed anew"
    if _ATTENTION_MASK.search(group.pattern) and len(group.shape) == 4:
        return "buffers that are computed anew"
    if facts.tied_embeddings and re.search(r"(^|\.)lm_head\.weight$", group.pattern):
        return "a second copy of the tied embedding"
    if not include_mtp and _MTP.search(group.pattern):
        return "multi-token-prediction layers"
    return None


def _mtp_layers(facts: ModelFacts, group: TensorGroup) -> tuple[str | None, tuple[int, ...]]:
    """Decoder layers behind the last one that the config counts are prediction heads."""
    decoder = _DECODER_LAYER.search(group.pattern)
    if decoder is None or _TOWER.search(group.pattern[: decoder.start()]):
        return None, ()
    behind = tuple(i for i in group.layers if i >= facts.num_hidden_layers)
    return ("multi-token-prediction layers", behind) if behind else (None, ())


def _majority_dtype(groups: Iterable[TensorGroup]) -> str:
    sizes: dict[str, int] = {}
    for group in groups:
        if group.dtype in _DTYPE_WORDS:
            word = _DTYPE_WORDS[group.dtype]
            sizes[word] = sizes.get(word, 0) + group.total_bytes
    return max(sizes, key=lambda word: sizes[word]) if sizes else ""


def _by_dtype(groups: Iterable[TensorGroup]) -> str:
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.dtype] = sizes.get(group.dtype, 0) + group.total_bytes
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{dtype} {size:,}" for dtype, size in ordered)


def confirmed_quantization(
    facts: ModelFacts, groups: Sequence[TensorGroup]
) -> tuple[QuantizedModules, ...]:
    """The config's quantised modules without those layers that the headers store in 16 bits."""
    plain: dict[str, set[int]] = {}
    for group in groups:
        if group.dtype in PLAIN_DTYPES and len(group.shape) > 1:
            plain.setdefault(_in_layer(group.pattern), set()).update(group.layers)
    by_name = {tensor.name: tensor for tensor in facts.tensors}
    confirmed = []
    for modules in facts.quantization:
        for names, layers in _still_quantised(modules, by_name, plain):
            confirmed.append(replace(modules, tensors=names, layers=layers))
    return tuple(confirmed)


def _still_quantised(
    modules: QuantizedModules, by_name: Mapping[str, Tensor], plain: Mapping[str, set[int]]
) -> list[tuple[tuple[str, ...], tuple[int, ...] | None]]:
    untouched: list[str] = []
    narrowed: dict[tuple[int, ...], list[str]] = {}
    for name in modules.tensors:
        tensor = by_name.get(name)
        spared = set().union(*(plain.get(key, set()) for key in _stored_names(name)))
        if tensor is None or not tensor.layers or not spared:
            untouched.append(name)
            continue
        own = tensor.layers if modules.layers is None else modules.layers
        left = tuple(i for i in own if i not in spared)
        if left == tuple(own):
            untouched.append(name)
        elif left:
            narrowed.setdefault(left, []).append(name)
    rows: list[tuple[tuple[str, ...], tuple[int, ...] | None]] = []
    if untouched:
        rows.append((tuple(untouched), modules.layers))
    rows += [(tuple(names), layers) for layers, names in narrowed.items()]
    return rows


def _in_layer(pattern: str) -> str:
    """The part behind the decoder layer's number; empty for towers and what lies outside."""
    layer = _DECODER_LAYER.search(pattern)
    if layer is None or _TOWER.search(pattern[: layer.start()]):
        return ""
    return pattern[layer.end() :]


def _stored_names(name: str) -> tuple[str, ...]:
    """How a checkpoint may spell a tensor: fused experts are often stored one by one."""
    inside = _in_layer(name)
    if not inside:
        return ()
    module, dot, leaf = inside.rpartition("experts.")
    single = {
        "gate_up_proj": ("gate_proj", "up_proj", "w1", "w3"),
        "down_proj": ("down_proj", "w2"),
    }.get(leaf, ())
    return (inside, *(f"{module}{dot}*.{part}.weight" for part in single))


def compare(
    facts: ModelFacts, groups: Sequence[TensorGroup], bits_by_format: Mapping[str, float]
) -> list[str]:
    """Notes on where headers and config disagree; empty where the bytes can't be compared."""
    plain = all(group.dtype in PLAIN_DTYPES for group in groups)
    if plain and facts.quantization:
        return ["config.json names a quantization that the headers do not show"]
    if plain:
        elements = sum(group.elements for group in groups)
        if elements == facts.parameters:
            return [f"headers and config.json agree on {elements:,} parameters"]
        return [
            f"headers hold {elements:,} parameters, config.json makes {facts.parameters:,}"
            f" ({elements - facts.parameters:+,})"
        ]
    if not facts.quantization:
        return [
            f"the weights are stored quantised, config.json does not say how: {_by_dtype(groups)}"
        ]
    expected = arithmetic_bytes(facts, bits_by_format)
    stored = sum(group.total_bytes for group in groups)
    if expected is None:
        return []
    return [f"arithmetic from config.json makes {expected:,} bytes ({stored / expected - 1:+.2%})"]


def arithmetic_bytes(facts: ModelFacts, bits_by_format: Mapping[str, float]) -> int | None:
    """Bytes of the weights by the config alone; None where a format is not known."""
    word = facts.dtype.rpartition(".")[2]
    plain_bits = {v: BITS_BY_DTYPE[k] for k, v in _DTYPE_WORDS.items()}.get(word, 16)
    stored = {
        (name, modules.layers): modules
        for modules in facts.quantization
        for name in modules.tensors
    }
    bits = 0.0
    for tensor in facts.tensors:
        bits += tensor.parameters * plain_bits
        for (name, layers), modules in stored.items():
            if name != tensor.name:
                continue
            if modules.format not in bits_by_format:
                return None
            copies = len(layers) if layers is not None else tensor.count
            saved = plain_bits - bits_by_format[modules.format]
            bits -= 0 if tensor.tied else tensor.numel * copies * saved
    return round(bits / 8)
