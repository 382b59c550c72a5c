"""Speed of fine-tuning: tokens per second from FLOPs and a range of model-FLOPs utilisation.

The utilisation ranges are published figures (see the frameworks catalog), not measured by the
planner's own checks: the result is uncalibrated, and its range says so.
"""

from __future__ import annotations

from typing import Final

import polars as pl

TERA: Final = 1e12
FORWARD_FLOPS: Final = 2.0
"""FLOPs of the forward pass for each parameter and token: a multiplication and an addition."""
BACKWARD_INPUTS: Final = 2.0
BACKWARD_WEIGHTS: Final = 2.0
ADDED_GPU: Final = 0.95
"""Share of a GPU's speed that each doubling of the GPUs keeps on one node."""


def flops_per_token() -> pl.Expr:
    """FLOPs of one training step for each token, over the whole model.

    2 N forward, 2 N for the gradients of the inputs, and 2 N for those of the weights where the
    base trains (N: parameters a token meets, without the embedding lookup); full checkpointing
    adds a second forward pass, the selective kind a third of one. Attention adds 4 x sequence x
    width per layer forward, causal. Source: Kaplan et al. 2020, PaLM appendix B (Chowdhery et
    al. 2022).
    """
    return weight_flops() + attention_flops()


def passes() -> pl.Expr:
    """Forward passes that a step is worth: forward, recomputation, backward of the inputs."""
    again = pl.col("gradient_checkpointing").replace_strict(
        {"full": 1.0, "selective": 1.0 / 3.0}, default=0.0, return_dtype=pl.Float64
    )
    return 2.0 + again


def weight_flops() -> pl.Expr:
    """FLOPs of the linears for one token."""
    trained = pl.when("is_full").then(BACKWARD_WEIGHTS).otherwise(0.0)
    met = (pl.col("active_parameters") - pl.col("lookup_parameters")).cast(pl.Float64)
    return met * (FORWARD_FLOPS * passes() + trained)


def attention_flops() -> pl.Expr:
    """FLOPs of scores and weighted values for one token, half of the square being masked."""
    width = pl.col("attention_width_sum").fill_null(0.0)
    forward = 2.0 * FORWARD_FLOPS * width * pl.col("sequence_tokens") / 2.0
    return forward * (passes() + 1.0)


def peak_flops() -> pl.Expr:
    """Dense peak of one GPU in the compute dtype, FLOP/s; null where the card lacks it."""
    fp32 = pl.col("compute_dtype") == "fp32"
    half = pl.when("half_precision").then("fp16_dense_tflops").otherwise("bf16_dense_tflops")
    single = pl.coalesce("fp32_tflops", pl.lit(None, dtype=pl.Float64))
    return TERA * pl.when(fp32).then(single).otherwise(pl.coalesce(half, "fp16_dense_tflops"))


def work_columns() -> list[pl.Expr]:
    """What speed needs beside the card: `flops_per_token` and the utilisation of the layout.

    Utilisation: the preset's range, less for every doubling of the GPUs, less by the share that
    dequantising a k-bit base takes (`kbit_speed`), half at the low end where memory is offloaded.
    """
    scaling = ADDED_GPU ** pl.col("gpu_count").cast(pl.Float64).log(2)
    kbit = pl.when("is_kbit").then("kbit_speed").otherwise(1.0)
    share = scaling * kbit
    offloaded = pl.when(pl.col("offload") == "none").then(1.0).otherwise(0.5)
    return [
        flops_per_token().alias("flops_per_token"),
        (pl.col("mfu_low") * share * offloaded).alias("utilisation_low"),
        (pl.col("mfu") * share * offloaded).alias("utilisation"),
        (pl.col("mfu_high") * share).alias("utilisation_high"),
    ]


def speed_columns() -> list[pl.Expr]:
    """`tokens_per_second_low`, `tokens_per_second` and `tokens_per_second_high` of the layout.

    Utilisation x peak x GPUs over the FLOPs of a token.
    """
    whole = peak_flops() * pl.col("gpu_count") / pl.col("flops_per_token")
    return [
        (whole * pl.col(f"utilisation{bound}")).alias(f"tokens_per_second{bound}")
        for bound in ("_low", "", "_high")
    ]
