"""`planner lock`: fetch and pin the models of scenarios. One of two commands with network."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import scenario_files

if TYPE_CHECKING:
    from planner.resolve.records import Record


def _to_date(ctx: click.Context, param: click.Parameter, value: datetime | None) -> date:
    return value.date() if value is not None else date.today()


def read_on(function: Any) -> Any:
    """The date that is written down; today unless given, so that a run can be repeated."""
    return click.option(
        "--date",
        "on",
        type=click.DateTime(["%Y-%m-%d"]),
        callback=_to_date,
        help="Date to write down, YYYY-MM-DD; today by default.",
    )(function)


@click.command()
@scenario_files
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="One lock for all these scenarios, such as planner.lock.yaml, instead of one beside each.",
)
@click.option("--missing", is_flag=True, help="Leave out models that the catalog knows.")
@read_on
def lock(files: tuple[Path, ...], output: Path | None, missing: bool, on: date) -> None:
    """Read the models of scenarios from the hub and pin them.

    \b
    Writes SCENARIO.lock.yaml beside each scenario: the commit of each model, the hashes of its
    files, its config, and what its checkpoint stores by the headers of its files (no weights are
    downloaded). Other commands then compute from the lock and touch no network.
    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE work as in huggingface_hub.
    Example:
      planner lock scenarios/chat.yaml
    """
    from planner.resolve.lock import ENDING, write_lock
    from planner.resolve.locking import Locker

    locker = Locker(on, only_missing=missing)
    found = {file: locker.collect(file) for file in files}
    wanted: dict[Path, list[Path]] = {}
    for file in files:
        wanted.setdefault(output or file.with_name(f"{file.stem}{ENDING}"), []).append(file)
    # Everything is fetched before anything is written.
    records = {file: [locker.record(item) for item in found[file].hub] for file in files}
    for target, sources in wanted.items():
        chosen = {record["id"]: record for file in sources for record in records[file]}
        local = {name: sha for file in sources for name, sha in found[file].local.items()}
        write_lock(target, chosen.values(), local)
        click.echo(f"{target}: {len(chosen)} models pinned, read on {on}")
        for record in chosen.values():
            click.echo(f"  {summary(record)}")
        for note in dict.fromkeys(note for file in sources for note in found[file].notes):
            click.echo(f"  {note}")


def summary(record: Record) -> str:
    """One line about a pinned record."""
    pinned = record["pinned"]
    stored = "weights by arithmetic from config.json"
    if "stored_bytes" in pinned:
        stored = f"{pinned['stored_bytes']:,} bytes by {pinned['basis']}"
    revision = f" at {record['revision'][:12]}" if "revision" in record else ""
    return f"{record['id']}{revision}: {stored}"
