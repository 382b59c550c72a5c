"""`planner formats|optimizers|engines list|show`: what is known, from where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from planner.cli.tables_text import show_record, show_table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
