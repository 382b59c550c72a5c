"""gpuhunt's catalogs: a file a provider, one row an instance, place and way of buying."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from planner.interop.import_prices_gpus import tpu_slice
from planner.interop.import_prices_listing import Listing, Skipped, number, price
from planner.interop.import_prices_skypilot import Row

REQUIRED: Final = ("instance_name", "location", "price", "gpu_count", "gpu_name", "spot")
_TRUE: Final = {"true", "1", "yes"}
_FALSE: Final = {"false", "0", "no", ""}


def listings(rows: Iterable[tuple[int, Row]], skipped: Skipped) -> list[Listing]:
    """Listings of the rows with a GPU. A malformed row is left out and counted."""
    found = []
    for line, row in rows:
        try:
            listing = _listing(line, row, skipped)
        except ValueError as error:
            skipped.add(f"a cell can't be read: {error}", line)
            continue
        if listing is not None:
            found.append(listing)
    return found


def _listing(line: int, row: Row, skipped: Skipped) -> Listing | None:
    name, count = row.get("gpu_name", "").strip(), number(row.get("gpu_count"))
    if not name or not count:
        skipped.add("no accelerator (CPU instance)", line)
        return None
    spot = row.get("spot", "").strip().casefold()
    if spot not in _TRUE | _FALSE:
        raise ValueError(f"spot is '{row['spot']}'")
    way = "spot" if spot in _TRUE else "on-demand"
    usd = price(row.get("price"), way, line, skipped)
    if usd is None:
        return None
    whole = tpu_slice(name)
    memory = None if whole else number(row.get("gpu_memory")) or None
    if whole:
        name, count = whole[0], count * whole[1]
    return Listing(
        line=line, instance_type=row.get("instance_name", "").strip(),
        region=row.get("location", "").strip(), zone="", names=(name,),
        memory_gib=memory, count=count,
        vcpus=number(row.get("cpu")), ram_gb=number(row.get("memory")),
        on_demand_usd=None if way == "spot" else usd, spot_usd=usd if way == "spot" else None,
    )  # fmt: skip
