"""Memory figures out of what monitoring tools print: nvidia-smi, gpustat, nvtop, torch."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from planner.units import BYTES_PER_GIB, BYTES_PER_MIB
from planner.verify.reading import Reading, Values

_MIB_IN_GIB: Final = BYTES_PER_MIB / BYTES_PER_GIB


def torch_stats(text: str) -> Reading | None:
    """`torch.cuda.memory_stats()` as JSON, as a printed dict, or one `key: value` a line."""
    peaks = {
        "allocated": "allocated_bytes.all.peak",
        "reserved": "reserved_bytes.all.peak",
    }
    if peaks["allocated"] not in text:
        return None
    loaded = _mapping(text)
    values: Values = {}
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


def json_tool(text: str) -> Reading | None:
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


def _totals(device_mib: float | None, process_mib: float | None, card_mib: float | None) -> Values:
    """Sizes of a monitoring tool; a process's own memory is preferred to the whole card's."""
    used = process_mib if process_mib is not None else device_mib
    if used is None:
        return {}
    values: Values = {
        "total_gib": used * _MIB_IN_GIB,
        "total_metric": "device" if process_mib is None else "process",
    }
    if card_mib is not None:
        values["smi_total_gib"] = card_mib * _MIB_IN_GIB
    return values


def smi_csv(text: str) -> Reading | None:
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
