"""What each quantiser's config says: groups of modules, each with a format of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.resolve.facts import Tensor

ALL = ("Linear",)


def any_linear(tensor: Tensor) -> bool:
    """Every linear layer outside the head."""
    return tensor.role not in ("lm_head", "embedding")


def any_module(tensor: Tensor) -> bool:
    """Every linear layer; the head too, where no list names it."""
    return not tensor.tied


def in_blocks(tensor: Tensor) -> bool:
    """Linear layers of the decoder's blocks that int4 kernels can pack: no routers, no gates."""
    return (
        bool(tensor.layers)
        and tensor.role not in ("lm_head", "embedding", "router", "multimodal")
        and tensor.out_features % 8 == 0
    )


def only_experts(tensor: Tensor) -> bool:
    """Fused experts."""
    return tensor.kind == "experts"


def no_experts(tensor: Tensor) -> bool:
    """What a loader that replaces nn.Linear reaches; fused experts are none."""
    return tensor.kind == "linear" and tensor.role != "lm_head"


@dataclass(frozen=True, slots=True)
class Group:
    """Modules with one format: wanted by `targets`, kept back by `ignore`, of the kind `takes`."""

    format: str
    targets: tuple[str, ...] = ALL
    ignore: tuple[str, ...] = ()
    takes: Callable[[Tensor], bool] = any_linear


Result = tuple[str, list[Group], list[str]]


def _listed(section: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    """The first list of names among several keys."""
    for key in keys:
        value = section.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(str(item) for item in value)
    return ()


def groups_of(section: Mapping[str, Any], config: Mapping[str, Any]) -> Result:
    """The quantiser's name, its groups, and notes about what is not covered."""
    method = str(section.get("quant_method") or "").lower()
    if not method and ("quant_algo" in section or "config_groups" in section):
        method = "modelopt" if "quant_algo" in section else "compressed-tensors"
    if (
        section.get("quantized_layers")
        and str(section.get("quant_algo", "")).upper() == "MIXED_PRECISION"
    ):
        groups, notes = _mixed(section, config)
        return method, groups, notes
    reader = _READERS.get(method)
    if reader is None:
        return method, [], [f"quantisation '{method or 'without a name'}' is not covered"]
    groups, notes = reader(section, config)
    return method, groups, notes


Parsed = tuple[list[Group], list[str]]


def _fp8(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    ignore = _listed(section, "modules_to_not_convert", "ignored_layers", "ignore")
    block = section.get("weight_block_size")
    linear = Group("fp8-block" if block else "fp8", ignore=ignore)
    narrow = section.get("expert_dtype") or config.get("expert_dtype")
    if narrow == "fp4":
        return [Group("mxfp4", ignore=ignore, takes=only_experts), linear], []
    return [linear], []


def _fbgemm(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    return [Group("fp8-dynamic", ignore=_listed(section, "modules_to_not_convert"))], []


def _mxfp4(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    ignore = _listed(section, "modules_to_not_convert")
    return [Group("mxfp4", ignore=ignore, takes=only_experts)], []


def _gptq(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    bits, size = int(section.get("bits", 4)), int(section.get("group_size") or -1)
    ignore = _listed(section, "modules_to_not_convert")
    dynamic = section.get("dynamic")
    if isinstance(dynamic, Mapping):
        ignore += tuple(f"re:{key[2:]}" for key in dynamic if str(key).startswith("-:"))
    if bits == 4:
        wanted = f"gptq-int4-g{size}" if size > 0 else "gptq-int4-per-channel"
    elif bits == 8:
        wanted = "gptq-int8-g128"
    else:
        return [], [f"GPTQ with {bits} bits is not covered"]
    prefix = section.get("block_name_to_quantize")
    targets = tuple(str(prefix).split(",")) if isinstance(prefix, str) and prefix else ALL
    return [Group(wanted, targets, ignore, in_blocks)], []


def _awq(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    bits, size = int(section.get("bits", 4)), int(section.get("group_size", 128))
    if bits != 4:
        return [], [f"AWQ with {bits} bits is not covered"]
    ignore = _listed(section, "modules_to_not_convert")
    return [Group(f"awq-int4-g{size}", ALL, ignore, in_blocks)], []


def _auto_round(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    packing = str(section.get("packing_format", "auto_round:auto_gptq"))
    return (_awq if "awq" in packing else _gptq)(section, config)


def _bitsandbytes(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    ignore = _listed(section, "llm_int8_skip_modules")
    if section.get("load_in_8bit") or section.get("_load_in_8bit"):
        wanted = "int8-bnb"
    elif section.get("bnb_4bit_quant_type") == "fp4":
        wanted = "fp4-bnb"
    else:
        wanted = "nf4-dq" if section.get("bnb_4bit_use_double_quant") else "nf4"
    return [Group(wanted, ignore=ignore, takes=no_experts)], []


def scheme_format(weights: Mapping[str, Any], activations: Mapping[str, Any] | None) -> str | None:
    """The catalog's id of a compressed-tensors scheme; None where there is none."""
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    size, strategy = weights.get("group_size"), weights.get("strategy")
    if kind == "float" and bits == 8:
        if strategy == "block" or weights.get("block_structure"):
            return "fp8-block"
        return "fp8-dynamic" if strategy == "channel" else "fp8"
    if kind == "float" and bits == 4:
        return "mxfp4" if size == 32 else "nvfp4"
    if bits == 8:
        if activations:
            return "int8-w8a8"
        return "gptq-int8-g128" if size and size > 0 else "int8-w8a16"
    if bits == 4:
        if not size or size < 0:
            return "gptq-int4-per-channel"
        return f"int4-w4a16-g{size}"
    return None


def _compressed_tensors(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    ignore = _listed(section, "ignore", "exclude_modules")
    groups, notes = [], []
    for group in (section.get("config_groups") or {}).values():
        wanted = scheme_format(group.get("weights") or {}, group.get("input_activations"))
        if wanted is None:
            notes.append(f"quantisation scheme {group.get('weights')!r:.120} is not covered")
            continue
        targets = _listed(group, "targets") or ALL
        groups.append(Group(wanted, targets, ignore, any_module))
    if not groups and not notes:
        return _modelopt(section, config)
    return groups, notes


_ALGORITHMS = {
    "FP8": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8-dynamic",
    "FP8_PB_WO": "fp8-block",
    "FP8_PB_REAL": "fp8-block",
    "FP8_BLOCK": "fp8-block",
    "NVFP4": "nvfp4",
    "NVFP4_AWQ": "nvfp4",
    "W4A16_NVFP4": "nvfp4",
    "W4A8_NVFP4_FP8": "nvfp4",
    "MXFP4": "mxfp4",
    "W4A8_MXFP4_FP8": "mxfp4",
    "W4A16_AWQ": "awq-int4-g128",
    "W4A8_AWQ": "awq-int4-g128",
    "INT4_AWQ": "awq-int4-g128",
    "W8A8_SQ": "int8-w8a8",
    "W8A8_SQ_PER_CHANNEL": "int8-w8a8",
    "W8A16": "int8-w8a16",
}


def _modelopt(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    if section.get("config_groups"):
        return _compressed_tensors(section, config)
    ignore = _listed(section, "exclude_modules", "ignore", "modules_to_not_convert")
    algorithm = str(section.get("quant_algo") or "").upper()
    wanted = _ALGORITHMS.get(algorithm)
    if wanted is None:
        return [], [f"ModelOpt's '{algorithm}' is not covered"]
    return [Group(wanted, ALL, ignore, any_module)], []


def _mixed(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    """ModelOpt's mixed precision: a format for each layer by name."""
    by_format: dict[str, list[str]] = {}
    notes = []
    for name, own in section["quantized_layers"].items():
        algorithm = str(own.get("quant_algo", "")).upper()
        wanted = _ALGORITHMS.get(algorithm)
        if wanted is None:
            notes.append(f"ModelOpt's '{algorithm}' is not covered")
        else:
            by_format.setdefault(wanted, []).append(str(name))
    groups = [Group(wanted, tuple(names), takes=any_module) for wanted, names in by_format.items()]
    if section.get("quant_method") == "fp8":
        # What is not listed keeps the fp8 blocks of the checkpoint it was made from.
        size = section.get("weight_block_size") or config.get("weight_block_size") or [128, 128]
        rest, _ = _fp8({"weight_block_size": size}, {})
        groups += rest
    return groups, list(dict.fromkeys(notes))


def _torchao(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    text = str(section.get("quant_type") or "").lower()
    ignore = _listed(section, "modules_to_not_convert")
    if "int4" in text:
        wanted = "torchao-int4-g64" if "64" in text else "torchao-int4-g128"
    elif "float8" in text or "fp8" in text:
        wanted = "fp8-dynamic" if "perrow" in text.replace("_", "") else "fp8"
    elif "int8" in text:
        wanted = "int8-w8a8" if "dynamic_activation" in text else "int8-w8a16"
    else:
        return [], [f"torchao's '{text:.60}' is not covered"]
    return [Group(wanted, ignore=ignore, takes=no_experts)], []


def _hqq(section: Mapping[str, Any], config: Mapping[str, Any]) -> Parsed:
    inner = section.get("quant_config", section)
    weights = inner.get("weight_quant_params", inner)
    bits, size = int(weights.get("nbits", 4)), int(weights.get("group_size", 64))
    if bits != 4:
        return [], [f"HQQ with {bits} bits is not covered"]
    ignore = _listed(section, "skip_modules")
    return [Group(f"hqq-int4-g{size}", ignore=ignore, takes=no_experts)], []


_READERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Parsed]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "mxfp4": _mxfp4,
    "gptq": _gptq,
    "gptq_marlin": _gptq,
    "awq": _awq,
    "awq_marlin": _awq,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
    "torchao": _torchao,
    "hqq": _hqq,
}
