"""SkyPilot's vms.csv of any cloud: one row an instance type and place, both prices in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from planner.interop.import_prices_gpuinfo import GpuInfo, parse_gpu_info
from planner.interop.import_prices_gpus import tpu_slice
from planner.interop.import_prices_listing import Listing, Skipped, number, price

REQUIRED: Final = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region")
_MARKETPLACE: Final = re.compile(r"^\d+x[-_](.+?)(?:-\d+-\d+|_(?:SECURE|COMMUNITY))$")

Row = Mapping[str, str]


def listings(rows: Iterable[tuple[int, Row]], skipped: Skipped) -> list[Listing]:
    """Listings of the rows that sell accelerators; host and accelerator rows are joined apart."""
    found = []
    for line, row in rows:
        try:
            listing = _listing(line, row, skipped)
        except ValueError as error:
            skipped.add(f"a number can't be read: {error}", line)
            continue
        if listing is not None:
            found.append(listing)
    return found


def _listing(line: int, row: Row, skipped: Skipped) -> Listing | None:
    name, count = row.get("AcceleratorName", "").strip(), number(row.get("AcceleratorCount"))
    if not name or not count:
        skipped.add("no accelerator (CPU instance)", line)
        return None
    info = parse_gpu_info(row.get("GpuInfo", ""))
    if info is None:
        skipped.add("GpuInfo can't be read: the name alone was used (not left out)", line)
        info = GpuInfo()
    instance, note = row.get("InstanceType", "").strip(), ""
    whole = tpu_slice(name)
    if whole:
        count *= whole[1]
        instance, info, note = instance or name, GpuInfo(), "a whole slice"
        names: tuple[str, ...] = (whole[0],)
    else:
        listed = _MARKETPLACE.match(instance)
        told = (listed[1] if listed else "", info.name or "", name)
        names = tuple(dict.fromkeys(text for text in told if text))
    on_demand = price(row.get("Price"), "on-demand", line, skipped)
    spot = price(row.get("SpotPrice"), "spot", line, skipped)
    if on_demand is None and spot is None:
        skipped.add("neither an on-demand nor a spot price", line)
        return None
    return Listing(
        line=line, instance_type=instance, region=row.get("Region", "").strip(),
        zone=row.get("AvailabilityZone", "").strip(), names=names, memory_gib=info.memory_gib,
        count=count, vcpus=number(row.get("vCPUs")), ram_gb=number(row.get("MemoryGiB")),
        on_demand_usd=on_demand, spot_usd=spot, note=note,
    )  # fmt: skip
