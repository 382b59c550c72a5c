"""From the bytes torch hands out to what the card shows: cache, workspaces, context.

Allocated is what tensors occupy; reserved adds the caching allocator's unused blocks; a process
adds the CUDA context with its libraries, and NCCL where there are several GPUs. All constants come
with low and high from the `frameworks` table (fitted: see its source fields).
"""

from __future__ import annotations

import polars as pl

from planner.estimate.ledger import three

MIB = float(1 << 20)


def reserve_columns() -> list[pl.Expr]:
    """`allocator_reserve`: blocks cached beyond the peak of the tensors.

    A share of what comes and goes (activations, logits, gathered layers), because only blocks that
    are freed and asked for again in other sizes fragment.
    """
    moving = (
        pl.col("activations_bytes")
        + pl.col("logits_bytes")
        + pl.col("peak_step_bytes")
        + pl.col("peak_gathered_bytes")
    )
    return three(
        "allocator_reserve",
        moving * pl.col("reserve_share"),
        moving * pl.col("reserve_share_low"),
        moving * pl.col("reserve_share_high"),
    )


def context_columns() -> list[pl.Expr]:
    """`cuda_context`: driver, kernels and libraries of one process."""
    several = pl.when(pl.col("gpu_count") > 1).then(1.0).otherwise(0.0)
    nccl, nccl_high = pl.col("nccl_mib") * several, pl.col("nccl_mib_high") * several
    return three(
        "cuda_context",
        (pl.col("context_mib") + nccl) * MIB,
        pl.col("context_mib_low") * MIB,
        (pl.col("context_mib_high") + nccl_high) * MIB,
    )


def workspace() -> pl.Expr:
    """cuBLAS workspaces, allocated through torch: one for the forward and one for autograd's thread.

    8.125 MiB each, 32 MiB on Hopper. Source: getChosenWorkspaceSize of torch.
    """
    hopper = pl.col("compute_capability").is_between(9.0, 9.9)
    each = pl.when(hopper).then(32.0).otherwise(8.125)
    return pl.col("gemm_workspaces") * each * MIB
