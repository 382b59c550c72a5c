"""How Accelerate's `device_map="auto"` splits a decoder over GPUs, CPU and disk.

Whole layers go to the first device with room, in order, and no device is taken up again. GPU 0
and the CPU keep room for the largest part still to place; with `balanced` budgets every GPU but
the last gets an even share and a buffer. Follows accelerate 1.15 `get_balanced_memory` and
`infer_auto_device_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from planner.resolve.facts import ModelFacts, Tensor

CPU: Final = "cpu"
DISK: Final = "disk"
_BUFFER: Final = 1.25


@dataclass(frozen=True, slots=True)
class Part:
    """A module that stays whole: an embedding, a decoder layer, a norm, a head.

    `beside` names the part whose storage a tied head shares: it goes to the same device.
    """

    name: str
    size_bytes: int
    beside: str = ""


def decoder_parts(facts: ModelFacts, bytes_per_element: float = 2.0) -> list[Part]:
    """Parts of a decoder in module order; a tied head takes no room beside the embedding."""
    before: dict[str, float] = {}
    layers = [0.0] * facts.num_hidden_layers
    after: dict[str, float] = {}
    for tensor in facts.tensors:
        size = 0.0 if tensor.tied else tensor.numel * bytes_per_element
        if tensor.layers:
            for layer in tensor.layers:
                layers[layer] += size
            continue
        side = after if tensor.role in ("norm", "lm_head") else before
        name = tensor.name.removesuffix(".weight").removesuffix(".bias")
        side[name] = side.get(name, 0.0) + size * tensor.copies
    stack = [Part(f"layers.{index}", int(size)) for index, size in enumerate(layers)]
    ordered = sorted(after.items(), key=lambda item: "head" in item[0])
    return [
        *(Part(name, int(size)) for name, size in before.items()),
        *stack,
        *(Part(name, int(size), "" if size else next(iter(before))) for name, size in ordered),
    ]


def balanced_budgets(
    facts: ModelFacts, gpu_bytes: Sequence[int], bytes_per_element: float = 2.0
) -> list[int]:
    """Room each GPU may use so that all hold about the same; the last keeps all of its own."""
    parts = decoder_parts(facts, bytes_per_element)
    count = len(gpu_bytes)
    if count < 2:
        return list(gpu_bytes)
    layers = [part.size_bytes for part in parts if part.name.startswith("layers.")]
    total = sum(part.size_bytes for part in parts)
    mean_leaf = total / max(_leaf_modules(facts.tensors), 1)
    share = total // count + int(_BUFFER * max(layers[0] if layers else 0, int(mean_leaf)))
    return [*(min(share, size) for size in gpu_bytes[:-1]), gpu_bytes[-1]]


def _leaf_modules(tensors: Sequence[Tensor]) -> int:
    """Modules that hold parameters themselves."""
    modules = {
        (tensor.module, tensor.layers): tensor.count for tensor in tensors if not tensor.tied
    }
    return sum(modules.values())


def auto_device_map(
    parts: Sequence[Part], gpu_bytes: Sequence[int], cpu_bytes: int
) -> dict[str, str]:
    """Device of every part: `0`, `1`, ..., `cpu` or `disk`.

    Args:
        parts: in module order.
        gpu_bytes: room on each GPU, as balanced_budgets gives it or as the user says.
        cpu_bytes: room in the memory of the host.
    """
    devices: list[tuple[str, float]] = [(str(i), size) for i, size in enumerate(gpu_bytes)]
    devices += [(CPU, cpu_bytes), (DISK, float("inf"))]
    keepers = {"0", CPU} if gpu_bytes else {CPU}
    placed: dict[str, str] = {}
    at, used = 0, 0
    for index, part in enumerate(parts):
        if part.beside:
            placed[part.name] = placed[part.beside]
            continue
        largest = max((later.size_bytes for later in parts[index + 1 :]), default=0)
        while True:
            name, room = devices[at]
            if used + part.size_bytes <= room - (largest if name in keepers else 0):
                break
            at, used = at + 1, 0
        placed[part.name] = name
        used += part.size_bytes
    return placed
