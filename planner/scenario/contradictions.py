"""Values that can't work together, named once for errors (fixed) and for cells (in a sweep)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from planner.scenario.model import Workload

FLOAT_FORMATS: Final = ("fp32", "bf16", "fp16")
_KBIT_BASE_HINT: Final = "use nf4-dq, nf4 or int8-bnb, or method: lora for a 16-bit base"


def fixed_contradictions(workload: Workload) -> Iterator[tuple[str, str, str]]:
    """(axis, message, hint) for every contradiction between fixed values of a workload."""
    fixed = workload.fixed
    weight_format = fixed.get("weight_format")
    methods = workload.methods if "method" in fixed else ()
    if weight_format in FLOAT_FORMATS and methods == ("qlora",):
        yield (
            "weight_format",
            f"qlora trains adapters on a quantised base, and {weight_format} is none",
            _KBIT_BASE_HINT,
        )
    if (
        methods == ("full",)
        and weight_format
        and weight_format not in (*FLOAT_FORMATS, "checkpoint")
    ):
        yield (
            "weight_format",
            f"full fine-tuning changes the weights and can't train {weight_format}",
            "use bf16, fp16 or fp32, or method: qlora",
        )
    if fixed.get("optimizer_in_backward") is True:
        steps = fixed.get("gradient_accumulation_steps", 1)
        if isinstance(steps, int) and steps > 1:
            yield (
                "optimizer_in_backward",
                "the optimizer in the backward pass frees each gradient, so gradients can't be "
                f"accumulated over {steps} steps",
                "set gradient_accumulation_steps: 1",
            )
    in_flight, limit = fixed.get("concurrent_sequences"), fixed.get("max_num_seqs")
    if isinstance(in_flight, int) and isinstance(limit, int) and in_flight > limit:
        yield (
            "concurrent_sequences",
            f"{in_flight} sequences in flight are above max_num_seqs {limit}",
            "raise max_num_seqs",
        )
