"""Write a calibrated profile as a profile file, with all that its version had before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from planner.calibrate import Calibration, Fitted
from planner.resolve.engine_profiles import Constant, Fallback, default_constant, dotted
from planner.resolve.engines import (
    CONSTANTS,
    Engine,
    Profile,
    Version,
    followed_by,
    parse_version,
)

_DIGITS: Final = 12
"""A relative range is written by its half width where so many digits give both ends exactly."""


def profile_text(engine: Engine, profile: Profile, result: Calibration, source: str) -> str:
    """A profile file (YAML) for one version: the fitted constants, the others as they were.

    Reading it gives the other constants, their ranges, the families' own and the card tiers
    exactly as `profile` has them. Where an older worker takes some runs of the version, the file
    holds its profile too.
    """
    if not result.version:  # the note is then that no version was given, which the file has
        shipped = (one.note for one in engine.profiles if one.first == profile.first)
        profile = replace(profile, note=next(shipped, ""))
    own = _range(result.version, profile)
    fallback = _fallback_within(engine, own)
    older = [followed_by(engine, fallback)] if fallback else []
    places = [*((one, (one.first, one.below)) for one in older), (profile, own)]
    fitted = {one.name: one for one in result.fitted}
    lines = [
        f"# Constants of {engine.title} {result.version}, fitted to measured runs.",
        f"engine: {engine.engine}",
        f"title: {_quoted(engine.title)}",
    ]
    if engine.aliases:
        lines.append(f"aliases: [{', '.join(_quoted(alias) for alias in engine.aliases)}]")
    if engine.weight_families:
        lines.append(f"weight_families: [{', '.join(engine.weight_families)}]")
    lines += [
        f"{name}: {_quoted(text)}"
        for name, text in (("documentation", engine.documentation), ("notes", engine.notes))
        if text
    ]
    lines += _families(places)
    if fallback:
        lines += _fallback(fallback)
    lines.append("profiles:")
    for one in older:
        lines += _profile(one, (one.first, one.below), {}, "")
    lines += _profile(profile, own, fitted, source)
    return "\n".join(lines) + "\n"


def _profile(
    profile: Profile, versions: tuple[Version, Version], fitted: dict[str, Fitted], source: str
) -> list[str]:
    lines = [f'  - from: "{dotted(versions[0])}"', f'    below: "{dotted(versions[1])}"']
    if profile.released:
        lines.append(f'    released: "{profile.released.isoformat()}"')
    lines += [
        f"    {name}: {_quoted(text)}"
        for name, text in (
            ("note", profile.note),
            ("inside_fraction", profile.inside_fraction),
            ("on_top", profile.on_top),
        )
        if text
    ]
    constants = []
    for name in CONSTANTS:
        if name in fitted:
            constants.append(f"      {name}: {{{_of_fit(fitted[name], source)}}}")
        elif profile.constants[name] != default_constant(name):
            constants.append(f"      {name}: {{{_as_it_was(profile.constants[name])}}}")
    return [*lines, "    constants:", *constants, *_tiers(profile)]


def _of_fit(one: Fitted, source: str) -> str:
    value = _number(float(f"{one.value:.6g}"))
    error = _number(float(f"{one.error:.3g}"))
    return f"value: {value}, error: {error}, points: {one.points}, source: {_quoted(source)}"


def _as_it_was(constant: Constant) -> str:
    """Value, range and source: reading them gives the same numbers, to the last bit."""
    points = f"points: {constant.points}, " if constant.points else ""
    value, source = _number(constant.value), _quoted(constant.source)
    return f"value: {value}, {_ends(constant)}{points}source: {source}"


def _ends(constant: Constant) -> str:
    """The range: by `error` where that gives both ends, by its ends where it is not even."""
    value, low, high = constant.value, constant.low, constant.high
    if low == value == high:
        return ""
    error = round(high / value - 1, _DIGITS) if value else 0.0
    if error > 0 and (max(value * (1 - error), 0.0), value * (1 + error)) == (low, high):
        return f"error: {_number(error)}, "
    return f"low: {_number(low)}, high: {_number(high)}, "


def _number(number: float) -> str:
    """The shortest text that reads as the same number, never as text or in base 8."""
    if float(number).is_integer():
        return str(int(number))
    text = repr(float(number))
    mantissa, exponent, power = text.partition("e")
    return text if not exponent or "." in mantissa else f"{mantissa}.0e{power}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tiers(profile: Profile) -> list[str]:
    if not profile.card_tiers:
        return []
    entries = (
        ", ".join(f"{key}: {_number(n)}" for key, n in tier.items()) for tier in profile.card_tiers
    )
    return ["    card_tiers:", *(f"      - {{{entry}}}" for entry in entries)]


def _families(places: Iterable[tuple[Profile, tuple[Version, Version]]]) -> list[str]:
    """What model types have of their own, over the range of each profile in the file."""
    entries = [
        f"  - {{constant: {name}, model_types: [{_quoted(model_type)}],"
        f' from: "{dotted(first)}", below: "{dotted(below)}", {_as_it_was(own)}}}'
        for profile, (first, below) in places
        for model_type, constants in profile.by_model_type.items()
        for name, own in constants.items()
    ]
    return ["by_model_type:", *entries] if entries else []


def _fallback_within(engine: Engine, versions: tuple[Version, Version]) -> Fallback | None:
    """The fallback, with what sends runs of some of these versions to the older worker."""
    if engine.fallback is None:
        return None
    first, below = versions
    known = engine.fallback
    reasons = tuple(r for r in known.reasons if r.first < below and first < r.below)
    return Fallback(known.profile, known.note, reasons) if reasons else None


def _fallback(fallback: Fallback) -> list[str]:
    reasons = [
        f'    - {{reason: {one.name}, from: "{dotted(one.first)}", below: "{dotted(one.below)}",'
        f" source: {_quoted(one.source)}}}"
        for one in fallback.reasons
    ]
    note = [f"  note: {_quoted(fallback.note)}"] if fallback.note else []
    return ["fallback:", f'  profile: "{dotted(fallback.profile)}"', *note, "  reasons:", *reasons]


def _range(version: str, profile: Profile) -> tuple[Version, Version]:
    """The version's own minor range, or the whole range of the profile it started from."""
    parsed = parse_version(version)
    if parsed is None or len(parsed) < 2:
        return profile.first, profile.below
    return (*parsed[:2], 0), (parsed[0], parsed[1] + 1, 0)
