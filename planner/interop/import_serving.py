"""`vllm serve` command lines and SkyPilot tasks as scenarios."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from planner.interop.foreign import Foreign, Imported, foreign_yaml, refused, whole

_SHORT: Final = {"-tp": "tensor-parallel-size", "-pp": "pipeline-parallel-size",
                 "-dp": "data-parallel-size", "-q": "quantization"}  # fmt: skip
_SWITCHES: Final = frozenset({"enforce-eager", "enable-lora", "enable-expert-parallel",
                              "trust-remote-code", "enable-prefix-caching",
                              "no-enable-prefix-caching", "enable-chunked-prefill",
                              "disable-log-requests", "no-enable-log-requests",
                              "enable-auto-tool-choice", "async-scheduling",
                              "language-model-only"})  # fmt: skip
_SILENT: Final = frozenset({"host", "port", "api-key", "served-model-name", "seed", "download-dir",
                            "trust-remote-code", "enable-prefix-caching", "tokenizer",
                            "no-enable-prefix-caching", "enable-chunked-prefill", "revision",
                            "disable-log-requests", "no-enable-log-requests", "chat-template",
                            "enable-auto-tool-choice", "tool-call-parser", "reasoning-parser",
                            "uvicorn-log-level", "root-path", "load-format"})  # fmt: skip
_QUANTIZATION: Final = {"fp8": "fp8", "bitsandbytes": "nf4"}
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32",
                  "float": "fp32"}  # fmt: skip
_KV: Final = {"auto": "auto", "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8",
              "bfloat16": "bf16", "float16": "fp16"}  # fmt: skip


def from_vllm(text: str, file: str, gpus: Sequence[str] = ("all",)) -> Imported:
    """The scenario of a `vllm serve` command line.

    Raises:
        InputProblems: there is no such command, or a value can't be read.
    """
    words = _command(text, file)
    found = Foreign(_settings(words, file))
    model = found.get("model", "model-tag")
    if not model:
        raise refused(file, "the command names no model")
    notes: list[str] = []
    tensor = whole(found.get("tensor-parallel-size", default=1), "--tensor-parallel-size", file)
    pipeline = whole(
        found.get("pipeline-parallel-size", default=1), "--pipeline-parallel-size", file
    )
    data = whole(found.get("data-parallel-size", default=1), "--data-parallel-size", file)
    if data > 1:
        notes.append(f"--data-parallel-size {data}: each replica is planned by itself")
    workload = _workload(found, file, notes)
    parallel: dict[str, Any] = {"tensor": tensor}
    if pipeline > 1:
        parallel["pipeline"] = pipeline
    if found.flag("enable-expert-parallel"):
        parallel["expert"] = tensor
    notes += [f"--{name} is not part of the plan" for name in found.unused(_SILENT)]
    scenario = {
        "version": 1,
        "name": f"{model} on vLLM",
        "models": [str(model)],
        "workloads": [workload],
        "supply": {"gpus": list(gpus), "gpu_counts": [tensor * pipeline], "parallel": parallel},
    }
    return Imported(scenario, notes)


def _workload(found: Foreign, file: str, notes: list[str]) -> dict[str, Any]:
    engine: dict[str, Any] = {"name": "vllm"}
    fraction = found.get("gpu-memory-utilization")
    if fraction is not None:
        engine["gpu_memory_utilization"] = _fraction(fraction, file)
    for flag, key in (("max-num-seqs", "max_num_seqs"),
                      ("max-num-batched-tokens", "max_num_batched_tokens"),
                      ("block-size", "block_size")):  # fmt: skip
        if found.get(flag) is not None:
            engine[key] = whole(found.get(flag), f"--{flag}", file)
    if found.flag("enforce-eager"):
        engine["enforce_eager"] = True
    if found.get("cpu-offload-gb") is not None:
        engine["cpu_offload_gib"] = float(found.get("cpu-offload-gb"))
    if found.flag("enable-lora"):
        engine["lora_adapters"] = whole(found.get("max-loras", default=1), "--max-loras", file)
        engine["lora_rank"] = whole(found.get("max-lora-rank", default=16), "--max-lora-rank", file)
    limits = _limits(found, file)
    if limits:
        engine["limit_mm_per_prompt"] = limits
    engine |= _drafting(found, notes)
    workload: dict[str, Any] = {"name": "serve", "method": "inference", "engine": engine}
    workload["weight_format"] = _weight_format(found, notes)
    kv = str(found.get("kv-cache-dtype", default="auto"))
    if kv not in _KV:
        raise refused(file, f"--kv-cache-dtype {kv} has no counterpart")
    workload["kv_cache_dtype"] = _KV[kv]
    if found.get("max-model-len") is not None:
        workload["context_tokens"] = whole(found.get("max-model-len"), "--max-model-len", file)
    else:
        workload["context_tokens"] = 8192
        notes.append("--max-model-len is not given: 8192 stands in for the model's own maximum")
    workload["concurrent_sequences"] = 1
    notes.append(
        "concurrent_sequences 1 is what the server needs to start; set what it must hold at once"
    )
    return workload


def _limits(found: Foreign, file: str) -> dict[str, int]:
    """Pictures and films a request may bring: `{"image": 2}`, or `image=2,video=0` of old."""
    if found.flag("language-model-only"):
        return {"image": 0, "video": 0}
    text = found.get("limit-mm-per-prompt")
    if text is None:
        return {}
    flag = "--limit-mm-per-prompt"
    try:
        given = json.loads(text)
    except ValueError:
        given = dict(part.partition("=")[::2] for part in str(text).split(","))
    if not isinstance(given, dict):
        raise refused(file, f"{flag} is '{text}', which names no kinds of input")
    known = {kind: given[kind] for kind in ("image", "video") if kind in given}
    counts = {k: v.get("count", 999) if isinstance(v, dict) else v for k, v in known.items()}
    return {kind: whole(count, flag, file) for kind, count in counts.items()}


def _drafting(found: Foreign, notes: list[str]) -> dict[str, Any]:
    """The draft model of `--speculative-config`, or the model's own heads that draft (MTP)."""
    text = found.get("speculative-config")
    if text is None:
        return {}
    try:
        given = json.loads(text)
    except (TypeError, ValueError):
        given = None
    if isinstance(given, dict):
        tokens, model, method = map(given.get, ("num_speculative_tokens", "model", "method"))
        if type(tokens) is int and tokens > 0:
            if isinstance(model, str) and "/" in model and method in (None, "draft_model"):
                return {"draft_model": model, "speculative_tokens": tokens}
            if model is None and method == "mtp":
                return {"speculative_tokens": tokens}
    notes.append("--speculative-config is not part of the plan: it names no plain draft model")
    return {}


def _weight_format(found: Foreign, notes: list[str]) -> str:
    quantization = found.get("quantization")
    dtype = str(found.get("dtype", default="auto"))
    if quantization is None:
        return _DTYPES.get(dtype, "checkpoint")
    if quantization in _QUANTIZATION:
        return _QUANTIZATION[str(quantization)]
    notes.append(f"--quantization {quantization}: the checkpoint says which format it stores")
    return "checkpoint"


def _fraction(value: Any, file: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise refused(file, f"--gpu-memory-utilization is '{value}', no number") from None


def _command(text: str, file: str) -> list[str]:
    """The words behind `vllm serve` or the module that it stands for."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            if "vllm" in line:
                raise refused(file, f"the command can't be read: {error}") from None
            continue
        for index, word in enumerate(words):
            if word.rpartition("/")[2] == "vllm" and words[index + 1 : index + 2] == ["serve"]:
                return words[index + 2 :]
            if word == "vllm.entrypoints.openai.api_server":
                return words[index + 1 :]
    raise refused(file, "there is no 'vllm serve' command in it")


def _settings(words: Sequence[str], file: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word in ("&&", "||", ";", "|", "&", ">", "2>&1"):
            break
        if not word.startswith("-"):
            settings.setdefault("model-tag", word)
            continue
        name, has_value, value = word.partition("=")
        name = _SHORT.get(name, name.lstrip("-").replace("_", "-"))
        following = words[index] if index < len(words) else None
        if has_value:
            settings[name] = value
        elif name in _SWITCHES or following is None or _is_option(following):
            settings[name] = True
        else:
            settings[name] = following
            index += 1
    return settings


def _is_option(word: str) -> bool:
    return word.startswith("--") or word in _SHORT or word in ("&&", "||", ";", "|", "&")


def accelerators(resources: Any) -> dict[str, int]:
    """Names and counts of SkyPilot's `accelerators:` in any of its spellings."""
    value = resources.get("accelerators") if isinstance(resources, Mapping) else None
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        return {str(name): int(count or 1) for name, count in value.items()}
    found: dict[str, int] = {}
    for item in value if isinstance(value, Sequence) else ():
        name, _, count = str(item).partition(":")
        digits = re.match(r"[0-9]+", count)
        found[name] = int(digits.group()) if digits else 1
    return found


def from_skypilot(text: str, file: str) -> Imported:
    """The scenario of a SkyPilot task that serves with vLLM.

    Raises:
        InputProblems: it is no task, or its `run` holds no `vllm serve`.
    """
    task = foreign_yaml(text, file)
    resources = task.get("resources")
    listed = accelerators(resources)
    run = re.sub(
        r"\$\{?SKYPILOT_NUM_GPUS_PER_NODE\}?", str(next(iter(listed.values()), 1)),
        str(task.get("run") or ""),
    )  # fmt: skip
    for name, value in (task.get("envs") or {}).items():
        run = re.sub(rf"\$\{{?{re.escape(str(name))}\b\}}?", str(value), run)
    imported = from_vllm(run, file, gpus=list(listed) or ["all"])
    supply = imported.scenario["supply"]
    wanted = supply["gpu_counts"][0]
    for name, count in listed.items():
        if count != wanted:
            imported.notes.append(
                f"the task asks for {name}:{count}, the command uses {wanted} GPUs"
            )
    if isinstance(resources, Mapping):
        cloud = resources.get("cloud") or str(resources.get("infra") or "").partition("/")[0]
        if cloud:
            supply["providers"] = [str(cloud)]
        if resources.get("use_spot"):
            supply["purchase"] = ["spot"]
    nodes = int(task.get("num_nodes") or 1)
    if nodes > 1:
        supply["parallel"]["multi_node"] = True
        imported.notes.append(f"num_nodes {nodes}: a replica may span nodes")
    if task.get("name"):
        imported.scenario["name"] = str(task["name"])
    return imported
