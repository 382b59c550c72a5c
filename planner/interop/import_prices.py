"""Public price catalogs become offers of our own, with a summary of what was left out and why."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planner.catalog.load import Catalog, load_catalog
from planner.errors import InputProblems, OutsideFailure, Problem
from planner.interop import import_prices_gcp, import_prices_gpuhunt, import_prices_skypilot
from planner.interop.import_prices_gpus import FoundGpu, GpuFinder
from planner.interop.import_prices_listing import Listing, Skipped, without_copied_spot

COLUMNS: Final = (
    "provider", "instance_type", "region", "gpu", "gpu_count", "vcpus", "ram_gb", "purchase",
    "usd_per_hour", "price_date", "source", "note",
)  # fmt: skip
_FLOOR_SHARE: Final = 0.1
_SPELLINGS: Final = (
    (*import_prices_gpuhunt.REQUIRED, "cpu", "memory", "gpu_memory"),
    (*import_prices_skypilot.REQUIRED, "vCPUs", "MemoryGiB", "GpuInfo", "SpotPrice",
     "AvailabilityZone"),
)  # fmt: skip
"""The columns of each feed; both have a price, in another case."""
_Key = tuple[str, str, str, float]


@dataclass(frozen=True, slots=True)
class ImportedPrices:
    """Offers as rows of the price format, and what was read and left out.

    `rows_read` counts the data rows of the file.
    """

    offers: tuple[Mapping[str, Any], ...]
    rows_read: int
    dialect: str
    skipped: Skipped

    def summary(self) -> list[str]:
        """What came of the file, a line each."""
        gpus = len({offer["gpu"] for offer in self.offers})
        shapes = len({(o["instance_type"], o["region"]) for o in self.offers})
        ways: dict[str, int] = {}
        for offer in self.offers:
            ways[offer["purchase"]] = ways.get(offer["purchase"], 0) + 1
        by_way = ", ".join(f"{count:,} {way}" for way, count in sorted(ways.items()))
        lines = [
            f"{_counted(self.rows_read, 'row')} of a {self.dialect} catalog: "
            f"{_counted(len(self.offers), 'price')} ({by_way or 'none'}) of "
            f"{_counted(shapes, 'shape')} with {_counted(gpus, 'GPU type')}"
        ]
        if self.skipped.counts:
            lines += ["left out:", *(f"  {text}" for text in self.skipped.texts())]
        return lines


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def import_prices(
    path: Path,
    *,
    provider: str,
    price_date: str | None,
    source: str | None = None,
    catalog: Catalog | None = None,
) -> ImportedPrices:
    """Read a SkyPilot `vms.csv` or a gpuhunt CSV.

    Args:
        path: the file. provider: who sells. price_date: when the prices were read (YYYY-MM-DD).
        source: what to name as the source; the file's name by default.
        catalog: GPUs that are known; the shipped ones by default.

    Raises:
        InputProblems: no such file, not such a catalog, or no price in it.
        OutsideFailure: the file can't be read.
    """
    rows, skipped = _read(path), Skipped()
    header = set(rows[0][1]) if rows else set()
    if set(import_prices_gpuhunt.REQUIRED) <= header:
        dialect, found = "gpuhunt", import_prices_gpuhunt.listings(_whole(rows, skipped), skipped)
    elif set(import_prices_skypilot.REQUIRED) <= header:
        whole, dialect = _whole(rows, skipped), "SkyPilot"
        split = import_prices_gcp.is_split(whole)
        reader = import_prices_gcp if split else import_prices_skypilot
        found = without_copied_spot(reader.listings(whole, skipped), skipped)
    else:
        raise _unknown(path, header)
    known = catalog or load_catalog()
    stamp = {
        "provider": known.sellers().get(provider.casefold(), provider),
        "price_date": price_date, "source": source or path.name,
    }  # fmt: skip
    offers = _offers(found, GpuFinder(known), skipped, stamp)
    return ImportedPrices(tuple(offers), len(rows), dialect, skipped)


def write_offers(imported: ImportedPrices, path: Path) -> None:
    """Write the offers as a CSV of the price format.

    Raises:
        OutsideFailure: the file can't be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(imported.offers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), "utf-8")
    except OSError as error:
        raise OutsideFailure(f"can't write {path}: {error.strerror or error}") from error


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        what = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no such file"
        raise InputProblems([Problem(str(path), 0, 0, "unreadable", "", what)]) from None
    except OSError as error:
        raise OutsideFailure(f"can't read {path}: {error.strerror or error}") from error
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(
        io.StringIO(text), restkey="", restval="\0", delimiter=separator, skipinitialspace=True
    )
    try:
        reader.fieldnames = _columns(reader.fieldnames or ())
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        problem = Problem(str(path), reader.line_num, 1, "not-csv", "", str(error))
        raise InputProblems([problem]) from None


def _columns(header: Sequence[str]) -> list[str]:
    """The columns as their feed spells them: some tools change the case."""
    bare = [name.strip() for name in header]
    folded = {name.casefold() for name in bare}
    # Of a header that is neither feed's, the one it has more of.
    feed = max(_SPELLINGS, key=lambda names: len(folded & {name.casefold() for name in names}))
    known = {name.casefold(): name for name in feed}
    return [known.get(name.casefold(), name) for name in bare]


def _whole(
    rows: Iterable[tuple[int, dict[str, Any]]], skipped: Skipped
) -> list[tuple[int, dict[str, str]]]:
    """Rows with as many cells as the header has columns; older rows may lack the last ones."""
    whole = []
    for line, row in rows:
        if "" in row:
            skipped.add("more cells than columns", line)
        else:
            whole.append((line, {k: "" if v == "\0" else v for k, v in row.items()}))
    return whole


def _unknown(path: Path, header: set[str]) -> InputProblems:
    if not header:
        return InputProblems([Problem(str(path), 1, 1, "empty", "", "there is no row in it")])
    wanted = import_prices_skypilot.REQUIRED
    other = import_prices_gpuhunt.REQUIRED
    missing = min((set(wanted) - header, set(other) - header), key=len)
    hint = f"a SkyPilot vms.csv has {', '.join(wanted)}; a gpuhunt file has {', '.join(other)}"
    message = f"is no price catalog that can be read: without {', '.join(sorted(missing))}"
    return InputProblems([Problem(str(path), 1, 1, "unknown-catalog", "", message, hint)])


def _offers(
    listings: Sequence[Listing], finder: GpuFinder, skipped: Skipped, stamp: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One offer per shape, region, GPU and way of buying; several zones or sellers become one."""
    known: dict[tuple[Any, ...], FoundGpu] = {}
    groups: dict[_Key, list[Listing]] = {}
    notes: dict[_Key, str] = {}
    for entry in listings:
        asked = (entry.names, entry.memory_gib, entry.count, entry.instance_type)
        if asked not in known:
            known[asked] = finder.find(
                entry.names, memory_gib=entry.memory_gib, count=entry.count,
                hint=entry.instance_type,
            )  # fmt: skip
        gpu = known[asked]
        if gpu.gpu is None:
            skipped.add(gpu.reason, entry.line)
            continue
        if not entry.instance_type or not entry.region:
            skipped.add("no instance type or region", entry.line)
            continue
        key = (entry.instance_type, entry.region, gpu.gpu, entry.count)
        groups.setdefault(key, []).append(entry)
        notes.setdefault(key, gpu.note)
    offers: list[dict[str, Any]] = []
    usual: dict[tuple[str, str, str], _Key] = {}
    for key, entries in groups.items():  # the count that most rows give; of equals the first
        other = usual.setdefault(key[:3], key)
        if len(entries) > len(groups[other]):
            usual[key[:3]] = key
    for key, entries in sorted(groups.items()):
        if usual[key[:3]] != key:
            for entry in entries:
                skipped.add("same instance type and region with another GPU count", entry.line)
            continue
        offers += _offers_of(key, entries, notes[key], stamp)
    return offers


def _offers_of(
    key: _Key, entries: Sequence[Listing], note: str, stamp: Mapping[str, Any]
) -> list[dict[str, Any]]:
    instance, region, gpu, count = key
    first = entries[0]
    base = {
        **stamp, "instance_type": instance, "region": region, "gpu": gpu,
        "gpu_count": _tidy(count), "vcpus": _tidy(first.vcpus), "ram_gb": _tidy(first.ram_gb),
    }  # fmt: skip
    if stamp["provider"] == "shadeform" and "_" in instance:
        base["provider"] = f"shadeform/{instance.partition('_')[0]}"
    notes = [text for text in (note, first.note) if text]
    rows = []
    on_demand = [entry.on_demand_usd for entry in entries if entry.on_demand_usd]
    if on_demand:
        spread = f"cheapest of {len(on_demand)} listings" if len(set(on_demand)) > 1 else ""
        rows.append({**base, "purchase": "on-demand", "usd_per_hour": _tidy(min(on_demand)),
                     "note": "; ".join(filter(None, [*notes, spread]))})  # fmt: skip
    spot = [entry.spot_usd for entry in entries if entry.spot_usd]
    if spot:
        words = _spot_words(entries, min(on_demand, default=None))
        rows.append({**base, "purchase": "spot", "usd_per_hour": _tidy(statistics.median(spot)),
                     "note": "; ".join(filter(None, [*notes, *words]))})  # fmt: skip
    return rows


def _spot_words(entries: Sequence[Listing], on_demand: float | None) -> list[str]:
    """Spot prices differ by zone: the price is the median, the lowest is said beside it."""
    priced = sorted((entry.spot_usd, entry.zone) for entry in entries if entry.spot_usd)
    words = []
    if len(priced) > 1:
        least, zone = priced[0]
        words.append(
            f"median of {len(priced)} zones; lowest {least:g}{f' in {zone}' if zone else ''}, "
            f"highest {priced[-1][0]:g}"
        )
    if on_demand is not None:
        share = priced[0][0] / on_demand
        if share >= 1:
            words.append("spot without a discount")
        elif abs(share - _FLOOR_SHARE) < 1e-3:
            words.append("at the floor of 10 % of on-demand")
    return words


def _tidy(value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if float(value).is_integer() else round(value, 6)
