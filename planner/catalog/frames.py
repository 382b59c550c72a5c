"""Catalog rows as frames: units become bytes, missing values null, derived columns are filled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.catalog.usable import usable_columns
from planner.units import BYTES_PER_DECIMAL_GB, BYTES_PER_MIB

Row = Mapping[str, Any]

_GPU_TEXT: Final = (
    "interconnect",
    "form_factor",
    "gfx_target",
    "source",
    "notes",
    "evidence",
)
_GPU_RATES: Final = (
    "bf16_dense_tflops",
    "fp16_dense_tflops",
    "fp8_dense_tflops",
    "int8_dense_tops",
    "fp4_dense_tflops",
    "fp32_tflops",
)
GPU_SCHEMA: Final[dict[str, Any]] = {
    "gpu": pl.String,
    "vendor": pl.String,
    "name": pl.String,
    "architecture": pl.String,
    "memory_gb": pl.Float64,
    "usable_low_bytes": pl.Int64,
    "usable_bytes": pl.Int64,
    "usable_high_bytes": pl.Int64,
    "usable_basis": pl.String,
    "smi_total_bytes": pl.Int64,
    "memory_type": pl.String,
    "memory_bandwidth_bytes_per_second": pl.Float64,
    **dict.fromkeys(_GPU_RATES, pl.Float64),
    "interconnect": pl.String,
    "interconnect_bytes_per_second": pl.Float64,
    "max_gpus_per_node": pl.Int64,
    "tdp_w": pl.Float64,
    "compute_capability": pl.Float64,
    "gfx_target": pl.String,
    "form_factor": pl.String,
    "launch_year": pl.Int64,
    "list_price_usd": pl.Float64,
    "aliases": pl.List(pl.String),
    "source": pl.String,
    "notes": pl.String,
    "evidence": pl.String,
}
OFFER_SCHEMA: Final[dict[str, Any]] = {
    "provider": pl.String,
    "instance_type": pl.String,
    "region": pl.String,
    "gpu": pl.String,
    "offer_gpu_count": pl.Float64,
    "vcpus": pl.Float64,
    "ram_gb": pl.Float64,
    "purchase": pl.String,
    "usd_per_hour": pl.Float64,
    "price_date": pl.Date,
    "source": pl.String,
    "note": pl.String,
}
MIX_CLASSES: Final = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)
FORMAT_SCHEMA: Final[dict[str, Any]] = {
    "weight_format": pl.String,
    "title": pl.String,
    "family": pl.String,
    "bits_per_weight": pl.Float64,
    "group_size": pl.Int64,
    "scale_bits": pl.Float64,
    "zero_point_bits": pl.Float64,
    "outer_group_size": pl.Int64,
    "outer_scale_bits": pl.Float64,
    "per_channel_scale_bits": pl.Float64,
    "per_tensor_bits": pl.Float64,
    "block_bits": pl.Float64,
    "bits_per_parameter_low": pl.Float64,
    "bits_per_parameter": pl.Float64,
    "bits_per_parameter_high": pl.Float64,
    **{f"{name}_bits": pl.Float64 for name in MIX_CLASSES},
    "embedding_bits": pl.Float64,
    "lm_head_bits": pl.Float64,
    "kept_16bit_roles": pl.List(pl.String),
    "trainable_base": pl.Boolean,
    "min_compute_capability": pl.Float64,
    "compute_dtype": pl.String,
    "guide_bytes_per_parameter": pl.Float64,
    "uses": pl.String,
    "notes": pl.String,
    "aliases": pl.List(pl.String),
    "source": pl.String,
}


def gpus_frame(rows: Iterable[Row], usable_rules: Sequence[Row]) -> pl.DataFrame:
    """One row an accelerator (GPU_SCHEMA): usable memory filled, GB per second as bytes."""
    return pl.DataFrame(
        [_gpu_row(row, usable_rules) for row in rows], schema=GPU_SCHEMA, orient="row"
    )


def _gpu_row(row: Row, usable_rules: Sequence[Row]) -> dict[str, Any]:
    interconnect = row.get("interconnect_gb_per_second")
    same = ("vendor", "name", "architecture", "memory_gb", "memory_type", "compute_capability")
    figures = ("max_gpus_per_node", "tdp_w", "launch_year", "list_price_usd")
    return {
        "gpu": row["id"],
        **{name: row.get(name) for name in (*same, *figures, *_GPU_TEXT, *_GPU_RATES)},
        **usable_columns(row, usable_rules),
        "smi_total_bytes": row["smi_total_mib"] * BYTES_PER_MIB if "smi_total_mib" in row else None,
        "memory_bandwidth_bytes_per_second": row["memory_bandwidth_gb_per_second"]
        * BYTES_PER_DECIMAL_GB,
        "interconnect_bytes_per_second": interconnect * BYTES_PER_DECIMAL_GB
        if interconnect is not None
        else None,
        "aliases": list(row.get("aliases", ())),
    }


def offers_frame(rows: Iterable[Row]) -> pl.DataFrame:
    """One row a price (OFFER_SCHEMA). `price_date` is null where the source carries no date."""
    text = {**OFFER_SCHEMA, "price_date": pl.String}
    shaped = [
        {**{name: row.get(name) for name in text}, "offer_gpu_count": row["gpu_count"]}
        for row in rows
    ]
    frame = pl.DataFrame(shaped, schema=text, orient="row")
    return frame.with_columns(pl.col("price_date").str.to_date("%Y-%m-%d"))


def formats_frame(rows: Iterable[Row], support_rules: Sequence[Row]) -> pl.DataFrame:
    """One row a weight format (FORMAT_SCHEMA): effective bits filled, zero where nothing is stored.

    `bits_per_parameter` holds for the quantised matrices, without what is stored per output
    channel and per tensor: `block_bits` where a format has blocks of its own, else payload bits +
    (scale + zero point) / group + outer scale / outer group; a mix has its average with a range,
    and the bits of the classes it treats apart in `attn_q_bits` ... `ffn_down_bits` (null: as
    `block_bits`).
    """
    return pl.DataFrame(
        [_format_row(row, support_rules) for row in rows], schema=FORMAT_SCHEMA, orient="row"
    )


def _format_row(row: Row, support_rules: Sequence[Row]) -> dict[str, Any]:
    block = row.get("block_bits", _group_bits(row))
    average = row.get("average_bits", {"low": block, "expected": block, "high": block})
    mix = row.get("mix_bits", {})
    zeroed = ("group_size", "scale_bits", "zero_point_bits", "outer_group_size")
    stored = ("outer_scale_bits", "per_channel_scale_bits", "per_tensor_bits")
    plain = ("title", "family", "bits_per_weight", "embedding_bits", "lm_head_bits")
    words = ("compute_dtype", "guide_bytes_per_parameter", "uses", "notes", "source")
    return {
        "weight_format": row["id"],
        **{name: row.get(name) for name in (*plain, *words)},
        **{name: row.get(name, 0) for name in (*zeroed, *stored)},
        "block_bits": block,
        "bits_per_parameter_low": average["low"],
        "bits_per_parameter": average["expected"],
        "bits_per_parameter_high": average["high"],
        **{f"{name}_bits": mix.get(name) for name in MIX_CLASSES},
        "kept_16bit_roles": list(row["kept_16bit_roles"]),
        "trainable_base": row.get("trainable_base", False),
        "min_compute_capability": _least_capability(row, support_rules),
        "aliases": list(row.get("aliases", ())),
    }


def _group_bits(row: Row) -> float:
    bits = float(row["bits_per_weight"])
    if "group_size" in row:
        bits += (row.get("scale_bits", 0) + row.get("zero_point_bits", 0)) / row["group_size"]
    if "outer_group_size" in row:
        bits += row.get("outer_scale_bits", 0) / row["outer_group_size"]
    return bits


def _least_capability(row: Row, rules: Sequence[Row]) -> float | None:
    """The least NVIDIA compute capability of a rule for the format; null where any will do."""
    needs = [
        rule.get("min_compute_capability")
        for rule in rules
        if "nvidia" in rule["vendors"]
        and (row["id"] in rule.get("formats", ()) or row["family"] in rule.get("families", ()))
    ]
    known = [float(need) for need in needs if need is not None]
    return min(known) if known and len(known) == len(needs) else None
