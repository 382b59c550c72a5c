"""`planner prices import`: a public price catalog as offers of our own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click


@click.group()
def prices() -> None:
    """Price catalogs of other tools: import."""


@prices.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", required=True, help="Who sells, such as aws.")
@click.option(
    "--date", "day", type=click.DateTime(["%Y-%m-%d"]), required=True,
    help="The day the prices were read.",
)  # fmt: skip
@click.option("--source", help="What to name as the source; the file's name by default.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The CSV to write."
)
def import_(file: Path, provider: str, day: datetime, source: str | None, output: Path) -> None:
    """Turn a SkyPilot vms.csv or a gpuhunt CSV into offers, and say what was left out.

    \b
    Example:
      planner prices import vms.csv --provider aws --date 2026-11-01 -o prices/aws.csv
    """
    from planner.errors import InputProblems, Problem
    from planner.interop.import_prices import import_prices, write_offers

    imported = import_prices(
        file, provider=provider, price_date=day.strftime("%Y-%m-%d"), source=source
    )
    for line in imported.summary():
        click.echo(line)
    if not imported.offers:
        problem = Problem(str(file), 0, 0, "no-prices", "", "there is no usable price in it")
        raise InputProblems([problem])
    write_offers(imported, output)
    click.echo(f"wrote {output}")
