"""Engine name and version -> the constants of the profile that covers or is nearest to it.

Profiles are data (`planner/catalog/data/engines/*.yaml`). A version outside every range takes the
nearest one with a wider range and a note, and so does one that is not given, with the newest (or
what the file says of runs without a version); a text that is no version takes the newest with a
range over all of them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Final

import polars as pl

from planner.errors import did_you_mean
from planner.resolve.engine_cards import TIER_SCHEMA, tier_columns
from planner.resolve.engine_constants import CONSTANTS, bound_columns
from planner.resolve.engine_families import (
    FAMILIES_DTYPE,
    families_at,
    families_column,
    families_over,
)
from planner.resolve.engine_profiles import (
    Constant,
    Engine,
    Fallback,
    Profile,
    Version,
    load_engines,
    parse_version,
    read_engine,
)

__all__ = [
    "CONSTANTS",
    "Constant",
    "Engine",
    "Profile",
    "Version",
    "engines_frame",
    "find_engine",
    "load_engines",
    "parse_version",
    "profile_of",
    "read_engine",
]

_NEAREST_WIDENING: Final = 2.0
_VERSION_PARTS: Final = 6
"""Longer than any edge of a range: 0.8 is 0.8.0, not below it."""
_TAG_YEARS: Final = range(20, 100)
"""First numbers that are a year: images are tagged 25.09 or 2025.09 for September 2025."""
_MONTHS: Final = range(1, 13)
_VERSION_STEP: Final = 100_000
_TEXT: Final = ("engine", "engine_version", "worker", "engine_note", "engine_profile")
OLDER_WORKER: Final = "older"
"""`worker` of the rows of engines_frame that stand for an engine's fallback; else empty."""


def profile_of(engine: Engine, version: str | None) -> Profile:
    """The profile that covers a version, else the nearest, wider and with a note."""
    wanted = parse_version(version)
    if wanted is None:
        return _undated(engine, version)
    year = wanted[0] % 2000
    if year in _TAG_YEARS and wanted[1] in _MONTHS and engine.profiles[-1].below[0] < year:
        return _of_day(engine, date(2000 + year, wanted[1], 1))
    wanted = _padded(wanted)
    built = _stamp(version)
    if built and wanted < engine.profiles[0].first:
        return _of_day(engine, built)
    for profile in engine.profiles:
        if profile.first <= wanted < profile.below:
            return replace(profile, by_model_type=families_at(engine, profile, wanted))
    nearest = _nearest(engine.profiles, wanted)
    note = f"{engine.title} {version} has no profile; that of {nearest.versions} stands in"
    own = families_at(engine, nearest, wanted)
    return replace(
        nearest, constants=_widened(nearest), by_model_type=own, note=_join(nearest.note, note)
    )


def _stamp(version: str | None) -> date | None:
    """The day in the text of a build: 2026-08-16, or d20260816 of a source build (0.1.dev1+...)."""
    for year, month, day in re.findall(r"(?:\b|\.d)(20\d\d)-?(\d\d)-?(\d\d)\b", version or ""):
        with contextlib.suppress(ValueError):
            return date(int(year), int(month), int(day))
    return None


def _undated(engine: Engine, version: str | None) -> Profile:
    """Builds go by their date; without version the newest; of an unknown one, all of them."""
    newest = engine.profiles[-1]
    newest = replace(newest, by_model_type=families_at(engine, newest))
    built = _stamp(version)
    if built:
        return _of_day(engine, built)
    if len(engine.profiles) == 1:
        return newest
    if not version:
        note = f"version of {engine.title} not given: newest profile"
        wide = {**newest.constants, **engine.undated} if engine.undated else _widened(newest)
        return replace(newest, constants=wide, note=_join(newest.note, note))
    note = f"{engine.title} '{version}' is no known version: range over all versions"
    spanning = _spanning(engine.profiles)
    return replace(
        newest,
        constants=spanning,
        by_model_type=families_over(engine, spanning),
        note=_join(newest.note, note),
    )


def _of_day(engine: Engine, day: date) -> Profile:
    """The newest profile released by a day."""
    dated = [p for p in engine.profiles if p.released and p.released <= day]
    chosen = dated[-1] if dated else engine.profiles[0]
    own = families_at(engine, chosen)
    return replace(
        chosen, by_model_type=own, note=_join(chosen.note, f"profile chosen by date {day}")
    )


def _nearest(profiles: Iterable[Profile], wanted: Version) -> Profile:
    def place(version: Version) -> int:
        major, minor, patch = (*version, 0, 0, 0)[:3]
        return (major * _VERSION_STEP + minor) * _VERSION_STEP + patch

    def distance(profile: Profile) -> int:
        edge = profile.first if wanted < profile.first else profile.below
        return abs(place(wanted) - place(edge))

    return min(profiles, key=distance)


def _widened(profile: Profile) -> dict[str, Constant]:
    def wide(constant: Constant) -> Constant:
        value = constant.value
        return replace(
            constant,
            low=max(value - _NEAREST_WIDENING * (value - constant.low), 0.0),
            high=value + _NEAREST_WIDENING * (constant.high - value),
        )

    return {name: wide(constant) for name, constant in profile.constants.items()}


def _spanning(profiles: tuple[Profile, ...]) -> dict[str, Constant]:
    newest = profiles[-1].constants
    return {
        name: replace(
            newest[name],
            low=min(p.constants[name].low for p in profiles),
            high=max(p.constants[name].high for p in profiles),
        )
        for name in newest
    }


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def find_engine(name: str, engines: Mapping[str, Engine] | None = None) -> Engine:
    """The engine of that id or alias, in any case. Raises KeyError with a hint."""
    known = engines or load_engines()
    folded = name.casefold()
    for engine in known.values():
        if folded in (engine.engine, *(alias.casefold() for alias in engine.aliases)):
            return engine
    hint = did_you_mean(name, known)
    raise KeyError(f"unknown engine '{name}'{'; ' + hint if hint else ''}")


def engines_frame(
    used: Iterable[tuple[str, str | None]], engines: Mapping[str, Engine] | None = None
) -> pl.DataFrame:
    """One row per (engine, engine_version) in use: constants, their range, and the note.

    Columns: `engine`, `engine_version` (null where not given), `engine_note`, `engine_profile`
    (title and version range), each of CONSTANTS, with `<name>_low` and `<name>_high` of RANGED,
    `weight_families` (null: all), `by_model_type`, the constants of model types that have their
    own, and the profile's card tiers (TIER_SCHEMA). Where an older worker takes some runs of a
    version, `fallback_reasons` names what sends a run there, and a second row with `worker`
    OLDER_WORKER holds its constants.
    """
    rows = []
    for name, version in dict.fromkeys(used):
        engine = find_engine(name, engines)
        profile = profile_of(engine, version)
        reasons = _fallback_reasons(engine, version, profile)
        row = _row(engine, name, version, profile)
        rows.append(row | {"worker": "", "fallback_reasons": reasons})
        if reasons and engine.fallback:
            older = replace(followed_by(engine, engine.fallback), note=engine.fallback.note)
            row = _row(engine, name, version, older)
            rows.append(row | {"worker": OLDER_WORKER, "fallback_reasons": []})
    return pl.DataFrame(rows, schema=_frame_schema(), orient="row")


def _row(engine: Engine, name: str, version: str | None, profile: Profile) -> dict[str, Any]:
    row: dict[str, Any] = {
        "engine": name,
        "engine_version": version,
        "engine_note": profile.note or None,
        "engine_profile": f"{engine.title} {profile.versions}",
    }
    for key, constant in profile.constants.items():
        values = (constant.value, constant.low, constant.high)
        row |= dict(zip(bound_columns(key), values, strict=False))
    row["by_model_type"] = families_column(profile.by_model_type)
    row["weight_families"] = list(engine.weight_families) or None
    return row | tier_columns(profile.card_tiers)


def _fallback_reasons(engine: Engine, version: str | None, profile: Profile) -> list[str]:
    """What sends a run to the older worker; builds known by their day go by their profile."""
    wanted = parse_version(version)
    if engine.fallback is None or (wanted is None and _stamp(version) is None):
        return []
    at = _padded(wanted) if wanted else profile.first
    return engine.fallback.reasons_at(at if profile.first <= at < profile.below else profile.first)


def followed_by(engine: Engine, fallback: Fallback) -> Profile:
    """The profile that an older worker's runs follow, with what model types have of their own."""
    found = next(p for p in engine.profiles if p.first == fallback.profile)
    return replace(found, by_model_type=families_at(engine, found, found.first))


def _padded(version: Version) -> Version:
    return (*version, *(0,) * (_VERSION_PARTS - len(version)))


def _frame_schema() -> dict[str, Any]:
    text = dict.fromkeys(_TEXT, pl.String)
    numbers = {column: pl.Float64 for name in CONSTANTS for column in bound_columns(name)}
    lists = dict.fromkeys(("fallback_reasons", "weight_families"), pl.List(pl.String))
    lists["by_model_type"] = FAMILIES_DTYPE
    return {**text, **numbers, **lists, **TIER_SCHEMA}
