"""gpuhunt's catalogs: a file a provider, one row an instance, place and way of buying."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from planner.interop.import_prices_listing import (
    Accelerator,
    Listing,
    Row,
    Skipped,
    number,
    price,
    read_each,
)

REQUIRED: Final = ("instance_name", "location", "price", "gpu_count", "gpu_name", "spot")
_TRUE: Final = {"true", "1", "yes"}
_FALSE: Final = {"false", "0", "no", ""}


def listings(rows: Iterable[tuple[int, Row]], skipped: Skipped) -> list[Listing]:
    """Listings of the rows with a GPU. A malformed row is left out and counted."""
    return read_each(rows, _listing, skipped, name="gpu_name", count="gpu_count")


def _listing(line: int, row: Row, sold: Accelerator, skipped: Skipped) -> Listing | None:
    spot = row.get("spot", "").strip().casefold()
    if spot not in _TRUE | _FALSE:
        raise ValueError(f"spot is '{row['spot']}'")
    way = "spot" if spot in _TRUE else "on-demand"
    usd = price(row.get("price"), way, line, skipped)
    if usd is None:
        return None
    return Listing(
        line=line, instance_type=row.get("instance_name", "").strip(),
        region=row.get("location", "").strip(), zone="", names=(sold.name,),
        memory_gib=None if sold.is_slice else number(row.get("gpu_memory")) or None,
        count=sold.count, vcpus=number(row.get("cpu")), ram_gb=number(row.get("memory")),
        on_demand_usd=None if way == "spot" else usd, spot_usd=usd if way == "spot" else None,
        note="a whole slice" if sold.is_slice else "",
    )  # fmt: skip
