"""Memory figures out of what tools and engines print: logs, nvidia-smi, gpustat, nvtop, torch."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from planner.units import BYTES_PER_GIB, BYTES_PER_MIB

_GIB: Final = r"([\d.]+)\s*Gi?B"
_MIB_IN_GIB: Final = BYTES_PER_MIB / BYTES_PER_GIB

_PATTERNS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "vllm": (
        ("weights_gib", rf"model weights take {_GIB}"),
        ("weights_gib", rf"[Mm]odel loading took {_GIB}"),
        ("weights_gib", rf"[Ll]oading model weights took {_GIB}"),
        ("non_torch_gib", rf"non_torch_memory takes {_GIB}"),
        ("non_torch_gib", rf"{_GIB} for non-torch memory"),
        ("activation_peak_gib", rf"PyTorch activation peak memory takes {_GIB}"),
        ("activation_peak_gib", rf"{_GIB} for peak activation"),
        ("kv_cache_gib", rf"reserved for KV Cache is {_GIB}"),
        ("kv_cache_gib", rf"Available KV cache memory: {_GIB}"),
        ("kv_cache_tokens", r"GPU KV cache size: ([\d,]+) tokens"),
        ("cuda_graph_gib", rf"Graph capturing finished in .*?took {_GIB}"),
        ("cuda_graph_gib", rf"{_GIB} for CUDAGraph memory"),
        ("total_gpu_memory_gib", rf"total_gpu_memory \({_GIB}\)"),
        ("gpu_memory_utilization", r"gpu_memory_utilization \(([\d.]+)\)"),
        ("engine_version", r"LLM engine \(v([\w.+]+)\)"),
        ("engine_version", r"vLLM API server version ([\w.+]+)"),
    ),
    "sglang": (
        ("weights_gib", rf"Load weight end\..*?mem usage={_GIB}"),
        ("kv_cache_tokens", r"KV Cache is allocated\..*?#tokens: ([\d,]+)"),
        ("cuda_graph_gib", rf"Capture cuda graph end\..*?mem usage={_GIB}"),
        ("total_gpu_memory_gib", rf"Load weight begin\. avail mem={_GIB}"),
    ),
}
_SGLANG_SIDES: Final = rf"([KV]) size: {_GIB}"
_LLAMA_BUFFER: Final = r"(\S+)\s+(model|KV|compute) buffer size\s*=\s*([\d.]+) MiB"
_LLAMA_OLDER: Final = r"llm_load_tensors:\s+(\S+)()\s+buffer size\s*=\s*([\d.]+) MiB"
"""Model buffers as llama.cpp before 2025 and ik_llama.cpp print them."""
_LLAMA_NAMES: Final = {
    "model": "weights_gib",
    "KV": "kv_cache_gib",
    "compute": "activation_peak_gib",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Figures out of one tool's output, by the columns of a file of measured inference runs.

    `values` hold GiB (`..._gib`), tokens, or text (`total_metric`, `engine_version`); `tool` says
    what the text was recognised as.
    """

    tool: str
    values: Mapping[str, float | str] = field(default_factory=dict)


def read_output(text: str) -> Reading | None:
    """The figures in a tool's or engine's output, or None where nothing is recognised.

    Several GPUs or processes: the largest value, as the fullest card decides.
    """
    readers: tuple[Callable[[str], Reading | None], ...] = (
        _torch_stats,
        _json_tool,
        _smi_csv,
        _vllm,
        _sglang,
        _llama_cpp,
    )
    for reader in readers:
        reading = reader(text)
        if reading is not None and reading.values:
            return reading
    return None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _matched(engine: str, text: str) -> dict[str, float | str]:
    values: dict[str, float | str] = {}
    for name, pattern in _PATTERNS[engine]:
        found = re.findall(pattern, text)
        if found and name not in values:
            is_text = name == "engine_version"
            values[name] = str(found[-1]) if is_text else max(_number(item) for item in found)
    return values


def _vllm(text: str) -> Reading | None:
    values = _matched("vllm", text)
    blocks = re.findall(r"# GPU blocks: (\d+)", text)
    if blocks and "kv_cache_tokens" not in values:
        values["kv_cache_tokens"] = float(blocks[-1]) * 16
    return Reading("vLLM log", values) if values else None


def _sglang(text: str) -> Reading | None:
    values = _matched("sglang", text)
    sides = re.findall(_SGLANG_SIDES, text)
    by_side = {side: _number(size) for side, size in sides}
    if by_side:
        values["kv_cache_gib"] = sum(by_side.values())
    return Reading("SGLang log", values) if values else None


def _llama_cpp(text: str) -> Reading | None:
    """Buffers of the first CUDA (or other) device; the host's are left out."""
    values: dict[str, float | str] = {}
    found = re.findall(_LLAMA_BUFFER, text) + re.findall(_LLAMA_OLDER, text)
    for device, kind, size in found:
        name = _LLAMA_NAMES[kind or "model"]
        if name not in values and not device.startswith(("CPU", "CUDA_Host")):
            values[name] = float(size) * _MIB_IN_GIB
    return Reading("llama.cpp log", values) if values else None


def _torch_stats(text: str) -> Reading | None:
    """`torch.cuda.memory_stats()` as JSON, as a printed dict, or one `key: value` a line."""
    peaks = {
        "allocated": "allocated_bytes.all.peak",
        "reserved": "reserved_bytes.all.peak",
    }
    if peaks["allocated"] not in text:
        return None
    loaded = _mapping(text)
    values: dict[str, float | str] = {}
    for metric, key in peaks.items():
        found = re.search(rf"{re.escape(key)}[\"']?\s*[:=]\s*(\d+)", text)
        size = loaded.get(key) if loaded else found and int(found.group(1))
        if isinstance(size, int):
            values[f"{metric}_gib"] = size / BYTES_PER_GIB
    if "allocated_gib" in values:
        values["total_gib"], values["total_metric"] = values["allocated_gib"], "allocated"
    return Reading("torch.cuda.memory_stats", values)


def _mapping(text: str) -> Mapping[str, Any]:
    for load in (json.loads, ast.literal_eval):
        try:
            loaded = load(text.strip().removeprefix("OrderedDict(").removesuffix(")"))
        except (ValueError, SyntaxError):
            continue
        if isinstance(loaded, dict):
            return loaded
        if isinstance(loaded, list) and all(isinstance(item, tuple) for item in loaded):
            return dict(loaded)
    return {}


def _json_tool(text: str) -> Reading | None:
    """`gpustat --json` (MiB) and `nvtop -s` (bytes)."""
    try:
        loaded: Any = json.loads(text)
    except ValueError:
        return None
    if isinstance(loaded, dict) and isinstance(loaded.get("gpus"), list):
        return _gpustat(loaded["gpus"])
    if isinstance(loaded, list) and loaded and all(_is_nvtop(gpu) for gpu in loaded):
        return _nvtop(loaded)
    return None


def _is_nvtop(gpu: Any) -> bool:
    return isinstance(gpu, dict) and "device_name" in gpu


def _gpustat(gpus: Iterable[Mapping[str, Any]]) -> Reading:
    listed = list(gpus)
    processes = [p.get("gpu_memory_usage") for gpu in listed for p in gpu.get("processes") or ()]
    return Reading(
        "gpustat",
        _totals(
            _largest([gpu.get("memory.used") for gpu in listed]),
            _largest(processes),
            _largest([gpu.get("memory.total") for gpu in listed]),
        ),
    )


def _nvtop(gpus: Iterable[Mapping[str, Any]]) -> Reading:
    listed = list(gpus)

    def mib(key: str) -> float | None:
        sizes = [_digits(gpu.get(key)) for gpu in listed]
        size = _largest(sizes)
        return None if size is None else size / BYTES_PER_MIB

    return Reading("nvtop", _totals(mib("mem_used"), None, mib("mem_total")))


def _digits(value: Any) -> float | None:
    found = re.match(r"\s*(\d+)\s*$", str(value))
    return float(found.group(1)) if found else None


def _largest(values: Iterable[Any]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return max(numbers) if numbers else None


def _totals(
    device_mib: float | None, process_mib: float | None, card_mib: float | None
) -> dict[str, float | str]:
    """Sizes of a monitoring tool; a process's own memory is preferred to the whole card's."""
    used = process_mib if process_mib is not None else device_mib
    if used is None:
        return {}
    values: dict[str, float | str] = {
        "total_gib": used * _MIB_IN_GIB,
        "total_metric": "device" if process_mib is None else "process",
    }
    if card_mib is not None:
        values["smi_total_gib"] = card_mib * _MIB_IN_GIB
    return values


def _smi_csv(text: str) -> Reading | None:
    """`nvidia-smi --query-compute-apps` or `--query-gpu` with `--format=csv`, any columns."""
    lines = [line for line in text.splitlines() if line.strip()]
    header = next((i for i, line in enumerate(lines) if _is_smi_header(line)), None)
    if header is None:
        return None
    rows = list(csv.DictReader(lines[header:], skipinitialspace=True))

    def sizes(*names: str) -> list[float]:
        found = []
        for row in rows:
            for key, value in row.items():
                name = (key or "").split("[")[0].strip()
                size = re.match(r"([\d.]+)", value or "") if isinstance(value, str) else None
                if name in names and size:
                    found.append(float(size.group(1)))
        return found

    process = sizes("used_gpu_memory", "used_memory")
    device, card = sizes("memory.used"), sizes("memory.total")
    return Reading("nvidia-smi", _totals(_largest(device), _largest(process), _largest(card)))


def _is_smi_header(line: str) -> bool:
    return (
        bool(re.search(r"\b(used_gpu_memory|used_memory|memory\.used)\b", line))
        and "," in line + ","
    )
