"""From the bytes torch hands out to what the card shows: cache, workspaces, context.

Allocated is what tensors occupy; reserved adds the caching allocator's unused blocks; a process
adds the CUDA context with its libraries, and NCCL where there are several GPUs. The constants come
from the `frameworks` table, with low and high; see training_allocator.yaml for their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from planner.estimate.ledger import three

MIB: Final = float(1 << 20)
CLASSES: Final = ("eager", "none", "fused", "liger", "varying")
PARTS: Final = {"loss": "loss_logits_bytes", "layer": "layer_backward_bytes", "saved": "kept_bytes"}
FULL_SHARE: Final = 0.7
"""Share of the other phases' bytes that full fine-tuning caches beside its peak (24 fms runs)."""
LEAST_SHARE: Final = 0.03
"""Cache that is left of what moves when the card is full: torch gives back unused blocks."""
LOW: Final = 0.1
LARGEST_MEASURED_SHARDS: Final = 4.0
STREAMS_HIGH: Final = 3.0
FULL_HIGH: Final = 1.0 / FULL_SHARE


def reserve_class() -> pl.Expr:
    """Which entry of training_allocator.yaml holds.

    Sequences of varying length, else eager attention, else the loss kernel.
    """
    kernel = pl.col("loss_kernel").replace({"chunked": "none"})
    steady = pl.when(pl.col("attention") == "eager").then(pl.lit("eager")).otherwise(kernel)
    return pl.when("varying_lengths").then(pl.lit("varying")).otherwise(steady)


def _by_class() -> pl.Expr:
    """Sum over the parts of share x bytes, with the shares of the cell's class."""
    return _of_class(
        {
            name: pl.sum_horizontal(
                pl.col(f"reserve_{name}_{part}") * pl.col(size) for part, size in PARTS.items()
            )
            for name in CLASSES
        }
    )


def _of_class(values: Mapping[str, pl.Expr]) -> pl.Expr:
    picked = [pl.when(reserve_class() == name).then(value) for name, value in values.items()]
    return pl.coalesce(*picked, pl.lit(0.0))


def other_phases() -> pl.Expr:
    """Bytes that full fine-tuning needs in phases other than the fullest one."""
    every = pl.sum_horizontal(
        "gradients_kept", "step_bytes", "kept_bytes", "loss_logits_bytes", "layer_backward_bytes"
    )
    return (every - moving()).clip(lower_bound=0.0)


def moving() -> pl.Expr:
    """Bytes at the peak that come and go within a step."""
    return pl.sum_horizontal(
        "peak_gradients_bytes",
        "peak_step_bytes",
        "peak_activations_bytes",
        "peak_logits_bytes",
        "peak_gathered_bytes",
    )


def streams_cache() -> pl.Expr:
    """Blocks that FSDP's communication stream can't share with the computing one.

    Measured on two and four GPUs, where it grows; held at the largest measured count beyond,
    because what a card gathers at a time does not grow with the number of shards.
    """
    doublings = pl.col("weight_shards").clip(1.0, LARGEST_MEASURED_SHARDS).log(2)
    return pl.col("fsdp_reserve_mib") * MIB * doublings


def cache_columns() -> list[pl.Expr]:
    """`cache_bytes` the allocator would hold on a roomy card, `least_cache_bytes` on a full one.

    `most_cache_bytes` is the upper end of the first.
    """
    adapted = _by_class()
    high = adapted * _of_class({name: pl.col(f"reserve_{name}_high") for name in CLASSES})
    full = pl.max_horizontal(FULL_SHARE * other_phases(), adapted)
    most_full = pl.max_horizontal(FULL_HIGH * FULL_SHARE * other_phases(), high)
    cache = pl.when("is_full").then(full).otherwise(adapted) + streams_cache()
    most = pl.when("is_full").then(most_full).otherwise(high) + STREAMS_HIGH * streams_cache()
    least = LEAST_SHARE * moving()
    return [
        cache.alias("cache_bytes"),
        least.alias("least_cache_bytes"),
        (most + least).alias("most_cache_bytes"),
    ]


def reserve_columns() -> list[pl.Expr]:
    """`allocator_reserve`, shrunk where the card would be full: torch then frees its cache."""
    cache, least = pl.col("cache_bytes"), pl.col("least_cache_bytes")
    room = pl.col("usable_bytes") - pl.col("allocated_bytes") - pl.col("cuda_context_bytes")
    spare = pl.max_horizontal(room.fill_null(float("inf")), least)
    expected = pl.min_horizontal(cache, spare)
    return three("allocator_reserve", expected, LOW * expected, pl.col("most_cache_bytes"))


def context_columns() -> list[pl.Expr]:
    """`cuda_context`: driver, kernels and libraries of one process, with NCCL on several GPUs."""
    several = (pl.col("gpu_count") > 1).cast(pl.Float64)
    nccl, nccl_high = pl.col("nccl_mib") * several, pl.col("nccl_mib_high") * several
    return three(
        "cuda_context",
        (pl.col("context_mib") + nccl) * MIB,
        pl.col("context_mib_low") * MIB,
        (pl.col("context_mib_high") + nccl_high) * MIB,
    )


def workspace() -> pl.Expr:
    """cuBLAS workspaces, allocated through torch: one for the main and one for autograd's thread.

    8.125 MiB each, 32 MiB on Hopper. Source: getChosenWorkspaceSize of torch.
    """
    each = pl.when("is_hopper").then(32.0).otherwise(8.125)
    return pl.col("gemm_workspaces") * each * MIB
