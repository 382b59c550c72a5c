"""A chosen cell as exports see it: names and numbers, no estimator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import InputProblems, Problem


@dataclass(frozen=True, slots=True)
class Launch:
    """Values of one cell by column name, with the settings that the estimate filled in."""

    values: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """A value; the default where it is absent or empty."""
        value = self.values.get(name)
        return default if value is None else value

    def whole(self, name: str, default: int = 1) -> int:
        """A value as a whole number."""
        return int(self.get(name, default))

    @property
    def model(self) -> str:
        """Model id."""
        return str(self.values["model"])

    @property
    def serves(self) -> bool:
        """Whether it is inference."""
        return bool(self.values["method"] == "inference")

    @property
    def engine(self) -> str:
        """Serving engine, or training framework."""
        return str(self.get("engine") if self.serves else self.get("framework"))

    @property
    def gpu_count(self) -> int:
        """GPUs of one replica or run."""
        return self.whole("gpu_count")

    @property
    def name(self) -> str:
        """A name of lower-case letters, digits and dashes, at most 50 long."""
        tail = self.model.rpartition("/")[2]
        raw = f"{self.values.get('workload', 'run')}-{tail}".lower()
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in raw)
        return "-".join(part for part in safe.split("-") if part)[:50].strip("-")


def refuse(target: str, message: str, hint: str = "") -> InputProblems:
    """An export that can't be: the cell isn't of this kind, or the target lacks a setting."""
    return InputProblems([Problem(f"--to {target}", 0, 0, "no-export", "", message, hint)])


def need_engine(launch: Launch, target: str, *engines: str) -> None:
    """Refuse a cell that was estimated for another engine: its numbers do not hold there.

    Raises:
        InputProblems: the engine is another.
    """
    if not launch.serves:
        raise refuse(target, "the case is a training run", "see 'planner export --help'")
    if launch.engine not in engines:
        hint = f"set engine: {engines[0]} in the scenario, or export it as {launch.engine}"
        raise refuse(target, f"the case was estimated for {launch.engine}", hint)
