"""Buying: which instances hold the replicas of a cell, and how many of them are paid."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.resolve.tables import Tables
from planner.units import BYTES_PER_DECIMAL_GB, BYTES_PER_GIB

_WANTED: Final = ("gpu", "gpu_count", "nodes", "replicas", "host_ram_gb")
_OFFER: Final = (
    "provider",
    "region",
    "instance_type",
    "offer_gpu_count",
    "purchase",
    "price_date",
    "instances",
    "usd_per_hour",
    "purchase_usd",
    "running_usd_per_hour",
)
_OPTIONAL_SHAPE: Final = {
    "ram_gb": pl.Float64,
    "machines": pl.Int64,
    "purchase_usd": pl.Float64,
    "running_usd_per_hour": pl.Float64,
}
_TRAINED_BYTES: Final = 16
_FROZEN_BYTES: Final = 2


def with_host_needs(cells: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
    """Add `host_ram_gb`: host memory of one replica that offloading takes; 0 without.

    Serving: `cpu_offload_gib` of each GPU. Training with `offload: cpu`: 16 bytes a trained
    parameter (fp32 master, two moments, gradient) and 2 a frozen one; `nvme` keeps them on disk.
    Source: DeepSpeed, "Memory requirements" (ZeRO-Offload estimators), without its buffer factor.
    """
    present = cells.collect_schema().names()

    def given(name: str, kind: type[pl.DataType]) -> pl.Expr:
        return pl.col(name) if name in present else pl.lit(None, kind)

    sizes = tables.models.select("model", _parameters=pl.col("parameters").cast(pl.Float64))
    serving = given("cpu_offload_gib", pl.Float64) * pl.col("gpu_count") * BYTES_PER_GIB
    adapters = given("adapter_parameters", pl.Int64).cast(pl.Float64)
    full = pl.col("method") == "full"
    training = (
        pl.when(full)
        .then(pl.col("_parameters") * _TRAINED_BYTES)
        .otherwise(adapters * _TRAINED_BYTES + pl.col("_parameters") * _FROZEN_BYTES)
    )
    needed = (
        pl.when(pl.col("method") == "inference")
        .then(serving)
        .when(given("offload", pl.String) == "cpu")
        .then(training)
    )
    return (
        cells.join(sizes, on="model", how="left", maintain_order="left")
        .with_columns(host_ram_gb=needed.fill_null(0.0) / BYTES_PER_DECIMAL_GB)
        .drop("_parameters")
    )


def with_offers(cells: pl.LazyFrame, shapes: pl.LazyFrame, *, any_provider: bool) -> pl.LazyFrame:
    """Join to each cell the cheapest way to buy it, one row per provider and way of buying.

    Needs gpu, gpu_count, nodes, replicas and, where it matters, host_ram_gb. With `any_provider`
    one row per way of buying: the cheapest provider. Whole instances are paid: `instances` x the
    instance's price. Adds the offer's columns and `price_state`: `priced`, `no-offer` (the GPU is
    sold, but no shape holds the count and the host memory) or `unpriced` (the GPU is not sold
    here at all).
    """
    if "host_ram_gb" not in cells.collect_schema().names():
        cells = cells.with_columns(host_ram_gb=pl.lit(0.0))
    have = shapes.collect_schema().names()
    shapes = shapes.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in _OPTIONAL_SHAPE.items() if name not in have
    )
    wanted = cells.select(_WANTED).unique()
    sold = shapes.select("gpu").unique().with_columns(_sold=pl.lit(True))
    by = ["purchase"] if any_provider else ["provider", "purchase"]
    bought = (
        wanted.join(shapes, on="gpu", how="inner")
        .with_columns(instances=instances())
        .filter(_holds())
        .with_columns(usd_per_hour=pl.col("instances") * pl.col("instance_usd_per_hour"))
        .sort([*_WANTED, "usd_per_hour", "offer_gpu_count", "provider", "instance_type"])
        .unique([*_WANTED, *by], keep="first", maintain_order=True)
        .select(*_WANTED, *_OFFER)
    )
    state = (
        pl.when(pl.col("usd_per_hour").is_not_null())
        .then(pl.lit("priced"))
        .when(pl.col("_sold").fill_null(False))
        .then(pl.lit("no-offer"))
        .otherwise(pl.lit("unpriced"))
    )
    return (
        cells.join(bought, on=list(_WANTED), how="left", maintain_order="left")
        .join(sold, on="gpu", how="left", maintain_order="left")
        .with_columns(price_state=state)
        .drop("_sold")
    )


def instances() -> pl.Expr:
    """Instances that hold all replicas; null where the shape can't hold one.

    Several replicas share an instance as far as they fit whole, in GPUs and in host memory; a
    replica that spans nodes takes that many full instances.
    """
    held = pl.col("offer_gpu_count") // pl.col("gpu_count")
    needed = pl.col("host_ram_gb")
    by_memory = pl.when(needed > 0).then((pl.col("ram_gb") / needed).floor())
    shared = pl.min_horizontal(held.cast(pl.Float64), by_memory)
    spanned = (pl.col("gpu_count") / pl.col("offer_gpu_count")).ceil()
    return (
        pl.when((held >= 1) & (pl.col("nodes") == 1))
        .then((pl.col("replicas") / pl.when(shared >= 1).then(shared)).ceil())
        .when((held < 1) & (spanned == pl.col("nodes")))
        .then(pl.col("replicas") * spanned)
        .cast(pl.Int64)
    )


def _holds() -> pl.Expr:
    """Enough GPUs, host memory (a need that no figure answers is not met) and machines."""
    share = pl.col("host_ram_gb") / pl.col("nodes")
    memory = (pl.col("host_ram_gb") == 0) | (pl.col("ram_gb") >= share).fill_null(False)
    enough = pl.col("machines").is_null() | (pl.col("instances") <= pl.col("machines"))
    return pl.col("instances").is_not_null() & memory & enough
