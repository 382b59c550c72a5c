"""`planner gpus|offers|formats|optimizers|engines list|show`: what is known, from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from planner.cli.tables_text import show_record, show_table
from planner.units import BYTES_PER_GIB

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def gpus() -> None:
    """GPUs and other accelerators, with usable memory, speed and source."""


@gpus.command("list")
@click.option("--vendor", help="Only this vendor, such as nvidia or amd.")
@click.option("--min-gib", type=float, help="Only cards with at least this usable memory [GiB].")
@json_option
def list_gpus(vendor: str | None, min_gib: float | None, as_json: bool) -> None:
    """List the accelerators.

    \b
    Example:
      planner gpus list --vendor nvidia --min-gib 40
    """
    import polars as pl

    from planner.catalog.load import load_catalog

    frame = load_catalog().gpus
    if vendor:
        frame = frame.filter(pl.col("vendor") == vendor.lower())
    if min_gib is not None:
        frame = frame.filter(pl.col("usable_bytes") >= min_gib * BYTES_PER_GIB)
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
    )
    show_table(shown.to_dicts(), as_json=as_json)


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
    """Prices: who sells which GPU in which shape, with date and source."""


@offers.command("list")
@click.option("--gpu", help="Only this GPU.")
@click.option("--provider", help="Only this provider.")
@click.option("--purchase", help="on-demand, spot or reserved-3y.")
@click.option("--region", help="Only this region.")
@json_option
def list_offers(as_json: bool, **wanted: str | None) -> None:
    """List offers, cheapest per GPU first.

    \b
    Example:
      planner offers list --gpu H100 --purchase on-demand
    """
    import polars as pl

    from planner.catalog.load import load_catalog

    catalog = load_catalog()
    if wanted["gpu"]:
        wanted["gpu"] = catalog.resolve("gpus", wanted["gpu"])
    frame = catalog.offers
    for column, value in wanted.items():
        if value:
            frame = frame.filter(pl.col(column) == value)
    shown = (
        frame.with_columns(
            (pl.col("usd_per_hour") / pl.col("offer_gpu_count")).round(4).alias("usd_per_gpu_hour")
        )
        .sort("gpu", "usd_per_gpu_hour", "provider", "instance_type", nulls_last=True)
        .select(
            "gpu", "offer_gpu_count", "provider", "instance_type", "region", "purchase",
            "usd_per_hour", "usd_per_gpu_hour", "price_date",
        )
    )  # fmt: skip
    show_table(shown.to_dicts(), as_json=as_json)


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


def unknown(kind: str, name: str, known: list[str]) -> click.UsageError:
    """A usage error for a name that nothing answers to."""
    from planner.errors import did_you_mean

    hint = did_you_mean(name, known)
    return click.UsageError(f"'{name}' is not a known {kind}{'; ' + hint if hint else ''}")


@click.group()
def formats() -> None:
    """Weight formats: bits with scales and zeros, and which cards compute in them."""


@formats.command("list")
@json_option
def list_formats(as_json: bool) -> None:
    """List the weight formats with their effective size and use."""
    from planner.catalog.load import load_catalog

    shown = load_catalog().formats.select(
        "weight_format", "family", "bits_per_parameter", "group_size", "guide_bytes_per_parameter",
        "trainable_base", "min_compute_capability", "uses",
    )  # fmt: skip
    show_table(shown.to_dicts(), as_json=as_json)


@formats.command("show")
@click.argument("name")
@json_option
def show_format(name: str, as_json: bool) -> None:
    """Show one weight format: sizes, exceptions, uses, notes, source."""
    import polars as pl

    from planner.catalog.load import load_catalog

    catalog = load_catalog()
    found = catalog.resolve("formats", name)
    row = catalog.formats.filter(pl.col("weight_format") == found).to_dicts()[0]
    show_record(row, as_json=as_json)


@click.group()
def optimizers() -> None:
    """Optimizers: states, bytes each, temporaries of the step."""


@optimizers.command("list")
@json_option
def list_optimizers(as_json: bool) -> None:
    """List the optimizers."""
    from planner.resolve.frameworks import optimizers_frame

    frame = optimizers_frame().select(
        "optimizer", "full_states", "state_bytes", "factored", "low_rank", "paged", "source"
    )
    show_table(frame.to_dicts(), as_json=as_json)


@optimizers.command("show")
@click.argument("name")
@json_option
def show_optimizer(name: str, as_json: bool) -> None:
    """Show one optimizer."""
    import polars as pl

    from planner.catalog.load import load_catalog
    from planner.resolve.frameworks import optimizers_frame

    found = load_catalog().resolve("optimizers", name)
    row = optimizers_frame().filter(pl.col("optimizer") == found).to_dicts()[0]
    show_record(row, as_json=as_json)


@click.group()
def engines() -> None:
    """Inference engines: profiles by version range, with sources and errors."""


@engines.command("list")
@json_option
def list_engines(as_json: bool) -> None:
    """List the engines and the versions that have a profile."""
    from planner.resolve.engines import load_engines

    rows: list[Mapping[str, Any]] = [
        {
            "engine": engine.engine,
            "title": engine.title,
            "profiles": len(engine.profiles),
            "versions": "; ".join(profile.versions for profile in engine.profiles),
        }
        for engine in load_engines().values()
    ]
    show_table(rows, as_json=as_json)


@engines.command("show")
@click.argument("name")
@click.option("--version", "wanted", help="Only the profile that answers for this version.")
@json_option
def show_engine(name: str, wanted: str | None, as_json: bool) -> None:
    """Show the constants of an engine with their range, points and source."""
    from planner.resolve.engines import find_engine, load_engines, profile_of

    try:
        engine = find_engine(name)
    except KeyError:
        raise unknown("engine", name, list(load_engines())) from None
    profiles = [profile_of(engine, wanted)] if wanted else list(engine.profiles)
    rows: list[Mapping[str, Any]] = [
        {
            "versions": profile.versions,
            "constant": key,
            "low": constant.low,
            "value": constant.value,
            "high": constant.high,
            "points": constant.points,
            "source": constant.source,
        }
        for profile in profiles
        for key, constant in profile.constants.items()
        if constant.source
    ]
    show_table(rows, as_json=as_json)
