"""What the card changes: the key of the work that cells share, and the last steps per cell.

A training configuration costs the same on every card with the same kernels, so the estimator
computes once for each distinct set of inputs (`work_key`), and only the room for the allocator's
cache, the budget and the speed for each cell.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.ledger import BOUNDS, item_column, three
from planner.estimate.training import allocator, time
from planner.estimate.training.settings import INPUT_TYPES, with_inputs
from planner.resolve.tables import Tables

CARD_INPUTS: Final = (
    "gpu",
    "usable_low_bytes",
    "usable_bytes",
    "usable_high_bytes",
    "memory_headroom",
)
SETTINGS: Final = (
    "model",
    "method",
    "weight_format",
    *(name for name in INPUT_TYPES if name not in CARD_INPUTS),
)
KERNELS: Final = ("lacks_flash", "is_hopper")
CARD_FACTS: Final = (
    "compute_capability",
    "bf16_dense_tflops",
    "fp16_dense_tflops",
    "fp32_tflops",
)
FLASH_CAPABILITY: Final = 8.0
"""Compute capability from which torch's flash attention kernels run."""
HOPPER: Final = (9.0, 9.9)


def with_work_key(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Cells with every input as a typed column, their card's facts, and `work_key`."""
    capability = pl.col("compute_capability")
    return (
        with_inputs(cells)
        .join(tables.gpus.select("gpu", *CARD_FACTS), on="gpu", how="left", maintain_order="left")
        .with_columns(
            (capability < FLASH_CAPABILITY).fill_null(False).alias("lacks_flash"),
            capability.is_between(*HOPPER).fill_null(False).alias("is_hopper"),
        )
        .with_columns(work_key=pl.struct(*SETTINGS, *KERNELS).hash(seed=0))
    )


def distinct_work(keyed: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each distinct set of inputs."""
    return keyed.select("work_key", *SETTINGS, *KERNELS).unique("work_key")


def finish_cells(keyed: pl.LazyFrame, work: pl.LazyFrame) -> pl.LazyFrame:
    """Cells with the results of their work, the allocator's cache, totals, budget and speed."""
    return (
        keyed.drop(SETTINGS)
        .join(work, on="work_key", how="left", maintain_order="left")
        .with_columns(
            *allocator.reserve_columns(),
            pl.col("memory_headroom").fill_null(0.0),
            pl.col("usable_bytes").cast(pl.Float64),
        )
        .with_columns(
            *_with("reserved", "allocated", "allocator_reserve"),
            *time.speed_columns(),
            (pl.col("usable_bytes") * (1 - pl.col("memory_headroom"))).alias("budget_bytes"),
        )
        .with_columns(_with("process", "reserved", "cuda_context"))
        .with_columns(_with("total", "reserved", "cuda_context"))
    )


def _with(total: str, base: str, item: str) -> list[pl.Expr]:
    values = {
        bound: pl.col(item_column(base, bound)) + pl.col(item_column(item, bound))
        for bound in BOUNDS
    }
    return three(total, values["expected"], values["low"], values["high"])
