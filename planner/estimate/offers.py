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
    "offer_vcpus",
    "offer_ram_gb",
)
_SAME_PRICE: Final = 1e-9
_OPTIONAL_SHAPE: Final = {
    "vcpus": pl.Float64,
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
    one row per way of buying: the cheapest provider, or those of the same price. Whole instances
    are paid: `instances` x the instance's price. Of one price the fewest GPUs win, then the larger
    host. Adds the offer's columns, `price_state`: `priced`, `no-offer` (the GPU is sold, but no
    shape holds the count and the host memory, or there are too few machines) or `unpriced` (the
    GPU is not sold here at all), and `offer_reason`: why there is no offer.
    """
    if "host_ram_gb" not in cells.collect_schema().names():
        cells = cells.with_columns(host_ram_gb=pl.lit(0.0))
    have = shapes.collect_schema().names()
    shapes = shapes.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in _OPTIONAL_SHAPE.items() if name not in have
    ).rename({"vcpus": "offer_vcpus", "ram_gb": "offer_ram_gb"})
    looked_at = (
        cells.select(_WANTED)
        .unique()
        .join(shapes, on="gpu", how="inner")
        .with_columns(instances=instances())
    )
    state = (
        pl.when(pl.col("usd_per_hour").is_not_null())
        .then(pl.lit("priced"))
        .when(pl.col("offer_reason").is_not_null())
        .then(pl.lit("no-offer"))
        .otherwise(pl.lit("unpriced"))
    )
    unsold = pl.col("usd_per_hour").is_null()
    bought = (
        _refused(looked_at)
        .join(_bought(looked_at, any_provider), on=list(_WANTED), how="left")
        .with_columns(price_state=state, offer_reason=pl.when(unsold).then("offer_reason"))
    )
    return cells.join(bought, on=list(_WANTED), how="left", maintain_order="left").with_columns(
        pl.col("price_state").fill_null("unpriced")
    )


def _bought(looked_at: pl.LazyFrame, any_provider: bool) -> pl.LazyFrame:
    """Of each need the cheapest offer of every provider and way of buying."""
    larger = [pl.col("offer_ram_gb").fill_null(0.0), pl.col("offer_vcpus").fill_null(0.0)]
    cost = pl.col("usd_per_hour")
    each = (
        looked_at.filter(_holds())
        .with_columns(usd_per_hour=pl.col("instances") * pl.col("instance_usd_per_hour"))
        .sort(
            [*_WANTED, "usd_per_hour", "offer_gpu_count", *(-size for size in larger),
             "provider", "instance_type"]
        )
        .unique([*_WANTED, "provider", "purchase"], keep="first", maintain_order=True)
        .select(*_WANTED, *_OFFER)
    )  # fmt: skip
    if not any_provider:
        return each
    return each.filter(cost <= cost.min().over([*_WANTED, "purchase"]) * (1 + _SAME_PRICE))


def _refused(looked_at: pl.LazyFrame) -> pl.LazyFrame:
    """Of each need why no offer holds it; what an offer holds has a reason too, which is unused."""
    holds_gpus = _has_gpus()
    holds_host = pl.col("instances").is_not_null() & _has_memory()
    lacking = pl.when(holds_host).then(pl.col("instances") - pl.col("machines"))
    nearest = {
        name: pl.col(name).sort_by(lacking, "instance_type", nulls_last=True).first()
        for name in ("instances", "instance_type", "machines")
    }
    short = pl.format("needs {} machines of {}, of which there are {}", *nearest.values())
    host = pl.format(
        "no instance with {}× of it states {} GB of host memory",
        pl.col("gpu_count").first(),
        (pl.col("host_ram_gb").first() / pl.col("nodes").first()).round(0).cast(pl.Int64),
    )
    size = pl.format(
        "no instance on offer holds {} of it; the largest has {}",
        pl.col("gpu_count").first(),
        pl.col("offer_gpu_count").max(),
    )
    return looked_at.group_by(_WANTED).agg(
        offer_reason=pl.when(holds_host.any()).then(short).when(holds_gpus.any()).then(host)
        .otherwise(size)
    )  # fmt: skip


def instances() -> pl.Expr:
    """Instances that hold all replicas; null where the shape can't hold one.

    Several replicas share an instance as far as they fit whole, in GPUs and in host memory; a
    replica that spans nodes takes that many full instances.
    """
    held = pl.col("offer_gpu_count") // pl.col("gpu_count")
    needed = pl.col("host_ram_gb")
    by_memory = pl.when(needed > 0).then((pl.col("offer_ram_gb") / needed).floor())
    shared = pl.min_horizontal(held.cast(pl.Float64), by_memory)
    spanned = (pl.col("gpu_count") / pl.col("offer_gpu_count")).ceil()
    return (
        pl.when((held >= 1) & (pl.col("nodes") == 1))
        .then((pl.col("replicas") / pl.when(shared >= 1).then(shared)).ceil())
        .when((held < 1) & (spanned == pl.col("nodes")))
        .then(pl.col("replicas") * spanned)
        .cast(pl.Int64)
    )


def _has_gpus() -> pl.Expr:
    """Whether the GPUs of a replica go into a shape, whatever its host."""
    size, count = pl.col("offer_gpu_count"), pl.col("gpu_count")
    spans = (count / size).ceil() == pl.col("nodes")
    return ((size >= count) & (pl.col("nodes") == 1)) | ((size < count) & spans)


def _has_memory() -> pl.Expr:
    """Enough host memory; a need that no figure answers is not met."""
    share = pl.col("host_ram_gb") / pl.col("nodes")
    return (pl.col("host_ram_gb") == 0) | (pl.col("offer_ram_gb") >= share).fill_null(False)


def _holds() -> pl.Expr:
    """Enough GPUs, host memory and machines."""
    enough = pl.col("machines").is_null() | (pl.col("instances") <= pl.col("machines"))
    return pl.col("instances").is_not_null() & _has_memory() & enough
