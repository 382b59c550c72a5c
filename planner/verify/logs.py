"""Memory figures out of the output of engines and tools, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from planner.verify.engine_logs import sglang, vllm
from planner.verify.llama_log import llama_cpp
from planner.verify.reading import Reading
from planner.verify.tools import json_tool, smi_csv, torch_stats

__all__ = ["LOOKED_FOR", "Reading", "read_output"]

LOOKED_FOR: Final = (
    "looked for lines such as 'Model loading took', 'Available KV cache memory' or '# GPU blocks'"
    " (vLLM), 'Load weight end', 'KV Cache is allocated' (SGLang), 'model buffer size',"
    " 'KV buffer size' (llama.cpp), and the output of nvidia-smi csv, gpustat --json, nvtop -s or"
    " torch.cuda.memory_stats()"
)
"""What a text is searched for, as words for the user."""


def read_output(text: str) -> Reading | None:
    """The figures in a tool's or engine's output, or None where nothing is recognised.

    Several GPUs or processes: the fullest card's, and the smallest KV pool, which all ranks share
    the size of. Where nothing has figures, the first output that settings were read of.
    """
    readers: tuple[Callable[[str], Reading | None], ...] = (
        torch_stats,
        json_tool,
        smi_csv,
        vllm,
        sglang,
        llama_cpp,
    )
    found = [reading for reader in readers if (reading := reader(text)) and reading.values]
    return next((one for one in found if one.has_figures), found[0] if found else None)
