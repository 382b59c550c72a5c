"""What the hardware gives: bandwidth and compute after the achieved fractions."""

from __future__ import annotations

import polars as pl

_TERA = 1e12


def bits_class(group: str) -> pl.Expr:
    """`16bit`, `8bit` or `4bit`: the storage width of a group's weights, scales included."""
    bits = pl.col(f"s_{group}_bytes") * 8 / pl.col(f"s_{group}_parameters")
    return (
        pl.when(bits >= 12)
        .then(pl.lit("16bit"))
        .when(bits >= 6)
        .then(pl.lit("8bit"))
        .otherwise(pl.lit("4bit"))
    )


def _by_class(key: pl.Expr, constant: str) -> pl.Expr:
    return (
        pl.when(key == "16bit")
        .then(pl.col(f"s_{constant}_16bit"))
        .when(key == "8bit")
        .then(pl.col(f"s_{constant}_8bit"))
        .otherwise(pl.col(f"s_{constant}_4bit"))
    )


def weight_bandwidth(group: str) -> pl.Expr:
    """Bytes per second at which a group's weights are read: peak x achieved fraction."""
    peak = pl.col("s_memory_bandwidth_bytes_per_second")
    return peak * _by_class(bits_class(group), "bandwidth_fraction")


def half_flops() -> pl.Expr:
    """Peak dense FLOP/s in 16 bits."""
    return pl.coalesce("s_bf16_dense_tflops", "s_fp16_dense_tflops") * _TERA


def _native(group: str) -> pl.Expr:
    """The dtype that a group's matrix products run in; weight-only formats compute in 16 bits."""
    wanted = pl.col(f"s_{group}_compute")
    return (
        pl.when((wanted == "fp4") & pl.col("s_fp4_dense_tflops").is_not_null())
        .then(pl.lit("4bit"))
        .when((wanted == "fp8") & pl.col("s_fp8_dense_tflops").is_not_null())
        .then(pl.lit("8bit"))
        .when((wanted == "int8") & pl.col("s_int8_dense_tops").is_not_null())
        .then(pl.lit("int8"))
        .otherwise(pl.lit("16bit"))
    )


def computes_in_fp4(group: str) -> pl.Expr:
    """Whether a group's products run in 4 bits, inputs included."""
    return _native(group) == "4bit"


def matrix_flops(group: str) -> pl.Expr:
    """Peak dense FLOP/s in the dtype that a group computes in."""
    native = _native(group)
    return (
        pl.when(native == "4bit")
        .then(pl.col("s_fp4_dense_tflops") * _TERA)
        .when(native == "8bit")
        .then(pl.col("s_fp8_dense_tflops") * _TERA)
        .when(native == "int8")
        .then(pl.col("s_int8_dense_tops") * _TERA)
        .otherwise(half_flops())
    )


def prefill_flops(group: str) -> pl.Expr:
    """Achieved FLOP/s of large matrix products, by the dtype they run in."""
    native = _native(group).replace({"int8": "8bit"})
    return matrix_flops(group) * _by_class(native, "compute_fraction")
