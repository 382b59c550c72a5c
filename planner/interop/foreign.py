"""Reading other tools' files: tolerant of their YAML, honest about what was not used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from planner.errors import InputProblems, Problem

MAX_BYTES: Final = 2_000_000


@dataclass(slots=True)
class Foreign:
    """Settings of another tool's file, remembering which of them were asked for."""

    settings: Mapping[str, Any]
    used: set[str] = field(default_factory=set)

    def get(self, *names: str, default: Any = None) -> Any:
        """The value of the first of these names that is there (dotted names go deeper)."""
        for name in names:
            value: Any = self.settings
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                self.used.add(name.split(".")[0])
                return value
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A yes or no; `auto` counts as yes."""
        value = self.get(name, default=default)
        return str(value).lower() in ("true", "auto", "yes", "1")

    def unused(self, silent: Iterable[str] = ()) -> list[str]:
        """Settings that had no say, but for those that have nothing to do with memory."""
        return sorted(set(map(str, self.settings)) - self.used - set(silent))


@dataclass(slots=True)
class Imported:
    """A scenario made from another tool's file, and what a reader must know about it."""

    scenario: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def text(self, source: str) -> str:
        """The scenario as YAML, with the notes as comments on top."""
        lines = [f"# Made by `planner import` from {_comment(source)}."]
        lines += [f"# - {_comment(note)}" for note in self.notes]
        body = dump_yaml(self.scenario)
        return "\n".join(lines) + "\n" + body


class PlainDumper(yaml.SafeDumper):
    """YAML as people write it: no anchors, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists under their key."""
        super().increase_indent(flow, False)


def dump_yaml(*documents: Any) -> str:
    """Documents as YAML, keys in the order given, long lines kept."""
    return str(
        yaml.dump_all(
            documents, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=10_000
        )
    )


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def foreign_yaml(text: str, file: str) -> dict[str, Any]:
    """A mapping from YAML or JSON.

    Raises:
        InputProblems: it is neither, or no mapping.
    """
    if len(text) > MAX_BYTES:
        raise refused(file, f"is larger than {MAX_BYTES:,} characters")
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise refused(file, f"is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise refused(file, "is not a mapping of settings")
    return {str(key): value for key, value in data.items()}


def refused(file: str, message: str, hint: str = "") -> InputProblems:
    """An import that can't be."""
    return InputProblems([Problem(file, 0, 0, "no-import", "", message, hint)])


def whole(value: Any, name: str, file: str) -> int:
    """A whole number, also as `8k` (8000) and `8K` (8192).

    Raises:
        InputProblems: it is none.
    """
    text = str(value).strip().replace("_", "")
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKmM]?)", text)
    if not match:
        raise refused(file, f"{name} is '{value}', which is no whole number")
    scale = {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}[match.group(2)]
    return int(float(match.group(1)) * scale)


def names(value: Any) -> list[str]:
    """A list of names from a list, a comma-separated text, or one word."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip())
    return [str(item) for item in value or () if item]
