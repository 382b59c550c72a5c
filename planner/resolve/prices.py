"""Which offers the supply allows, and the cheapest of each shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from planner.scenario.model import Owned, Supply

SHAPE_SCHEMA: Final[dict[str, Any]] = {
    "gpu": pl.String,
    "provider": pl.String,
    "region": pl.String,
    "instance_type": pl.String,
    "offer_gpu_count": pl.Int64,
    "purchase": pl.String,
    "price_date": pl.String,
    "instance_usd_per_hour": pl.Float64,
}


def offer_shapes(offers: pl.DataFrame, supply: Supply) -> pl.DataFrame:
    """The cheapest offer of each GPU, provider, way of buying and instance size (SHAPE_SCHEMA).

    Prices are after the supply's discounts. Offers with less than one GPU are left out: a share
    of a GPU has a share of its memory.
    """
    allowed = offers.filter(
        pl.col("purchase").is_in(list(supply.purchase)) & (pl.col("offer_gpu_count") >= 1)
    )
    if supply.providers:
        allowed = allowed.filter(pl.col("provider").is_in(list(supply.providers)))
    if supply.regions:
        allowed = allowed.filter(pl.col("region").is_in(list(supply.regions)))
    share = pl.lit(0.0)
    for provider, discount in supply.discounts.items():
        share = pl.when(pl.col("provider") == provider).then(discount).otherwise(share)
    shapes = allowed.select(
        "gpu",
        "provider",
        "region",
        "instance_type",
        pl.col("offer_gpu_count").cast(pl.Int64),
        "purchase",
        pl.col("price_date").cast(pl.String),
        (pl.col("usd_per_hour") * (1 - share)).alias("instance_usd_per_hour"),
    )
    if "owned" in supply.purchase:
        shapes = pl.concat([shapes, _owned(supply.owned)], how="vertical")
    keys = ["gpu", "provider", "purchase", "offer_gpu_count"]
    order = [*keys, "instance_usd_per_hour", "instance_type", "region"]
    return shapes.sort(order, nulls_last=True).unique(keys, keep="first", maintain_order=True)


def _owned(machines: Sequence[Owned]) -> pl.DataFrame:
    rows = [
        {
            "gpu": machine.gpu,
            "provider": "owned",
            "region": None,
            "instance_type": machine.name,
            "offer_gpu_count": machine.gpu_count,
            "purchase": "owned",
            "price_date": None,
            "instance_usd_per_hour": machine.usd_per_hour,
        }
        for machine in machines
    ]
    return pl.DataFrame(rows, schema=SHAPE_SCHEMA, orient="row")
