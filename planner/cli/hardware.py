"""`planner gpus|offers list|show`: accelerators and prices, filtered, with age and source."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.catalog import json_option, unknown
from planner.cli.tables_text import show_record, show_table
from planner.units import BYTES_PER_GIB

if TYPE_CHECKING:
    import polars as pl

    from planner.catalog.load import Catalog

_PURCHASES = ("on-demand", "spot", "reserved-1y", "reserved-3y")


@click.group()
def gpus() -> None:
    """GPUs and other accelerators, with usable memory, speed and source."""


@gpus.command("list")
@click.option("--vendor", help="Only this vendor, such as nvidia or amd.")
@click.option("--architecture", help="Only this architecture, such as hopper.")
@click.option("--min-gib", type=float, help="Only cards with at least this usable memory [GiB].")
@click.option("--format", "weight_format", help="Only cards that compute in this weight format.")
@click.option("--sold", is_flag=True, help="Only cards with a price.")
@json_option
def list_gpus(
    vendor: str | None,
    architecture: str | None,
    min_gib: float | None,
    weight_format: str | None,
    sold: bool,
    as_json: bool,
) -> None:
    """List the accelerators, with the cheapest on-demand price of one GPU.

    \b
    Example:
      planner gpus list --vendor nvidia --min-gib 40 --format fp8 --sold
    """
    import polars as pl

    from planner.catalog.load import load_catalog

    catalog = load_catalog()
    frame = catalog.gpus
    for column, value in (("vendor", vendor), ("architecture", architecture)):
        if value is not None:
            known = frame[column].drop_nulls().unique().sort().to_list()
            frame = frame.filter(pl.col(column) == _one_of(column, value, known))
    if min_gib is not None:
        frame = frame.filter(pl.col("usable_bytes") >= min_gib * BYTES_PER_GIB)
    if weight_format is not None:
        fits = catalog.gpu_formats.filter(
            pl.col("weight_format") == catalog.resolve("formats", weight_format)
        )
        frame = frame.join(fits, on="gpu", how="semi", maintain_order="left")
    frame = frame.join(_cheapest(catalog.offers), on="gpu", how="left", maintain_order="left")
    if sold:
        frame = frame.filter(pl.col("gpu").is_in(catalog.offers["gpu"].unique().implode()))
    shown = frame.select(
        "gpu",
        "name",
        (pl.col("usable_bytes") / BYTES_PER_GIB).round(2).alias("usable_gib"),
        pl.col("usable_basis").alias("basis"),
        (pl.col("memory_bandwidth_bytes_per_second") / 1e9).round(0).alias("gb_per_second"),
        "bf16_dense_tflops",
        "fp8_dense_tflops",
        "interconnect",
        "max_gpus_per_node",
        "usd_per_gpu_hour",
        "sold_by",
        "price_date",
        *(["source"] if as_json else []),
    )
    show_table(shown.to_dicts(), as_json=as_json)


def _cheapest(offers: pl.DataFrame) -> pl.DataFrame:
    """The cheapest on-demand price of one GPU of each kind, with seller and date."""
    import polars as pl

    return (
        offers.filter((pl.col("purchase") == "on-demand") & (pl.col("offer_gpu_count") >= 1))
        .with_columns(
            usd_per_gpu_hour=(pl.col("usd_per_hour") / pl.col("offer_gpu_count")).round(4)
        )
        .sort("gpu", "usd_per_gpu_hour", "provider", "instance_type")
        .unique("gpu", keep="first", maintain_order=True)
        .select("gpu", "usd_per_gpu_hour", "price_date", sold_by="provider")
    )


@gpus.command("show")
@click.argument("name")
@json_option
def show_gpu(name: str, as_json: bool) -> None:
    """Show one accelerator: every fact with its source, formats, and names it answers to."""
    import polars as pl

    from planner.catalog.load import load_catalog

    catalog = load_catalog()
    gpu = catalog.resolve("gpus", name)
    record = catalog.gpus.filter(pl.col("gpu") == gpu).to_dicts()[0]
    for key in ("usable_low_bytes", "usable_bytes", "usable_high_bytes"):
        record[key.replace("_bytes", "_gib")] = round(record[key] / BYTES_PER_GIB, 2)
    support = catalog.gpu_formats.filter(pl.col("gpu") == gpu)
    record["formats"] = [
        f"{row['weight_format']}{'' if row['support'] == 'native' else ' (emulated)'}"
        for row in support.iter_rows(named=True)
    ]
    show_record(record, as_json=as_json)


@click.group()
def offers() -> None:
    """Prices: who sells which GPU in which shape, with age and source."""


@offers.command("list")
@click.option("--gpu", multiple=True, help="Only this GPU; may be repeated.")
@click.option("--provider", multiple=True, help="Only this provider; may be repeated.")
@click.option("--purchase", type=click.Choice(_PURCHASES), help="Only this way of buying.")
@click.option("--region", help="Only this region.")
@click.option("--count", type=float, help="Only shapes with this many GPUs.")
@click.option("--min-count", type=float, help="Only shapes with at least this many GPUs.")
@click.option("--min-vcpus", type=float, help="Only hosts with at least this many vCPUs.")
@click.option("--min-ram-gb", type=float, help="Only hosts with at least this memory [GB].")
@click.option("--max-usd-per-hour", type=float, help="Only shapes up to this price [USD].")
@click.option("--max-usd-per-gpu-hour", type=float, help="Only up to this price of a GPU [USD].")
@click.option("--max-age-days", type=int, help="Only prices read at most so long ago.")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Count ages to this day; default today."
)
@click.option(
    "--prices", multiple=True, type=click.Path(path_type=Path),
    help="A price book of yours over the shipped ones; may be repeated.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="Show this many at most.")
@json_option
def list_offers(
    as_json: bool,
    limit: int | None,
    prices: tuple[Path, ...],
    as_of: datetime | None,
    max_age_days: int | None,
    **wanted: Any,
) -> None:
    """List offers, cheapest per GPU first, with the age of the price in days.

    A price without a date has no age: it is older than its catalog says.

    \b
    Example:
      planner offers list --gpu H100 --purchase on-demand --min-count 8 --max-age-days 180
    """
    import polars as pl

    from planner.catalog.load import load_catalog

    catalog = load_catalog()
    for path in prices:
        catalog = catalog.with_source("offers", path)
    today = (as_of or datetime.combine(date.today(), datetime.min.time())).date()
    frame = _filtered(catalog, wanted).with_columns(
        age_days=(pl.lit(today) - pl.col("price_date")).dt.total_days()
    )
    if max_age_days is not None:
        frame = frame.filter(pl.col("age_days") <= max_age_days)
    ordered = frame.sort("gpu", "usd_per_gpu_hour", "provider", "instance_type", nulls_last=True)
    shown = (ordered.head(limit) if limit else ordered).select(
        "gpu", "offer_gpu_count", "provider", "instance_type", "region", "vcpus", "ram_gb",
        "purchase", "usd_per_hour", "usd_per_gpu_hour", "price_date", "age_days", "source",
        *(["note"] if as_json else []),
    )  # fmt: skip
    show_table(shown.to_dicts(), as_json=as_json)


def _filtered(catalog: Catalog, wanted: dict[str, Any]) -> pl.DataFrame:
    """Offers as asked for, with `usd_per_gpu_hour`."""
    import polars as pl

    frame = catalog.offers.with_columns(
        usd_per_gpu_hour=(pl.col("usd_per_hour") / pl.col("offer_gpu_count")).round(4)
    )
    asked = [pl.lit(True)]
    if wanted["gpu"]:
        ids = [catalog.resolve("gpus", name) for name in wanted["gpu"]]
        asked.append(pl.col("gpu").is_in(ids))
    if wanted["provider"]:
        known = frame["provider"].unique().sort().to_list()
        sellers = [_one_of("provider", name, known) for name in wanted["provider"]]
        asked.append(pl.col("provider").is_in(sellers))
    if wanted["region"]:
        known = frame["region"].drop_nulls().unique().sort().to_list()
        asked.append(pl.col("region") == _one_of("region", wanted["region"], known))
    if wanted["purchase"]:
        asked.append(pl.col("purchase") == wanted["purchase"])
    limits = {
        "count": ("offer_gpu_count", pl.Expr.eq),
        "min_count": ("offer_gpu_count", pl.Expr.ge),
        "min_vcpus": ("vcpus", pl.Expr.ge),
        "min_ram_gb": ("ram_gb", pl.Expr.ge),
        "max_usd_per_hour": ("usd_per_hour", pl.Expr.le),
        "max_usd_per_gpu_hour": ("usd_per_gpu_hour", pl.Expr.le),
    }
    for option, (column, compare) in limits.items():
        if wanted[option] is not None:
            asked.append(compare(pl.col(column), wanted[option]))
    return frame.filter(pl.all_horizontal(asked))


def _one_of(kind: str, name: str, known: list[str]) -> str:
    """The known name in any case. Raises a usage error with the nearest for another."""
    for entry in known:
        if entry.casefold() == name.casefold():
            return entry
    raise unknown(kind, name, known)


@offers.command("show")
@click.argument("instance_type")
@json_option
def show_offer(instance_type: str, as_json: bool) -> None:
    """Show every price of one instance type, with its source."""
    import polars as pl

    from planner.catalog.load import load_catalog

    frame = load_catalog().offers
    found = frame.filter(pl.col("instance_type").str.to_lowercase() == instance_type.lower())
    if not found.height:
        raise unknown("instance type", instance_type, frame["instance_type"].unique().to_list())
    for row in found.to_dicts():
        show_record(row, as_json=as_json)
        click.echo("")
