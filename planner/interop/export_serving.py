"""Launch arguments of serving engines, with the values that the estimate used."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from planner.interop.export_drafting import (
    DRAFT_CHECKPOINT,
    DRAFT_SPELLING,
    drafts,
    llama_cpp_drafting,
    sglang_drafting,
    vllm_drafting,
)
from planner.interop.launch import Launch, need_engine, refuse

PORT: Final = 8000
_VLLM_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_VLLM_ONLINE: Final = {
    "fp8": "fp8",
    "fp8-dynamic": "fp8",
    "nf4": "bitsandbytes",
    "nf4-dq": "bitsandbytes",
    "int8-bnb": "bitsandbytes",
}
_SGLANG_ONLINE: Final = {"fp8": "fp8", "fp8-dynamic": "fp8", "nf4": "bitsandbytes"}
_KV_VLLM: Final = {"fp8": "fp8", "bf16": "bfloat16", "fp16": "float16"}
_KV_SGLANG: Final = {"fp8": "fp8_e5m2", "bf16": "bf16"}
_KV_LLAMA: Final = {"fp16": "f16", "bf16": "bf16", "fp32": "f32", "int8": "q8_0"}
_NEEDS_CHECKPOINT: Final = "# weights: the estimate is for a checkpoint in the format {}; name it"


def vllm_arguments(launch: Launch) -> list[str]:
    """`vllm serve` and its arguments.

    Raises:
        InputProblems: the cell was not estimated for vLLM, or a setting has no argument.
    """
    need_engine(launch, "vllm", "vllm")
    words = ["vllm", "serve", launch.model]
    words += _sizes(launch)
    if launch.whole("data_parallel_size") > 1:
        words += ["--data-parallel-size", str(launch.whole("data_parallel_size"))]
    if launch.whole("expert_parallel_size") > 1:
        words.append("--enable-expert-parallel")
    words += ["--max-model-len", str(launch.whole("context_tokens"))]
    words += ["--gpu-memory-utilization", _number(launch.get("gpu_memory_utilization"))]
    words += ["--max-num-seqs", str(sequences(launch))]
    words += ["--max-num-batched-tokens", str(batched(launch))]
    words += _dtype(launch, _VLLM_DTYPES, _VLLM_ONLINE)
    kv = str(launch.get("kv_cache_dtype", "auto"))
    if kv in _KV_VLLM:
        # `auto` is the model's own type, and older versions know no other name for it.
        if _KV_VLLM[kv] != launch.get("dtype"):
            words += ["--kv-cache-dtype", _KV_VLLM[kv]]
    elif kv != "auto":
        raise refuse("vllm", f"vLLM has no KV cache of {kv}")
    if launch.get("enforce_eager"):
        words.append("--enforce-eager")
    if launch.get("block_size"):
        words += ["--block-size", str(launch.whole("block_size"))]
    if launch.get("cpu_offload_gib"):
        words += ["--cpu-offload-gb", _number(launch.get("cpu_offload_gib"))]
    if _limits(launch):
        words += ["--limit-mm-per-prompt", json.dumps(_limits(launch))]
    if launch.get("lora_adapters"):
        words += ["--enable-lora", "--max-loras", str(launch.whole("lora_adapters"))]
        words += ["--max-lora-rank", str(launch.whole("lora_rank"))]
    return words + vllm_drafting(launch)


def _limits(launch: Launch) -> dict[str, int]:
    """Pictures and films a request may bring, where the scenario limits them."""
    given = {kind: launch.get(f"{kind}s_per_prompt") for kind in ("image", "video")}
    return {kind: int(limit) for kind, limit in given.items() if limit is not None}


def sglang_arguments(launch: Launch) -> list[str]:
    """`python -m sglang.launch_server` and its arguments. Raises: see vllm_arguments."""
    need_engine(launch, "sglang", "sglang")
    words = ["python", "-m", "sglang.launch_server", "--model-path", launch.model]
    words += ["--tp-size", str(launch.whole("tensor_parallel_size"))]
    if launch.whole("pipeline_parallel_size") > 1:
        words += ["--pp-size", str(launch.whole("pipeline_parallel_size"))]
    if launch.whole("data_parallel_size") > 1:
        words += ["--dp-size", str(launch.whole("data_parallel_size"))]
    if launch.whole("expert_parallel_size") > 1:
        words += ["--ep-size", str(launch.whole("expert_parallel_size"))]
    words += ["--context-length", str(launch.whole("context_tokens"))]
    words += ["--mem-fraction-static", _number(launch.get("gpu_memory_utilization"))]
    words += ["--max-running-requests", str(sequences(launch))]
    words += ["--chunked-prefill-size", str(batched(launch))]
    words += _dtype(launch, _VLLM_DTYPES, _SGLANG_ONLINE)
    kv = str(launch.get("kv_cache_dtype", "auto"))
    if kv in _KV_SGLANG and kv != "bf16":
        words += ["--kv-cache-dtype", _KV_SGLANG[kv]]
    if launch.get("enforce_eager"):
        words.append("--disable-cuda-graph")
    quantises = str(launch.get("weight_format")) in _SGLANG_ONLINE
    return words + sglang_drafting(launch, quantises=quantises)


def llama_cpp_arguments(launch: Launch) -> list[str]:
    """`llama-server` and its arguments: its context is that of all slots together."""
    need_engine(launch, "llama.cpp", "llama.cpp", "ik_llama.cpp")
    slots = launch.whole("concurrent_sequences")
    room = launch.whole("context_tokens") * slots
    words = ["llama-server", "--model", f"{launch.model.rpartition('/')[2]}.gguf"]
    words += ["--ctx-size", str(room), "--parallel", str(slots)]
    layers = launch.whole("gpu_layers", 999)  # 999 is every layer
    words += ["--n-gpu-layers", str(layers), "--batch-size", str(max(batched(launch), 1))]
    kv = str(launch.get("kv_cache_dtype", "auto"))
    if kv in _KV_LLAMA and kv != "fp16":
        words += ["--cache-type-k", _KV_LLAMA[kv], "--cache-type-v", _KV_LLAMA[kv]]
    elif kv not in ("auto", *_KV_LLAMA):
        raise refuse("llama.cpp", f"llama.cpp has no KV cache of {kv}")
    if launch.gpu_count > 1:
        row = launch.whole("tensor_parallel_size") > 1
        words += ["--split-mode", "row" if row else "layer"]
    return words + llama_cpp_drafting(launch, None if kv == "fp16" else _KV_LLAMA.get(kv))


def engine_arguments(launch: Launch) -> list[str]:
    """The launch of whichever engine the cell was estimated for.

    Raises:
        InputProblems: there is no export for that engine.
    """
    known = {
        "vllm": vllm_arguments,
        "sglang": sglang_arguments,
        "llama.cpp": llama_cpp_arguments,
        "ik_llama.cpp": llama_cpp_arguments,
    }
    if launch.engine not in known:
        raise refuse(launch.engine, f"there is no launch of {launch.engine} to export")
    return known[launch.engine](launch)


def shell(launch: Launch) -> str:
    """The command as a shell script, one argument a line."""
    words = engine_arguments(launch)
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    head = "".join(f"{comment}\n" for comment in comments(launch))
    return head + " \\\n  ".join(lines) + "\n"


def comments(launch: Launch) -> list[str]:
    """What the arguments can't say."""
    found = [
        f"# {launch.gpu_count}x {launch.get('gpu')}: one of {launch.whole('replicas')} replicas"
    ]
    weight_format = str(launch.get("weight_format"))
    plain = {*_VLLM_DTYPES, *_VLLM_ONLINE, "checkpoint"}
    if launch.engine == "sglang":
        plain = {*_VLLM_DTYPES, *_SGLANG_ONLINE, "checkpoint"}
    if weight_format not in plain or launch.engine.endswith("llama.cpp"):
        found.append(_NEEDS_CHECKPOINT.format(weight_format))
    if launch.engine.endswith("llama.cpp") and drafts(launch):
        found += [DRAFT_CHECKPOINT, DRAFT_SPELLING]
    return found


def sequences(launch: Launch) -> int:
    """Sequences in a batch: as given, else what the estimate took from the engine's version."""
    return int(launch.get("max_num_seqs") or launch.get("step_sequences") or 1)


def batched(launch: Launch) -> int:
    """Tokens of a prefill step: as given, else what the estimate took."""
    given = launch.get("max_num_batched_tokens") or launch.get("batched_tokens")
    return int(given or launch.get("step_tokens") or 1)


def _sizes(launch: Launch) -> list[str]:
    words = ["--tensor-parallel-size", str(launch.whole("tensor_parallel_size"))]
    if launch.whole("pipeline_parallel_size") > 1:
        words += ["--pipeline-parallel-size", str(launch.whole("pipeline_parallel_size"))]
    return words


def _dtype(launch: Launch, dtypes: dict[str, str], online: dict[str, str]) -> list[str]:
    weight_format = str(launch.get("weight_format"))
    if weight_format in dtypes:
        return ["--dtype", dtypes[weight_format]]
    if weight_format in online:
        return ["--quantization", online[weight_format]]
    return []


def _number(value: Any) -> str:
    return f"{float(value):g}"
