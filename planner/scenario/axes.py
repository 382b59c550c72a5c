"""The axes of the grid: which methods each one means something to, and its default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

TRAINING_METHODS: Final = ("full", "lora", "dora", "qlora")
ADAPTER_METHODS: Final = ("lora", "dora", "qlora")
METHODS: Final = ("inference", *TRAINING_METHODS)


@dataclass(frozen=True, slots=True)
class Axis:
    """One key that can vary.

    `methods` are those it applies to; a case of another method has no value there. `default` is
    used where the scenario is silent; None leaves the value to the estimator's own rule (an
    engine's or a framework's default), `required` has no sensible default.
    """

    name: str
    methods: tuple[str, ...]
    default: Any = None
    required: bool = False


_ALL: Final = METHODS
_SERVING: Final = ("inference",)

AXES: Final[dict[str, Axis]] = {
    axis.name: axis
    for axis in (
        Axis("method", _ALL, required=True),
        Axis("weight_format", _ALL),
        Axis("kv_cache_dtype", _SERVING, default="auto"),
        Axis("context_tokens", _SERVING, required=True),
        Axis("concurrent_sequences", _SERVING, default=1),
        Axis("max_num_seqs", _SERVING),
        Axis("max_num_batched_tokens", _SERVING),
        Axis("optimizer", TRAINING_METHODS, default="adamw"),
        Axis("sequence_tokens", TRAINING_METHODS, required=True),
        Axis("micro_batch_size", TRAINING_METHODS, default=1),
        Axis("gradient_accumulation_steps", TRAINING_METHODS, default=1),
        Axis("gradient_checkpointing", TRAINING_METHODS, default="full"),
        Axis("attention", _ALL),
        Axis("loss_kernel", TRAINING_METHODS),
        Axis("packing", TRAINING_METHODS),
        Axis("torch_compile", TRAINING_METHODS, default=False),
        Axis("lora_rank", ADAPTER_METHODS, default=16),
        Axis("compute_dtype", TRAINING_METHODS),
        Axis("optimizer_state_dtype", TRAINING_METHODS),
        Axis("master_weights_dtype", TRAINING_METHODS),
        Axis("gradient_dtype", TRAINING_METHODS),
        Axis("adapter_dtype", ADAPTER_METHODS),
        Axis("optimizer_in_backward", TRAINING_METHODS),
        Axis("offload", TRAINING_METHODS, default="none"),
    )
}

DEFAULT_WEIGHT_FORMAT: Final = {
    "inference": "checkpoint",
    "full": "bf16",
    "lora": "bf16",
    "dora": "bf16",
    "qlora": "nf4-dq",
}
CONCURRENCY_LADDER: Final = (1, 4, 16, 64, 256)
DEFAULT_ENGINE: Final = "vllm"
DEFAULT_FRAMEWORK: Final = "trl"
DEFAULT_LORA_TARGETS: Final = "all-linear"


def slug(text: str) -> str:
    """A name as a part of a case id: lower case, without spaces and slashes."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-")
