"""SkyPilot's vms.csv of any cloud: one row an instance type and place, both prices in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from planner.interop.import_prices_gpuinfo import GpuInfo, parse_gpu_info
from planner.interop.import_prices_listing import (
    Accelerator,
    Listing,
    Row,
    Skipped,
    number,
    price,
    read_each,
)

REQUIRED: Final = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region")
_SLICE: Final = "a whole slice"
_MARKETPLACE: Final = re.compile(r"^\d+x[-_](.+?)(?:-\d+-\d+|_(?:SECURE|COMMUNITY))$")


def listings(rows: Iterable[tuple[int, Row]], skipped: Skipped) -> list[Listing]:
    """Listings of the rows that sell accelerators; host and accelerator rows are joined apart."""
    return read_each(rows, _listing, skipped, name="AcceleratorName", count="AcceleratorCount")


def _listing(line: int, row: Row, sold: Accelerator, skipped: Skipped) -> Listing | None:
    info = parse_gpu_info(row.get("GpuInfo", ""))
    if info is None:
        skipped.add("GpuInfo can't be read: the name alone was used (not left out)", line)
        info = GpuInfo()
    instance, note = row.get("InstanceType", "").strip(), ""
    if sold.is_slice:
        instance, info, note = instance or row["AcceleratorName"].strip(), GpuInfo(), _SLICE
        names: tuple[str, ...] = (sold.name,)
    else:
        listed = _MARKETPLACE.match(instance)
        told = (listed[1] if listed else "", info.name or "", sold.name)
        names = tuple(dict.fromkeys(text for text in told if text))
    on_demand = price(row.get("Price"), "on-demand", line, skipped)
    spot = price(row.get("SpotPrice"), "spot", line, skipped)
    if on_demand is None and spot is None:
        skipped.add("neither an on-demand nor a spot price", line)
        return None
    return Listing(
        line=line, instance_type=instance, region=row.get("Region", "").strip(),
        zone=row.get("AvailabilityZone", "").strip(), names=names, memory_gib=info.memory_gib,
        count=sold.count, vcpus=number(row.get("vCPUs")), ram_gb=number(row.get("MemoryGiB")),
        on_demand_usd=on_demand, spot_usd=spot, note=note,
    )  # fmt: skip
