"""Which offers the supply allows, and the cheapest of each shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.resolve.owned import owned_cost
from planner.scenario.model import Owned, Supply
from planner.units import HOURS_PER_YEAR

SHAPE_SCHEMA: Final[dict[str, Any]] = {
    "gpu": pl.String,
    "provider": pl.String,
    "region": pl.String,
    "instance_type": pl.String,
    "offer_gpu_count": pl.Int64,
    "purchase": pl.String,
    "price_date": pl.String,
    "instance_usd_per_hour": pl.Float64,
    "vcpus": pl.Float64,
    "ram_gb": pl.Float64,
    "machines": pl.Int64,
    "purchase_usd": pl.Float64,
    "running_usd_per_hour": pl.Float64,
}
"""One row a shape: `machines` is how many there are (null: no limit); `purchase_usd` and
`running_usd_per_hour` (energy, hosting, upkeep) are known of owned machines only."""


def offer_shapes(
    offers: pl.DataFrame, supply: Supply, tdp_w: Mapping[str, float | None] | None = None
) -> pl.DataFrame:
    """The offers worth looking at, of each GPU, provider, way of buying and size (SHAPE_SCHEMA).

    The cheapest, and dearer ones as far as they bring more host memory. Prices are after the
    supply's discounts. Offers with less than one GPU are left out: a share of a GPU has a share
    of its memory. `tdp_w` is the power of each GPU, for owned machines without their own figure.
    """
    allowed = offers.filter(_allowed(supply)).select(
        "gpu",
        "provider",
        "region",
        "instance_type",
        pl.col("offer_gpu_count").cast(pl.Int64),
        "purchase",
        pl.col("price_date").cast(pl.String),
        (pl.col("usd_per_hour") * (1 - discount(supply.discounts))).alias("instance_usd_per_hour"),
        "vcpus",
        "ram_gb",
        *(
            pl.lit(None, SHAPE_SCHEMA[name]).alias(name)
            for name in ("machines", "purchase_usd", "running_usd_per_hour")
        ),
    )
    if "owned" in supply.purchase:
        allowed = pl.concat([allowed, owned_shapes(supply.owned, tdp_w or {})], how="vertical")
    return _undominated(allowed)


def _allowed(supply: Supply) -> pl.Expr:
    """Offers of the allowed ways, providers and regions, with the host that is asked for.

    A seller who does not state a host's size is not taken at his word.
    """
    allowed = pl.col("purchase").is_in(list(supply.purchase)) & (pl.col("offer_gpu_count") >= 1)
    if supply.providers:
        allowed &= pl.col("provider").is_in(list(supply.providers))
    if supply.regions:
        allowed &= pl.col("region").is_in(list(supply.regions))
    if supply.instance_types:
        allowed &= pl.col("instance_type").is_in(list(supply.instance_types))
    if supply.min_vcpus is not None:
        allowed &= (pl.col("vcpus") >= supply.min_vcpus).fill_null(False)
    if supply.min_ram_gb is not None:
        allowed &= (pl.col("ram_gb") >= supply.min_ram_gb).fill_null(False)
    return allowed


def discount(discounts: Mapping[str, float | Mapping[str, float]]) -> pl.Expr:
    """Share off the list price, by provider or by provider and way of buying."""
    share = pl.lit(0.0)
    for provider, given in discounts.items():
        here = pl.col("provider") == provider
        if not isinstance(given, Mapping):
            share = pl.when(here).then(given).otherwise(share)
            continue
        for purchase, value in given.items():
            share = pl.when(here & (pl.col("purchase") == purchase)).then(value).otherwise(share)
    return share


def _undominated(shapes: pl.DataFrame) -> pl.DataFrame:
    """Of each kind the cheapest, and those with more host memory than every cheaper one.

    Of one price the larger host counts as the cheaper. Machines of which there are only so many
    displace nothing: the load may need more of them.
    """
    keys = ["gpu", "provider", "purchase", "offer_gpu_count"]
    order = [*keys, "instance_usd_per_hour", "_ram", "_vcpus", "instance_type", "region"]
    descending = [name in ("_ram", "_vcpus") for name in order]
    cheaper = pl.col("_displaces_gb").cum_max().shift(1).over(keys)
    endless = pl.col("machines").is_null()
    return (
        shapes.with_columns(
            _ram=pl.col("ram_gb").fill_null(0.0), _vcpus=pl.col("vcpus").fill_null(0.0)
        )
        .with_columns(_displaces_gb=pl.when(endless).then("_ram").otherwise(-1.0))
        .sort(order, nulls_last=True, descending=descending)
        .filter((pl.col("_ram") > cheaper).fill_null(True))
        .drop("_ram", "_vcpus", "_displaces_gb")
    )


def owned_shapes(machines: Sequence[Owned], tdp_w: Mapping[str, float | None]) -> pl.DataFrame:
    """Owned machines as shapes: the stated cost per hour, or what the purchase comes to."""
    rows = []
    for machine in machines:
        cost = None
        if machine.purchase_usd is not None:
            cost = owned_cost(machine, tdp_w.get(machine.gpu))
        rows.append(
            {
                "gpu": machine.gpu,
                "provider": "owned",
                "region": None,
                "instance_type": machine.name,
                "offer_gpu_count": machine.gpu_count,
                "purchase": "owned",
                "price_date": None,
                "instance_usd_per_hour": cost.usd_per_hour if cost else machine.usd_per_hour,
                "vcpus": machine.vcpus,
                "ram_gb": machine.ram_gb,
                "machines": machine.machines,
                "purchase_usd": machine.purchase_usd,
                "running_usd_per_hour": cost.running_usd_per_year / HOURS_PER_YEAR
                if cost
                else None,
            }
        )
    return pl.DataFrame(rows, schema=SHAPE_SCHEMA, orient="row")
