"""From instance prices to what a cell costs."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.units import HOURS_PER_YEAR, SECONDS_PER_HOUR

_WANTED: Final = ("gpu", "gpu_count", "nodes", "replicas")
_OFFER: Final = (
    "provider",
    "region",
    "instance_type",
    "offer_gpu_count",
    "purchase",
    "price_date",
    "instances",
    "usd_per_hour",
)
COMMITTED: Final = ("reserved-1y", "reserved-3y", "owned")
"""Ways of buying that are paid whether used or not."""


def with_offers(cells: pl.LazyFrame, shapes: pl.LazyFrame, *, any_provider: bool) -> pl.LazyFrame:
    """Join to each cell the cheapest way to buy it, one row per provider and way of buying.

    Needs gpu, gpu_count, nodes and replicas. With `any_provider` one row per way of buying: the
    cheapest provider. Whole instances are paid: `instances` x the instance's price. Adds the
    offer's columns and `price_state`: `priced`, `no-offer` (the GPU is sold, but no shape holds
    the count) or `unpriced` (the GPU is not sold here at all).
    """
    wanted = cells.select(_WANTED).unique()
    sold = shapes.select("gpu").unique().with_columns(_sold=pl.lit(True))
    by = ["purchase"] if any_provider else ["provider", "purchase"]
    bought = (
        wanted.join(shapes, on="gpu", how="inner")
        .with_columns(instances=instances())
        .filter(pl.col("instances").is_not_null())
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

    Several replicas share an instance as far as they fit whole; a replica that spans nodes takes
    that many full instances.
    """
    held = pl.col("offer_gpu_count") // pl.col("gpu_count")
    spanned = (pl.col("gpu_count") / pl.col("offer_gpu_count")).ceil()
    return (
        pl.when((held >= 1) & (pl.col("nodes") == 1))
        .then((pl.col("replicas") / held).ceil())
        .when((held < 1) & (spanned == pl.col("nodes")))
        .then(pl.col("replicas") * spanned)
        .cast(pl.Int64)
    )


def with_cost(cells: pl.LazyFrame, *, hours_per_month: float) -> pl.LazyFrame:
    """Add `paid_hours_per_month`, `usd_per_month`, `usd_per_million_tokens`.

    Serving pays all hours of the month. Training with a demand pays the hours of its runs;
    without one its month is not known. Committed purchases pay every hour of the year.
    """
    trains = pl.col("method") != "inference"
    run_hours = training_hours_per_month()
    committed = pl.col("purchase").is_in(list(COMMITTED))
    hours = (
        pl.when(trains & run_hours.is_null())
        .then(None)
        .when(committed)
        .then(HOURS_PER_YEAR / 12)
        .when(trains)
        .then(run_hours)
        .otherwise(hours_per_month)
    )
    per_hour_tokens = pl.col("tokens_per_second") * pl.col("replicas") * SECONDS_PER_HOUR
    return cells.with_columns(
        paid_hours_per_month=hours,
        usd_per_million_tokens=pl.col("usd_per_hour") / per_hour_tokens * 1e6,
    ).with_columns(usd_per_month=pl.col("usd_per_hour") * pl.col("paid_hours_per_month"))


def training_hours_per_month() -> pl.Expr:
    """Hours of all runs of a month: tokens x epochs x runs over tokens per second."""
    tokens = pl.col("training_tokens") * pl.col("epochs") * pl.col("runs_per_month")
    return tokens / pl.col("tokens_per_second") / SECONDS_PER_HOUR
