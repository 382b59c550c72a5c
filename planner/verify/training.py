"""Measured fine-tuning runs as cells, and the estimates beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from planner.estimate.training import estimate_training
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_GIB

METRICS: Final[Mapping[str, str]] = {
    "allocated": "allocated",
    "reserved": "reserved",
    "process": "process",
    "device": "process",
}
"""Metric of a measured row -> the total of the estimator that it is compared with."""

WITHOUT_CACHE: Final = ("vramcalc",)
"""Sources whose process figure is the allocated bytes plus the context, without cached blocks."""

PRESETS: Final[Mapping[str, str]] = {
    "canifinetune": "hf-trainer",
    "fitcheck": "torch-loop",
    "fms": "fms",
    "fsdp_qlora": "fsdp-qlora",
    "hf-trainer": "hf-trainer",
    "litgpt": "litgpt",
    "ms-swift": "ms-swift",
    "torchtitan": "torchtitan",
    "torchtune": "torchtune",
    "vramcalc": "torch-loop",
}
"""Value of the measured `framework` column -> preset of the frameworks catalog."""

FORMATS: Final[Mapping[str, str]] = {
    "gptq-int4": "gptq-int4-per-channel",
    "gptq-int8": "gptq-int8-g128",
}
"""Formats whose group size was not printed -> the nearest format of the catalog."""


def cells_from_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """One training cell for each measured row, with its `id`, `metric` and `measured_gib`.

    `rows` has the columns of the measured-runs format (see docs/training.md); an empty value stays
    null and takes the preset's default.
    """
    layout = pl.col("parallelism").fill_null("none")
    cut = layout.str.extract(r"\+(?:tp|cp)(\d+)", 1).cast(pl.Int64)
    tp = pl.when(layout.str.contains(r"\+tp")).then(cut).otherwise(1)
    cp = pl.when(layout.str.contains(r"\+cp")).then(cut).otherwise(1)
    scheme = layout.str.split("+").list.first()
    return rows.with_columns(
        case_id=pl.col("id").cast(pl.String),
        workload=pl.lit("measured"),
        weight_format=_weight_format(),
        source_framework=pl.col("framework"),
        framework=pl.col("framework").replace_strict(dict(PRESETS), default=pl.col("framework")),
        lora_targets=pl.when(pl.col("method") == "full").then(None).otherwise("lora_targets"),
        tensor_parallel_size=tp,
        context_parallel_size=cp,
        data_parallel_size=pl.col("gpu_count") // (tp * cp),
        sharding=scheme,
        optimizer_in_backward=_switch("optimizer_in_backward"),
        torch_compile=_switch("torch_compile"),
        kbit_upcast=_switch("kbit_upcast"),
    ).drop("master_weights", strict=False)


def _switch(column: str) -> pl.Expr:
    """true, false or null, of a column that is text or boolean."""
    return pl.col(column).cast(pl.String).str.to_lowercase() == "true"


def _weight_format() -> pl.Expr:
    """Catalog id of the printed format; fms' bitsandbytes plugin always quantises doubly."""
    named = pl.col("weight_format").replace(dict(FORMATS))
    double = (pl.col("framework") == "fms") & (named == "nf4")
    return pl.when(double).then(pl.lit("nf4-dq")).otherwise(named)


def estimates(cells: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """Cells with the estimate of the measured quantity.

    Adds `estimated_low_gib`, `estimated_gib`, `estimated_high_gib`, `error` (estimate over
    measurement, minus one), `inside` (the measurement lies in the range) and the reasons.
    """
    frame = estimate_training(cells.lazy(), tables).collect(engine="in-memory")
    return frame.with_columns(
        estimated_gib=_picked("{}_bytes"),
        estimated_low_gib=_picked("{}_low_bytes"),
        estimated_high_gib=_picked("{}_high_bytes"),
    ).with_columns(
        error=pl.col("estimated_gib") / pl.col("measured_gib") - 1,
        inside=pl.col("measured_gib").is_between("estimated_low_gib", "estimated_high_gib"),
    )


def _picked(pattern: str) -> pl.Expr:
    refused = pl.col("unsupported_reason").is_not_null() | pl.col("impossible_reason").is_not_null()
    bare = pl.col("source_framework").is_in(WITHOUT_CACHE) & (pl.col("metric") == "process")
    sums = pl.col(pattern.format("allocated")) + pl.col(pattern.format("cuda_context"))
    picked = [
        pl.when(~refused & (pl.col("metric") == metric)).then(pl.col(pattern.format(total)))
        for metric, total in METRICS.items()
    ]
    return pl.coalesce(pl.when(~refused & bare).then(sums), *picked) / BYTES_PER_GIB
