"""What llama.cpp and its fork log while they load: buffers of every device."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from planner.units import BYTES_PER_GIB, BYTES_PER_MIB
from planner.verify.engine_logs import cut_starts, last_reading
from planner.verify.reading import Reading, Values

_MIB_IN_GIB: Final = BYTES_PER_MIB / BYTES_PER_GIB
_BUFFER: Final = r"(\S+)\s+(model|KV|compute) buffer size\s*=\s*([\d.]+) MiB"
_OLDER: Final = r"llm_load_tensors:\s+(\S+)()\s+buffer size\s*=\s*([\d.]+) MiB"
"""Model buffers as llama.cpp before 2025 and ik_llama.cpp print them."""
_COLUMNS: Final = {
    "model": "weights_gib",
    "KV": "kv_cache_gib",
    "compute": "activation_peak_gib",
}
_HOST: Final = r"^(CPU|AMX|BLAS)|Host$"
_ROWS_SPLIT: Final = "_Split"
"""Ending of the buffer that holds matrices cut by rows over all devices (`-sm row`)."""
_MAPPED: Final = r"_(Mapped|Private|Split)$"
_START: Final = r"ggml_cuda_init: found \d"
_FILE: Final = r"loaded meta data with .*? tensors from (.+?)(?: \(version|$)"
_FILE_TYPE: Final = r"(?:file type|ftype)\s*=\s*(.+)"
_SIZES: Final = {"small": "_s", "medium": "_m", "large": "_l"}
_SETTINGS: Final = {
    "max_model_len": r"\bn_ctx\s*=\s*(\d+)",
    "max_num_batched_tokens": r"\bn_ubatch\s*=\s*(\d+)",
    "gpu_layers": r"offloaded (\d+)/\d+ layers to GPU",
}


def llama_cpp(text: str) -> Reading | None:
    """Buffers of the first device; the host's are left out. The last start with figures counts."""
    return last_reading(cut_starts(text, _START), _one_start)


def _one_start(text: str) -> Reading | None:
    text, notes = _of_first_file(text)
    buffers = [
        (device, _COLUMNS[kind or "model"], float(size) * _MIB_IN_GIB)
        for device, kind, size in re.findall(_BUFFER, text) + re.findall(_OLDER, text)
        if not re.search(_HOST, device)
    ]
    values = _of_whole(buffers) if any(_is_cut(b[0]) for b in buffers) else _of_first(buffers)
    values |= _settings(text)
    return Reading("llama.cpp log", values, "llama.cpp", notes=notes) if buffers else None


def _is_cut(device: str) -> bool:
    return device.endswith(_ROWS_SPLIT)


def _of_first(buffers: list[tuple[str, str, float]]) -> Values:
    """Sums over the buffers of the first device: sliding and other layers have a cache each."""
    devices = _devices(buffers)
    values: Values = {}
    for device, column, size in buffers:
        if re.sub(_MAPPED, "", device) == devices[0]:
            values[column] = float(values.get(column, 0.0)) + size
    holding = _devices(buffer for buffer in buffers if buffer[1] == "weights_gib")
    if len(holding) > 1:
        values |= {"gpu_count": len(holding), "pipeline_parallel_size": len(holding)}
    return values


def _of_whole(buffers: list[tuple[str, str, float]]) -> Values:
    """Matrices cut by rows are printed as one buffer over all devices: so are weights and cache.

    Each device has working memory of its own, of which the largest counts.
    """
    values: Values = {"scope": "total"}
    for _, column, size in buffers:
        before = float(values.get(column, 0.0))
        one_of = column == "activation_peak_gib"
        values[column] = max(before, size) if one_of else before + size
    return values


def _devices(buffers: Iterable[tuple[str, str, float]]) -> list[str]:
    return list(dict.fromkeys(re.sub(_MAPPED, "", device) for device, _, _ in buffers))


def _of_first_file(text: str) -> tuple[str, tuple[str, ...]]:
    """What was printed for the first model file, when it was loaded the last time.

    A draft or a projector is loaded after it.
    """
    loads = list(re.finditer(_FILE, text, re.MULTILINE))
    own = [load for load in loads if load.group(1) == loads[0].group(1)]
    begin = own[-1].start() if len(own) > 1 else 0
    other = next((one for one in loads if one not in own and one.start() > begin), None)
    if other is None:
        return text[begin:], ()
    note = f"a second model ({other.group(1)}) was loaded: its buffers are left out"
    return text[begin : other.start()], (note,)


def _settings(text: str) -> Values:
    values: Values = {}
    for column, pattern in _SETTINGS.items():
        found = re.findall(pattern, text)
        if found:
            values[column] = int(found[-1])
    types = re.search(r"\bK \((\w+)\):.*?\bV \((\w+)\):", text)
    if types and types.group(1) == types.group(2) != "f16":
        values["kv_cache_dtype"] = types.group(1)
    if re.search(r"\bflash_attn\s*=\s*(0|disabled)\b", text):
        values["notes"] = "flash_attn 0"
    file_type = re.search(_FILE_TYPE, text)
    if file_type:
        values["weight_format"] = _format(file_type.group(1))
    return values


def _format(printed: str) -> str:
    """`Q4_K - Medium` as `q4_k_m`; `IQ3_S mix - 3.66 bpw` as `iq3_m`."""
    name, _, rest = printed.strip().partition(" - ")
    size = _SIZES.get(rest.split(" ")[0].strip().casefold(), "") if rest else ""
    plain = name.split(" ")[0].casefold()
    if "mix" in name.casefold() and plain == "iq3_s":
        plain = "iq3_m"
    own = plain == "q2_k" or plain in ("f16", "bf16", "f32")
    return f"gguf-{plain}" if own or not size else f"gguf-{plain}{size}"
