"""What vLLM and SGLang log while they start: memory of every rank, and the settings of the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from planner.verify.reading import Reading, Values, setting
from planner.verify.vllm_notes import run_notes

_GIB: Final = r"([\d.]+)\s*Gi?B"
_SIGNED_GIB: Final = r"(-?[\d.]+)\s*Gi?B"

_VLLM_FIGURES: Final[tuple[tuple[str, str], ...]] = (
    ("weights_gib", rf"model weights take {_GIB}"),
    ("weights_gib", rf"[Mm]odel loading took {_GIB}"),
    ("weights_gib", rf"[Ll]oading model weights took {_GIB}"),
    ("weights_gib", rf"{_GIB} for weight"),
    ("non_torch_gib", rf"non_torch_memory takes {_SIGNED_GIB}"),
    ("non_torch_gib", rf"{_SIGNED_GIB} for non-torch memory"),
    ("activation_peak_gib", rf"PyTorch activation peak memory takes {_GIB}"),
    ("activation_peak_gib", rf"{_GIB} for peak activation"),
    ("kv_cache_gib", rf"reserved for KV Cache is {_SIGNED_GIB}"),
    ("kv_cache_gib", rf"Available KV cache memory: {_SIGNED_GIB}"),
    ("kv_cache_tokens", r"GPU KV cache size: ([\d,]+) tokens"),
    ("cuda_graph_gib", rf"Graph capturing finished in .*?took {_SIGNED_GIB}"),
    ("cuda_graph_gib", rf"{_SIGNED_GIB} for CUDAGraph memory"),
    ("total_gpu_memory_gib", rf"total_gpu_memory \({_GIB}\)"),
    ("total_gpu_memory_gib", r"Free memory on device[^(]*\([\d.]+/([\d.]+) GiB\)"),
    ("gpu_memory_utilization", r"gpu_memory_utilization \(([\d.]+)\)"),
    ("gpu_memory_utilization", r"Desired GPU memory utilization is \(([\d.]+),"),
    ("max_num_batched_tokens", r"Chunked prefill is enabled with max_num_batched_tokens=(\d+)"),
    ("max_model_len", r"Maximum concurrency for ([\d,]+) tokens per request"),
)
_SMALLEST: Final = frozenset({"kv_cache_gib", "kv_cache_tokens", "total_gpu_memory_gib"})
"""Of several ranks the smallest counts: all hold as many blocks as the fullest has room for."""
_VLLM_BLOCKS: Final = r"# (?:GPU|cuda|CUDA) blocks: (\d+)"
_VLLM_BLOCK_TOKENS: Final = 16
_VLLM_INIT: Final = r"(?:\((EngineCore\w*)[^)]*\).*)?Initializing an? (?:V\d )?LLM engine \(v"
_VLLM_SERVER: Final = r"vLLM API server version ([\w.+]+)"
_VLLM_VERSION: Final = r"LLM engine \(v([\w.+]+)\)"
_VLLM_CONFIG: Final = r"LLM engine \(v[\w.+]+\),? with config: (.*)"
_VLLM_ARGS: Final = r"(?:non-default args|args): (.*)"

_CONFIG_SETTINGS: Final[Mapping[str, str]] = {
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "max_seq_len": "max_model_len",
}
_ARGUMENT_SETTINGS: Final[Mapping[str, str]] = {
    "gpu_memory_utilization": "gpu_memory_utilization",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "block_size": "block_size",
}
_SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "mem_fraction_static": "gpu_memory_utilization",
    "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "context_length": "max_model_len",
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
}
_SCHEDULER_SETTINGS: Final[Mapping[str, str]] = {
    "context_len": "max_model_len",
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
}
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32"}
_QUANTISED: Final = {
    "awq": "awq-int4",
    "awq_marlin": "awq-int4",
    "gptq": "gptq-int4",
    "gptq_marlin": "gptq-int4",
    "bitsandbytes": "nf4",
    "fp8": "fp8",
    "mxfp4": "mxfp4",
}
"""Quantisation methods that name a format; of the others the checkpoint knows it."""

_SGLANG_ARGS: Final = r"server_args=ServerArgs\((.*)"
_SGLANG_RANK: Final = r"\b((?:DP\d+ )?(?:PP\d+ )?TP\d+(?: EP\d+)?)\]"
_SGLANG_WEIGHTS: Final = rf"Load weight end\..*?mem usage={_GIB}"
_SGLANG_POOL: Final = "KV Cache is allocated"
_SGLANG_SIDES: Final = rf"\b(?:K|V|KV) size: {_GIB}"
_SGLANG_TOKENS: Final = r"#tokens: ([\d,]+)"
_SGLANG_GRAPHS: Final = rf"Capture cuda graph end\..*?mem usage={_GIB}"
_SGLANG_FREE: Final = rf"Load weight begin\. avail mem={_GIB}"
_SGLANG_SCHEDULER: Final = r"max_total_num_tokens=(\d+).*"


def vllm(text: str) -> Reading | None:
    """vLLM V0 and V1: the last start in the log that has figures."""
    return last_reading(_starts_of_vllm(text), _vllm_start)


def sglang(text: str) -> Reading | None:
    """SGLang: the last start in the log that has figures."""
    return last_reading(
        _cut(text, [m.start() for m in re.finditer(_SGLANG_ARGS, text)]), _sglang_start
    )


def cut_starts(text: str, marker: str) -> list[str]:
    """A log cut before every line that has the marker, where it comes more than once."""
    return _cut(text, [found.start() for found in re.finditer(marker, text)])


def _cut(text: str, places: Sequence[int]) -> list[str]:
    """The text from each place's line to the next; whole where there is one place or none."""
    if len(places) < 2:
        return [text]
    lines = [text.rfind("\n", 0, place) + 1 for place in places]
    return [text[a:b] for a, b in zip(lines, [*lines[1:], len(text)], strict=True)]


def last_reading(starts: Sequence[str], read: Callable[[str], Reading | None]) -> Reading | None:
    """The reading of the last start with figures, and a note where there were others."""
    readings = [reading for start in starts if (reading := read(start)) is not None]
    told = [reading for reading in readings if reading.has_figures]
    if not told:
        return readings[-1] if readings else None
    last = told[-1]
    if len(starts) == 1:
        return last
    which = "the last" if last is readings[-1] else "the last with memory figures"
    note = f"{len(starts)} starts in this log; {which} is read"
    return Reading(last.tool, last.values, last.engine, last.free_gib, (note, *last.notes))


def _starts_of_vllm(text: str) -> list[str]:
    """A start begins with the server's version, or with the engine where there is no server.

    Engines of data-parallel ranks begin together: a new start is where one of them comes again.
    """
    servers = [found.start() for found in re.finditer(_VLLM_SERVER, text)]
    places: list[int] = []
    seen: set[str] = set()
    for found in re.finditer(_VLLM_INIT, text):
        name = found.group(1) or ""
        if name in seen or not seen:
            before = [place for place in servers if place < found.start()]
            begun = before[-1] if before and before[-1] > (places or [-1])[-1] else found.start()
            places.append(begun)
            seen = set()
        seen.add(name)
    return _cut(text, places or servers)


def _number(text: str) -> float:
    number = float(text.replace(",", ""))
    return int(number) if number.is_integer() and "." not in text else number


def _vllm_start(text: str) -> Reading | None:
    values: Values = {}
    for name, pattern in _VLLM_FIGURES:
        found = [_number(item) for item in re.findall(pattern, text)]
        if found and name not in values:
            values[name] = min(found) if name in _SMALLEST else max(found)
    values |= _vllm_settings(text, values)
    blocks = [int(count) for count in re.findall(_VLLM_BLOCKS, text)]
    if blocks and "kv_cache_tokens" not in values:
        tokens = float(values.get("block_size", _VLLM_BLOCK_TOKENS))
        values["kv_cache_tokens"] = min(blocks) * tokens
    if not values:
        return None
    told = run_notes(text, values)
    if told.of_run:
        values["notes"] = "; ".join(told.of_run)
    return Reading("vLLM log", values, "vllm", notes=told.for_user)


def _vllm_settings(text: str, known: Values) -> Values:
    """What the server's arguments and the engine's config line say; the config is resolved."""
    values: Values = {}
    arguments = re.search(_VLLM_ARGS, text)
    if arguments:
        values |= _settings(arguments.group(1), _ARGUMENT_SETTINGS)
    config = re.search(_VLLM_CONFIG, text)
    if config:
        line = config.group(1)
        values |= _settings(line, _CONFIG_SETTINGS) | _texts(line, "model", "enforce_eager")
        values |= _weight_format(setting(line, "quantization"), setting(line, "dtype"))
    version = re.search(_VLLM_VERSION, text) or re.search(_VLLM_SERVER, text)
    if version:
        values["engine_version"] = version.group(1)
    return {name: value for name, value in values.items() if name not in known}


def _texts(line: str, model_key: str, eager_key: str) -> Values:
    """The model, the cache's type and whether graphs are off, under an engine's own keys."""
    values: Values = {}
    model = setting(line, model_key)
    if model:
        values["model"] = _repository(model)
    cache = setting(line, "kv_cache_dtype")
    if cache and cache != "auto":
        values["kv_cache_dtype"] = cache
    if setting(line, eager_key) == "True":
        values["enforce_eager"] = "true"
    return values


def _weight_format(quantisation: str | None, dtype: str | None) -> Values:
    if quantisation not in (None, "None"):
        known = _QUANTISED.get(str(quantisation))
        return {"weight_format": known} if known else {}
    plain = _DTYPES.get((dtype or "").removeprefix("torch."))
    return {"weight_format": plain} if plain and quantisation == "None" else {}


def _settings(line: str, keys: Mapping[str, str]) -> Values:
    """Number settings by column; those at `None` or below 1 of a count are left to the engine."""
    values: Values = {}
    for key, column in keys.items():
        value = setting(line, key)
        if value and re.fullmatch(r"\d+(\.\d+)?", value) and float(value) > 0:
            values[column] = _number(value)
    return values


def _repository(path: str) -> str:
    """`org/name` out of a folder of the hub's cache; any other name or path as it is."""
    cached = re.search(r"models--([^/]+?)--([^/]+)", path)
    return f"{cached.group(1)}/{cached.group(2)}" if cached else path


def _sglang_start(text: str) -> Reading | None:
    ranks: dict[str, list[str]] = {}
    for line in text.splitlines():
        rank = re.search(_SGLANG_RANK, line)
        ranks.setdefault(rank.group(1) if rank else "", []).append(line)
    weights = [_sizes(lines, _SGLANG_WEIGHTS) for lines in ranks.values()]
    pools = [_pool(lines) for lines in ranks.values()]
    values: Values = {}
    notes = []
    loaded = [sizes for sizes in weights if sizes]
    if loaded:
        values["weights_gib"] = max(sizes[0] for sizes in loaded)
        drafts = max((sum(sizes[1:]) for sizes in loaded), default=0.0)
        if drafts:
            notes.append(f"a second model of {drafts:.2f} GiB (a draft) is not in weights_gib")
    held = [size for size, _ in pools if size is not None]
    tokens = [count for _, count in pools if count is not None]
    if held:
        values["kv_cache_gib"] = min(held)
    scheduler = re.findall(_SGLANG_SCHEDULER, text)
    if scheduler or tokens:
        values["kv_cache_tokens"] = min(int(n) for n in scheduler) if scheduler else min(tokens)
    graphs = _sizes(text.splitlines(), _SGLANG_GRAPHS)
    if graphs:
        values["cuda_graph_gib"] = max(graphs)
    free = _sizes(text.splitlines(), _SGLANG_FREE)
    values |= _sglang_settings(text)
    if not values:
        return None
    return Reading("SGLang log", values, "sglang", max(free) if free else None, tuple(notes))


def _sizes(lines: Iterable[str], pattern: str) -> list[float]:
    return [float(size) for line in lines for size in re.findall(pattern, line)]


def _pool(lines: Iterable[str]) -> tuple[float | None, int | None]:
    """GiB and tokens of one rank's pools: full and sliding layers, and a draft's, each have one."""
    allocated = [line for line in lines if _SGLANG_POOL in line]
    sizes = _sizes(allocated, _SGLANG_SIDES)
    tokens = [
        int(n.replace(",", "")) for line in allocated for n in re.findall(_SGLANG_TOKENS, line)
    ]
    return sum(sizes) if sizes else None, max(tokens) if tokens else None


def _sglang_settings(text: str) -> Values:
    found = re.search(_SGLANG_ARGS, text)
    values: Values = {}
    if found:
        line = found.group(1)
        values |= _settings(line, _SERVER_SETTINGS)
        values |= _texts(line, "model_path", "disable_cuda_graph")
        values |= _weight_format(setting(line, "quantization"), None)
    scheduler = re.search(_SGLANG_SCHEDULER, text)
    if scheduler:
        values |= _settings(scheduler.group(0), _SCHEDULER_SETTINGS)
    return values
