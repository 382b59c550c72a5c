"""The card of a model: its facts as one object, and as text to read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from planner.resolve.facts import ROLES, ModelFacts, Tensor
from planner.resolve.lora import lora_parameters, missing_targets, target_names
from planner.units import BITS_PER_BYTE, gib

KV_ELEMENT_BYTES: Final = 2
CONV_ELEMENT_BYTES: Final = 2
SSM_ELEMENT_BYTES: Final = 4
COMMON_CONTEXTS: Final = (4096, 32768, 131072)
COMMON_FORMATS: Final = ("bf16", "fp8", "int8-w8a16", "awq-int4-g128", "nf4", "mxfp4", "nvfp4")
QUANTISED_KINDS: Final = ("linear", "experts")


def kv_bytes_per_token(facts: ModelFacts) -> int:
    """Bytes of a 16-bit cache for one token while the context is shorter than every window."""
    return KV_ELEMENT_BYTES * sum(layer.kv_elements_per_token for layer in facts.layers)


def kv_bytes_at(facts: ModelFacts, context_tokens: int) -> int:
    """Bytes of a 16-bit cache of one sequence; windowed layers keep their window at most."""
    return KV_ELEMENT_BYTES * sum(
        layer.kv_elements_per_token * min(context_tokens, layer.window_tokens or context_tokens)
        for layer in facts.layers
    )


def state_bytes_per_sequence(facts: ModelFacts) -> int:
    """Bytes of the constant state: convolutions in 16 bits, recurrent state in fp32."""
    return sum(
        CONV_ELEMENT_BYTES * layer.conv_state_elements
        + SSM_ELEMENT_BYTES * layer.ssm_state_elements
        for layer in facts.layers
    )


def weights_bytes(facts: ModelFacts, weight_format: Mapping[str, Any]) -> int:
    """Bytes of the weights in a format of the catalog; roles that it keeps stay in 16 bits.

    `weight_format` is a row of the formats catalog: `bits_per_parameter`, `kept_16bit_roles`.
    """
    kept = set(weight_format.get("kept_16bit_roles") or ())
    bits = 0.0
    for tensor in facts.tensors:
        quantised = tensor.kind in QUANTISED_KINDS and tensor.role not in kept
        bits += tensor.parameters * (_bits(weight_format, tensor) if quantised else 16)
    return round(bits / BITS_PER_BYTE)


def _bits(weight_format: Mapping[str, Any], tensor: Tensor) -> float:
    if tensor.role == "lm_head":
        return float(weight_format.get("lm_head_bits") or 16)
    return float(weight_format["bits_per_parameter"])


def card(facts: ModelFacts, *, lora: tuple[int, str] | None = None) -> dict[str, Any]:
    """The facts as one JSON object; `lora` is a rank and targets to size an adapter for."""
    roles = facts.parameters_by_role()
    shown: dict[str, Any] = {
        "model": facts.model,
        "model_type": facts.model_type,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "text_parameters": facts.text_parameters,
        "active_parameters": facts.active_parameters,
        **{role: roles[role] for role in ROLES},
        "tied_embeddings": facts.tied_embeddings,
        "dtype": facts.dtype,
        "num_hidden_layers": facts.num_hidden_layers,
        "hidden_size": facts.hidden_size,
        "vocab_size": facts.vocab_size,
        "max_position_embeddings": facts.max_position_embeddings,
        "kv_bytes_per_token": kv_bytes_per_token(facts),
        "state_bytes_per_sequence": state_bytes_per_sequence(facts),
        "quantisable_parameters": facts.quantisable_parameters,
        "quantization_method": facts.quantization_method,
        "quantized_parameters": quantized_parameters(facts),
        "stored_bytes": facts.stored_bytes,
        "layer_types": [layer.mixer for layer in facts.layers],
        "source": facts.source,
        "assumptions": list(facts.assumptions),
        "notes": list(facts.notes),
    }
    if lora is not None:
        rank, targets = lora
        shown["lora_rank"], shown["lora_targets"] = rank, targets
        shown["lora_parameters"] = lora_parameters(facts, rank, targets)
        missing = missing_targets(facts, targets)
        if missing:
            shown["lora_missing_targets"] = list(missing)
    return shown


def quantized_parameters(facts: ModelFacts) -> dict[str, int]:
    """Parameters that a pre-quantised checkpoint stores in each format."""
    by_name: dict[str, list[Tensor]] = {}
    for tensor in facts.tensors:
        by_name.setdefault(tensor.name, []).append(tensor)
    counts: dict[str, int] = {}
    for group in facts.quantization:
        for name in group.tensors:
            for tensor in by_name.get(name, ()):
                held = (
                    tensor.count
                    if group.layers is None
                    else len(set(group.layers) & set(tensor.layers))
                )
                counts[group.format] = counts.get(group.format, 0) + tensor.numel * held
    return counts


def layer_pattern(facts: ModelFacts) -> str:
    """Layers as runs of alike ones, such as `5x sliding(1024) + 1x full, 6 times`."""
    kinds = [
        layer.mixer
        + (f"({layer.window_tokens})" if layer.window_tokens else "")
        + (" shared" if layer.kv_shared else "")
        + ("+state" if layer.ssm_state_elements and layer.kv_elements_per_token else "")
        for layer in facts.layers
    ]
    runs = [(kind, len(list(group))) for kind, group in groupby(kinds)]
    for period in range(1, len(runs) // 2 + 1):
        unit = runs[:period]
        if len(runs) % period == 0 and unit * (len(runs) // period) == runs:
            return f"{_run(unit)}, {len(runs) // period} times"
    return _run(runs)


def _run(runs: list[tuple[str, int]]) -> str:
    return " + ".join(f"{count}x {kind}" for kind, count in runs)


def card_text(
    facts: ModelFacts,
    *,
    formats: Mapping[str, Mapping[str, Any]] | None = None,
    published_parameters: Mapping[str, int] | None = None,
    lora: tuple[int, str] | None = None,
) -> str:
    """The card as text.

    Args:
        formats: rows of the formats catalog by id, for the weights in each.
        published_parameters: other public counts by where they stand.
        lora: a rank and targets to size an adapter for.
    """
    shown = card(facts, lora=lora)
    lines = [
        f"{facts.model}  ({facts.model_type}, {facts.architecture or 'no class named'})",
        f"  source      {facts.source}",
        f"  parameters  {shown['parameters']:,}  (text {shown['text_parameters']:,},"
        f" active {shown['active_parameters']:,})",
    ]
    lines += [
        f"    {role:<16}{shown[role]:>20,}" + ("  (tied to the embedding)" if tied else "")
        for role in ROLES
        if (tied := role == "lm_head" and facts.tied_embeddings) or shown[role]
    ]
    lines += [
        f"  quantisable {shown['quantisable_parameters']:,}",
        f"  layers      {facts.num_hidden_layers}: {layer_pattern(facts)}",
        f"  context     {facts.max_position_embeddings or 'not given'}",
        f"  KV cache    {shown['kv_bytes_per_token']:,} bytes a token (16 bits)"
        + "".join(
            f"; {gib(kv_bytes_at(facts, n)):.2f} GiB at {n:,}"
            for n in COMMON_CONTEXTS
            if n <= (facts.max_position_embeddings or n)
        ),
    ]
    if shown["state_bytes_per_sequence"]:
        lines.append(f"  state       {shown['state_bytes_per_sequence']:,} bytes a sequence")
    for name in COMMON_FORMATS:
        if formats and name in formats:
            size = gib(weights_bytes(facts, formats[name]))
            lines.append(f"  weights     {size:>10.2f} GiB as {name}")
    for name, count in shown["quantized_parameters"].items():
        lines.append(f"  stored      {count:,} parameters as {name}")
    if facts.stored_bytes is not None:
        lines.append(f"  stored      {gib(facts.stored_bytes):.2f} GiB in the checkpoint's files")
    for where, count in (published_parameters or {}).items():
        if count != facts.parameters:
            lines.append(f"  differs     {where} says {count:,}")
    if lora is not None:
        lines.append(
            f"  LoRA        r={lora[0]} {lora[1]}: {shown['lora_parameters']:,} parameters"
        )
        if shown.get("lora_missing_targets"):
            lines.append(
                f"  no module   {', '.join(shown['lora_missing_targets'])};"
                f" this model has {', '.join(target_names(facts))}"
            )
    lines += [f"  assumed     {text}" for text in facts.assumptions]
    lines += [f"  note        {text}" for text in facts.notes]
    return "\n".join(lines)
