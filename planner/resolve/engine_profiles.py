"""Engine profiles as data: what a profile file may say, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

from planner.documents import check_document, load_document
from planner.errors import InputProblems, Problem, did_you_mean
from planner.resolve.engine_constants import CONSTANTS, DEFAULTS
from planner.resolve.engine_families import BY_MODEL_TYPE, Families, FamilyConstant

Version = tuple[int, ...]
_NO_END: Final = 99999


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant with its range, in the unit its name ends in."""

    value: float
    low: float
    high: float
    points: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """The constants of one engine over one version range."""

    engine: str
    first: Version
    below: Version
    constants: Mapping[str, Constant]
    released: date | None = None
    inside_fraction: str = ""
    on_top: str = ""
    note: str = ""
    by_model_type: Families = field(default_factory=dict)
    card_tiers: tuple[Mapping[str, float], ...] = ()

    @property
    def versions(self) -> str:
        """The range as text."""
        if self.below[0] >= _NO_END:
            return "of any version"
        return f"from {dotted(self.first)} to below {dotted(self.below)}"


@dataclass(frozen=True, slots=True)
class Reason:
    """What sends runs of some versions to an older worker, by the name the schema lists."""

    name: str
    first: Version
    below: Version
    source: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """An older worker that takes some runs of a version, and the profile that it follows."""

    profile: Version
    note: str
    reasons: tuple[Reason, ...]

    def reasons_at(self, version: Version) -> list[str]:
        """What sends a run of this version to the older worker."""
        return [one.name for one in self.reasons if one.first <= version < one.below]


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference engine with its profiles, oldest first."""

    engine: str
    title: str
    aliases: tuple[str, ...]
    profiles: tuple[Profile, ...]
    families: tuple[FamilyConstant, ...] = ()
    undated: Mapping[str, Constant] = field(default_factory=dict)
    fallback: Fallback | None = None
    weight_families: tuple[str, ...] = ()
    notes: str = ""
    documentation: str = ""


_OTHERS: Final = ("rocm", "cuda", "cu", "torch", "python", "py", "ubuntu")
_NUMBER: Final = r"(?<![\d.#])" + "".join(rf"(?<!{name})" for name in _OTHERS) + r"(\d+(?:\.\d+)+)"


def parse_version(text: str | None) -> Version | None:
    """The first dotted number of a version text, or None: `0.11.0+cu128` is (0, 11, 0).

    Versions of what an image is built on (`rocm6.4_py3.12_vllm_0.10.1`) are passed over.
    """
    found = re.search(_NUMBER, text or "")
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


def dotted(edge: Version) -> str:
    """An edge of a version range as a profile file says it: (0, 8, 0) is 0.8."""
    return ".".join(str(part) for part in edge[:-1])


def engines_folder() -> Path:
    """Where the shipped profiles lie."""
    return Path(__file__).resolve().parents[1] / "catalog" / "data" / "engines"


@cache
def load_engines(folder: Path | None = None) -> dict[str, Engine]:
    """Engines by id from the profile files of a folder (the shipped ones by default).

    Raises:
        InputProblems: a file breaks the schema or names an unknown constant.
    """
    engines = [read_engine(path) for path in sorted((folder or engines_folder()).glob("*.yaml"))]
    return {engine.engine: engine for engine in engines}


def read_engine(path: Path) -> Engine:
    """One profile file. Raises InputProblems with the place of every mistake."""
    document = load_document(path)
    problems = [*document.problems, *check_document(document, "engine"), *_unknown(document)]
    problems += _unlike(document)
    if problems:
        raise InputProblems(problems)
    data: Any = document.data
    given = _inherited(data)
    return Engine(
        engine=data["engine"],
        title=data["title"],
        aliases=tuple(data.get("aliases", ())),
        profiles=tuple(
            _profile(data["engine"], entry, given[entry["from"]]) for entry in data["profiles"]
        ),
        undated={name: _constant(name, entry) for name, entry in data.get("undated", {}).items()},
        fallback=_fallback(data.get("fallback")),
        weight_families=tuple(data.get("weight_families", ())),
        families=tuple(_family(entry) for entry in data.get("by_model_type", ())),
        notes=data.get("notes", ""),
        documentation=data.get("documentation", ""),
    )


def _unknown(document: Any) -> list[Problem]:
    data = document.data if isinstance(document.data, dict) else {}
    places: list[tuple[tuple[str | int, ...], Any]] = [
        ((part,), data.get(part) or {}) for part in ("common", "undated")
    ]
    for index, entry in enumerate(data.get("profiles") or []):
        if isinstance(entry, dict):
            places.append((("profiles", index, "constants"), entry.get("constants") or {}))
    return [
        document.problem(
            (*place, name),
            "unknown-constant",
            f"no engine constant is called '{name}'",
            did_you_mean(name, CONSTANTS),
            key=True,
        )
        for place, constants in places
        if isinstance(constants, dict)
        for name in constants
        if name not in CONSTANTS
    ] + [
        document.problem(
            ("by_model_type", index, "constant"),
            "unknown-constant",
            f"'{name}' is no engine constant that may differ by model type",
            did_you_mean(str(name), BY_MODEL_TYPE),
        )
        for index, name in _named_by_type(data)
        if name not in BY_MODEL_TYPE
    ]


def _named_by_type(data: Mapping[str, Any]) -> list[tuple[int, Any]]:
    entries = enumerate(data.get("by_model_type") or [])
    return [
        (index, e["constant"]) for index, e in entries if isinstance(e, dict) and "constant" in e
    ]


def _fallback(entry: Mapping[str, Any] | None) -> Fallback | None:
    if entry is None:
        return None
    return Fallback(
        profile=_edge(entry["profile"]),
        note=entry.get("note", ""),
        reasons=tuple(
            Reason(each["reason"], _edge(each["from"]), _edge(each["below"]), each["source"])
            for each in entry["reasons"]
        ),
    )


def _edge(text: str) -> Version:
    """An edge of a version range, so that 0.8 is 0.8.0."""
    return parse_version(f"{text}.0") or ()


def _family(entry: Mapping[str, Any]) -> FamilyConstant:
    return FamilyConstant(
        name=entry["constant"],
        model_types=tuple(entry["model_types"]),
        first=_edge(entry.get("from", "0")),
        below=_edge(entry.get("below", str(_NO_END + 1))),
        constant=_constant(entry["constant"], entry),
    )


def _inherited(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each profile gives: the common constants, those of the one it is `like`, its own."""
    given: dict[str, dict[str, Any]] = {}
    for entry in data["profiles"]:
        base = given[entry["like"]] if "like" in entry else data.get("common", {})
        given[entry["from"]] = {**base, **entry.get("constants", {})}
    return given


def _unlike(document: Any) -> list[Problem]:
    """Problems of a profile `like` none before it, and of a fallback to none."""
    data = document.data if isinstance(document.data, dict) else {}
    entries, fallback = data.get("profiles"), data.get("fallback")
    problems: list[Problem] = []
    earlier: list[str] = []
    for index, entry in enumerate(entries or []):
        if isinstance(entry, dict):
            if "like" in entry and entry["like"] not in earlier:
                message = f"no profile before this one begins at '{entry['like']}'"
                hint = did_you_mean(str(entry["like"]), earlier)
                place = ("profiles", index, "like")
                problems.append(document.problem(place, "unknown-profile", message, hint))
            earlier.append(str(entry.get("from")))
    if isinstance(fallback, dict) and str(fallback.get("profile")) not in earlier:
        message = f"no profile begins at '{fallback.get('profile')}'"
        hint = did_you_mean(str(fallback.get("profile")), earlier)
        found = document.problem(("fallback", "profile"), "unknown-profile", message, hint)
        problems.append(found)
    return problems


def _profile(engine: str, entry: Mapping[str, Any], given: Mapping[str, Any]) -> Profile:
    released = entry.get("released")
    return Profile(
        engine=engine,
        first=_edge(entry["from"]),
        below=_edge(entry["below"]),
        constants={name: _constant(name, given.get(name)) for name in CONSTANTS},
        released=date.fromisoformat(str(released)) if released else None,
        inside_fraction=entry.get("inside_fraction", ""),
        on_top=entry.get("on_top", ""),
        note=entry.get("note", ""),
        card_tiers=tuple(entry.get("card_tiers", ())),
    )


def _constant(name: str, entry: Mapping[str, Any] | None) -> Constant:
    if entry is None:
        return default_constant(name)
    value, error = float(entry["value"]), float(entry.get("error", 0.0))
    return Constant(
        value,
        float(entry.get("low", max(value * (1 - error), 0.0))),
        float(entry.get("high", value * (1 + error))),
        int(entry.get("points", 0)),
        str(entry["source"]),
    )


def default_constant(name: str) -> Constant:
    """A constant that a profile leaves out."""
    value = DEFAULTS.get(name, 0.0)
    return Constant(value, value, value)
