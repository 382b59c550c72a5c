"""Which tensors a pre-quantised checkpoint stores in which format.

Reads `quantization_config` of the common quantisers and ModelOpt's `hf_quant_config.json`, and
honours their lists of ignored modules: plain names, globs, regular expressions, and the fused
names of engines. Formats are ids of the formats catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.resolve.facts import Layer, QuantizedModules, Tensor
from planner.resolve.module_names import Patterns, names_of
from planner.resolve.quantizers import Group, groups_of

Found = tuple[tuple[QuantizedModules, ...], str, tuple[str, ...]]


def read_quantization(
    config: Mapping[str, Any],
    tensors: Sequence[Tensor],
    layers: Sequence[Layer],
    *,
    model_type: str = "",
    hf_quant_config: Mapping[str, Any] | None = None,
) -> Found:
    """The quantised modules, the method's name, and notes about what is not covered.

    Args:
        config: the whole config; the quantiser's part may sit in a nested text config.
        tensors, layers: of the model in its full form.
        model_type: picks the names that checkpoints of that type use for their modules.
        hf_quant_config: ModelOpt's own file beside the config.
    """
    found = _section(config, hf_quant_config)
    if found is None:
        return (), "", ()
    method, groups, notes = groups_of(found, config)
    taken: dict[tuple[str, int | None], str] = {}
    for group in groups:
        _apply(group, tensors, model_type, taken)
    return _gathered(taken, tensors), method, tuple(notes)


def _section(
    config: Mapping[str, Any], hf_quant_config: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The quantiser's part of the config, wherever it sits."""
    places = [config]
    for key in ("text_config", "llm_config", "thinker_config"):
        nested = config.get(key)
        if isinstance(nested, Mapping):
            places.append(nested)
    for place in places:
        for key in ("quantization_config", "compression_config"):
            section = place.get(key)
            if isinstance(section, Mapping) and section:
                return section
    if hf_quant_config:
        inner = hf_quant_config.get("quantization", hf_quant_config)
        if isinstance(inner, Mapping):
            return {"quant_method": "modelopt", **inner}
    section = config.get("quantization")
    if isinstance(section, Mapping) and "bits" in section:
        return {"quant_method": "mlx", **section}
    return None


def _apply(
    group: Group,
    tensors: Sequence[Tensor],
    model_type: str,
    taken: dict[tuple[str, int | None], str],
) -> None:
    """Give the group's format to every tensor that it wants and does not ignore."""
    targets, ignored = Patterns(group.targets), Patterns(group.ignore)
    for tensor in tensors:
        if tensor.kind not in ("linear", "experts") or not group.takes(tensor):
            continue
        indices: Sequence[int | None] = tensor.layers or (None,)
        every = names_of(tensor, model_type)
        if ignored.empty and targets.always:
            for i in indices:
                taken.setdefault((tensor.name, i), group.format)
            continue
        for i in indices:
            if all(
                (targets.always or targets.match(names)) and not ignored.match(names)
                for names in _numbered(every, i, tensor.copies)
            ):
                taken.setdefault((tensor.name, i), group.format)


def _numbered(names: Sequence[str], layer: int | None, copies: int) -> Iterator[list[str]]:
    """The spellings with their numbers; of a tower, those of its first and last block."""
    blocks = (0,) if copies == 1 else (0, copies - 1)
    for j in blocks:
        yield [name.replace("{i}", str(layer)).replace("{j}", str(j)) for name in names]


def _gathered(
    taken: Mapping[tuple[str, int | None], str], tensors: Sequence[Tensor]
) -> tuple[QuantizedModules, ...]:
    """Tensors of one format and the same layers, put together."""
    by_name: dict[str, dict[str, list[int | None]]] = {}
    for (name, i), wanted in taken.items():
        by_name.setdefault(name, {}).setdefault(wanted, []).append(i)
    order: dict[tuple[str, tuple[int, ...] | None], list[str]] = {}
    full: dict[str, set[int]] = {}
    for tensor in tensors:
        full.setdefault(tensor.name, set()).update(tensor.layers)
    for name, formats in by_name.items():
        for wanted, indices in formats.items():
            held = tuple(i for i in indices if i is not None)
            whole = not held or set(held) == full[name]
            order.setdefault((wanted, None if whole else held), []).append(name)
    return tuple(
        QuantizedModules(wanted, tuple(dict.fromkeys(names)), layers)
        for (wanted, layers), names in order.items()
    )
