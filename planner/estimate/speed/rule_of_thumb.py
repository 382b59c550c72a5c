"""The guide's simple model of several GPUs: each added one counts 0.85 of one."""

from __future__ import annotations

from typing import Final

import polars as pl

EFFICIENCY_PER_ADDED_GPU: Final = 0.85


def scaling_efficiency(
    gpu_count: pl.Expr, efficiency: float | pl.Expr = EFFICIENCY_PER_ADDED_GPU
) -> pl.Expr:
    """Speed of `gpu_count` GPUs relative to one: `1 + efficiency x (gpu_count - 1)`.

    Source: "How to calculate GPU VRAM requirements for a large language model", ApX Machine
    Learning, 2025.
    """
    return 1.0 + efficiency * (gpu_count - 1)


def rule_of_thumb_speed(
    single_gpu_tokens_per_second: pl.Expr,
    gpu_count: pl.Expr,
    efficiency: float | pl.Expr = EFFICIENCY_PER_ADDED_GPU,
) -> pl.Expr:
    """Tokens per second of several GPUs from the speed of one, by `scaling_efficiency`."""
    return single_gpu_tokens_per_second * scaling_efficiency(gpu_count, efficiency)
