"""Manifests that put a launch on machines: Kubernetes, SkyPilot, dstack."""

from __future__ import annotations

import shlex
from typing import Any, Final

from planner.interop.export_serving import PORT, comments, engine_arguments
from planner.interop.export_training import training_command
from planner.interop.foreign import dump_yaml
from planner.interop.launch import Launch, refuse

IMAGES: Final = {
    "vllm": "vllm/vllm-openai",
    "sglang": "lmsysorg/sglang",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp",
}
_SKY_CLOUDS: Final = frozenset(
    [
        "aws",
        "gcp",
        "azure",
        "lambda",
        "nebius",
        "runpod",
        "vast",
        "oci",
        "fluidstack",
        "cudo",
        "paperspace",
        "do",
        "hyperbolic",
    ]
)
_DSTACK_BACKENDS: Final = frozenset(
    [
        "aws",
        "gcp",
        "azure",
        "lambda",
        "nebius",
        "runpod",
        "vastai",
        "oci",
        "cudo",
        "datacrunch",
        "cloudrift",
        "vultr",
    ]
)
_AMD: Final = ("mi",)


def kubernetes_manifest(launch: Launch) -> str:
    """A Deployment with GPU requests, one Pod a replica, and its Service.

    Raises:
        InputProblems: a training cell, or a replica that spans nodes.
    """
    if not launch.serves:
        raise refuse("kubernetes", "the case is a training run", "export it as skypilot or dstack")
    if launch.whole("nodes") > 1:
        raise refuse("kubernetes", "a replica spans nodes, which a Deployment can't say")
    words = [*engine_arguments(launch), *_listen(launch)]
    resource = "amd.com/gpu" if str(launch.get("gpu")).startswith(_AMD) else "nvidia.com/gpu"
    labels = {"app.kubernetes.io/name": launch.name}
    container: dict[str, Any] = {
        "name": launch.engine.replace(".", "-"),
        "image": image(launch),
        "command": words[:1],
        "args": words[1:],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {
            "requests": {resource: str(launch.gpu_count)},
            "limits": {resource: str(launch.gpu_count)},
        },
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
    }
    pod: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
    if launch.get("instance_type"):
        pod["nodeSelector"] = {"node.kubernetes.io/instance-type": str(launch.get("instance_type"))}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": launch.name, "labels": labels},
        "spec": {
            "replicas": launch.whole("replicas"),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": launch.name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": PORT}]},
    }
    return _head(launch) + dump_yaml(deployment, service)


def image(launch: Launch) -> str:
    """The engine's image, of the version that was estimated."""
    base = IMAGES.get(launch.engine.removeprefix("ik_"), launch.engine)
    version = launch.get("engine_version")
    if launch.engine.endswith("llama.cpp"):
        return f"{base}:server-cuda"
    if not version:
        return f"{base}:latest"
    full = str(version) if str(version).count(".") >= 2 else f"{version}.0"
    return f"{base}:v{full}"


def _listen(launch: Launch) -> list[str]:
    # The container's own network: reachable through the Service only.
    return ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104


def skypilot_task(launch: Launch, sky_name: str) -> str:
    """A SkyPilot task. `sky_name` is its name of the accelerator."""
    resources: dict[str, Any] = {"accelerators": f"{sky_name}:{_gpus_of_node(launch)}"}
    provider = str(launch.get("provider", ""))
    if provider in _SKY_CLOUDS:
        resources["cloud"] = provider
        if provider in ("aws", "gcp", "azure") and launch.get("instance_type"):
            resources["instance_type"] = str(launch.get("instance_type"))
    resources["use_spot"] = launch.get("purchase") == "spot"
    task: dict[str, Any] = {"name": launch.name, "num_nodes": launch.whole("nodes")}
    if launch.serves:
        resources["ports"] = PORT
        if launch.whole("replicas") > 1:
            task["service"] = {
                "readiness_probe": "/health",
                "replicas": launch.whole("replicas"),
            }
    task["resources"] = resources
    if launch.serves:
        task["setup"] = _install(launch)
    task["run"] = _run(launch)
    return _head(launch) + dump_yaml(task)


def dstack_configuration(launch: Launch, dstack_name: str) -> str:
    """A dstack service or task. `dstack_name` is its name of the GPU."""
    if launch.serves:
        config: dict[str, Any] = {
            "type": "service",
            "name": launch.name[:40].strip("-"),
            "image": image(launch),
            "commands": [_run(launch)],
            "port": PORT,
            "model": launch.model,
            "replicas": launch.whole("replicas"),
        }
    else:
        config = {
            "type": "task",
            "name": launch.name[:40].strip("-"),
            "nodes": launch.whole("nodes"),
            "commands": [_run(launch)],
        }
    memory = launch.get("memory_gb")
    gpu: dict[str, Any] = {"name": dstack_name, "count": _gpus_of_node(launch)}
    if memory:
        gpu["memory"] = f"{int(memory)}GB"
    config["resources"] = {"gpu": gpu}
    provider = {"vast": "vastai"}.get(str(launch.get("provider")), str(launch.get("provider")))
    if provider in _DSTACK_BACKENDS:
        config["backends"] = [provider]
    config["spot_policy"] = "spot" if launch.get("purchase") == "spot" else "on-demand"
    return _head(launch) + dump_yaml(config)


def _gpus_of_node(launch: Launch) -> int:
    return max(launch.gpu_count // launch.whole("nodes"), 1)


def _install(launch: Launch) -> str:
    version = launch.get("engine_version")
    package = {"vllm": "vllm", "sglang": "sglang[all]"}.get(launch.engine)
    if package is None:
        return "true  # the engine comes with the machine's image"
    pin = f"=={version}.*" if version and str(version).count(".") < 2 else f"=={version}"
    return f"pip install {shlex.quote(package + (pin if version else ''))}"


def _run(launch: Launch) -> str:
    if launch.serves:
        words = [*engine_arguments(launch), *_listen(launch)]
    else:
        words = training_command(launch, "config.yaml")
    return shlex.join(words)


def _head(launch: Launch) -> str:
    if launch.serves:
        return "".join(f"{line}\n" for line in comments(launch))
    return f"# {launch.gpu_count}x {launch.get('gpu')}; put the exported configs beside this file\n"
