"""Catalogs that list hosts and accelerators in rows of their own: the price is the sum of both.

A host row alone would sell an A100 for the price of its processors. Hosts whose GPUs are built in
take the accelerator row of their zone; general hosts take any accelerator that may be attached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from planner.interop.import_prices_gpus import split_name
from planner.interop.import_prices_listing import Listing, Row, Skipped, number, price
from planner.interop.import_prices_skypilot import listings as plain_listings

_BUILT_IN: Final = (
    (re.compile(r"^a2-(?:highgpu|megagpu)-(\d+)g$"), "A100-40GB"),
    (re.compile(r"^a2-ultragpu-(\d+)g$"), "A100-80GB"),
    (re.compile(r"^a3-(?:highgpu|edgegpu)-(\d+)g$"), "H100"),
    (re.compile(r"^a3-megagpu-(\d+)g$"), "H100-MEGA"),
    (re.compile(r"^a3-ultragpu-(\d+)g$"), "H200"),
    (re.compile(r"^a4-highgpu-(\d+)g$"), "B200"),
    (re.compile(r"^a4x-highgpu-(\d+)g$"), "GB200"),
)
"""Host family -> accelerator that is built in; the number in the name is how many."""
_BY_VCPUS: Final = (
    (re.compile(r"^g2-standard-(\d+)$"), "L4", {24: 2, 48: 4, 96: 8}),
    (re.compile(r"^g4-standard-(\d+)$"), "RTX PRO 6000", {96: 2, 192: 4, 384: 8}),
)
"""Host family -> accelerator, count by vCPUs where it is not one."""
_ATTACHABLE: Final = {
    "T4": (48, "T4"),
    "V100": (12, "V100-SXM2-16GB"),
    "P100": (16, "P100-PCIe-16GB"),
    "P4": (24, "P4"),
}
"""Accelerator -> most vCPUs that a general host may have for each of it, and which card it is."""
_CARDS: Final = {"A100-40GB": "A100-SXM4-40GB", "A100-80GB": "A100-SXM4-80GB"}
"""Built-in accelerators whose name leaves the card open."""
_PLAIN_MEMORY_GB: Final = {"a100": 40.0}
"""What a name without memory means where the catalog names the larger card apart."""
_GENERAL: Final = re.compile(r"^n1-(standard|highmem|highcpu)-\d+$")


def is_split(rows: Sequence[tuple[int, Row]]) -> bool:
    """Whether the catalog lists accelerators in rows without an instance type."""
    return any(
        not row.get("InstanceType", "").strip() and row.get("AcceleratorName", "").strip()
        for _, row in rows
    )


def built_in(instance_type: str) -> tuple[str, int] | None:
    """Accelerator and count that a host has built in; None for a general host."""
    for pattern, accelerator in _BUILT_IN:
        if found := pattern.match(instance_type):
            return accelerator, int(found[1])
    for pattern, accelerator, counts in _BY_VCPUS:
        if found := pattern.match(instance_type):
            return accelerator, counts.get(int(found[1]), 1)
    return None


def listings(rows: Iterable[tuple[int, Row]], skipped: Skipped) -> list[Listing]:
    """Host and accelerator rows joined on the zone, and the whole rows (TPU slices) as they are."""
    hosts, parts, whole = [], [], []
    for line, row in rows:
        has_host = bool(row.get("InstanceType", "").strip())
        name = row.get("AcceleratorName", "").strip()
        if name.casefold().startswith("tpu-") or (has_host and name):
            whole.append((line, row))
        elif has_host:
            hosts.append((line, row))
        else:
            parts.append((line, row))
    found = plain_listings(whole, skipped)
    by_place: dict[tuple[str, str], list[Listing]] = {}
    for part in plain_listings(parts, skipped):
        by_place.setdefault((part.region, part.zone), []).append(part)
    for line, row in hosts:
        try:
            found += _joined(line, row, by_place, skipped)
        except ValueError as error:
            skipped.add(f"a number can't be read: {error}", line)
    return found


def _joined(
    line: int, row: Row, by_place: dict[tuple[str, str], list[Listing]], skipped: Skipped
) -> Iterator[Listing]:
    instance = row["InstanceType"].strip()
    place = (row.get("Region", "").strip(), row.get("AvailabilityZone", "").strip())
    vcpus, ram = number(row.get("vCPUs")), number(row.get("MemoryGiB"))
    built, parts = built_in(instance), by_place.get(place, [])
    if built is None and not (_GENERAL.match(instance) and parts):
        skipped.add("no accelerator (CPU instance)", line)
        return
    on_demand = price(row.get("Price"), "on-demand", line, skipped)
    spot = price(row.get("SpotPrice"), "spot", line, skipped)
    if built is None:
        attached = [p for p in parts if _may_attach(p, vcpus)]
        named = [(f"{instance}+{p.names[-1]}x{p.count:g}", _as_card(p)) for p in attached]
    else:
        part = _part(parts, *built)
        if part is None:
            skipped.add("host row without its accelerator's row: its price is not whole", line)
            return
        named = [(instance, replace(part, names=(_CARDS.get(built[0], built[0]),)))]
    for name, part in named:
        yield replace(
            part, line=line, instance_type=name, vcpus=vcpus, ram_gb=ram,
            on_demand_usd=_sum(on_demand, part.on_demand_usd),
            spot_usd=_sum(spot, part.spot_usd), note="host and accelerator rows added",
        )  # fmt: skip


def _may_attach(part: Listing, vcpus: float | None) -> bool:
    known = _ATTACHABLE.get(part.names[-1].upper())
    return known is not None and vcpus is not None and vcpus <= known[0] * part.count


def _as_card(part: Listing) -> Listing:
    """A part under the name of its card, where the feed's own leaves it open."""
    card = _ATTACHABLE[part.names[-1].upper()][1]
    return part if part.memory_gib else replace(part, names=(card,))


def _part(parts: Iterable[Listing], accelerator: str, count: int) -> Listing | None:
    """The accelerator row of this count, or the row of one of them times the count."""
    same = [p for p in parts if _is_same(p.names[-1], accelerator)]
    exact = next((p for p in same if p.count == count), None)
    one = next((p for p in same if p.count == 1), None)
    if exact is not None or one is None:
        return exact
    times = (None if p is None else p * count for p in (one.on_demand_usd, one.spot_usd))
    on_demand, spot = times
    return replace(one, count=count, on_demand_usd=on_demand, spot_usd=spot)


def _is_same(name: str, accelerator: str) -> bool:
    """Whether an accelerator row is what a host has: `H100-MEGA-80GB` is H100-MEGA."""
    one, other = split_name(name), split_name(accelerator)
    memory = one.memory_gb or _PLAIN_MEMORY_GB.get(one.family)
    return one.family == other.family and (
        memory is None or other.memory_gb is None or memory == other.memory_gb
    )


def _sum(host: float | None, accelerator: float | None) -> float | None:
    return None if host is None or accelerator is None else round(host + accelerator, 6)
