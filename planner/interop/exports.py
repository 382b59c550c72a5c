"""The list of exports: target -> one file's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from planner.interop.export_cluster import (
    dstack_configuration,
    kubernetes_manifest,
    skypilot_task,
)
from planner.interop.export_serving import (
    llama_cpp_arguments,
    sglang_arguments,
    shell,
    vllm_arguments,
)
from planner.interop.export_training import (
    accelerate_config,
    deepspeed_config,
    torchtune_script,
    trl_config,
)
from planner.interop.launch import Launch


def _checked(
    arguments: Callable[[Launch], list[str]],
) -> Callable[[Launch], str]:
    def write(launch: Launch) -> str:
        arguments(launch)  # refuses a cell of another engine
        return shell(launch)

    return write


def _sky(launch: Launch) -> str:
    return skypilot_task(launch, str(launch.get("skypilot_name") or launch.get("gpu")))


def _dstack(launch: Launch) -> str:
    return dstack_configuration(launch, str(launch.get("dstack_name") or launch.get("gpu")))


EXPORTS: Final[Mapping[str, Callable[[Launch], str]]] = {
    "vllm": _checked(vllm_arguments),
    "sglang": _checked(sglang_arguments),
    "llama.cpp": _checked(llama_cpp_arguments),
    "trl": trl_config,
    "accelerate": accelerate_config,
    "deepspeed": deepspeed_config,
    "torchtune": torchtune_script,
    "kubernetes": kubernetes_manifest,
    "skypilot": _sky,
    "dstack": _dstack,
}


def default_target(launch: Launch) -> str:
    """The engine's own launch, or the framework's own config."""
    if launch.serves:
        return launch.engine.removeprefix("ik_")
    return "torchtune" if launch.engine == "torchtune" else "trl"
