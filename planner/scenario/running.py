"""How a workload runs and what it is asked for: engine, training preset, demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from planner.scenario.axes import DEFAULT_ENGINE, DEFAULT_FRAMEWORK, TRAINING_METHODS
from planner.scenario.builder import Builder, Path_, known_fields
from planner.scenario.model import Demand, Engine, Value
from planner.units import (
    DAYS_PER_YEAR,
    HOURS_PER_DAY,
    HOURS_PER_MONTH_DEFAULT,
    MONTHS_PER_YEAR,
    SECONDS_PER_HOUR,
)

_ENGINE_AXES: Final = ("max_num_seqs", "max_num_batched_tokens", "attention")
_TRAINING_KEYS: Final = frozenset({"training_tokens", "epochs", "runs_per_month"})
_LOADS: Final = ("requests_per_second", "tokens_per_day", "concurrent_users")
"""The ways to say how much is asked of a serving workload; one of them."""


class ServingBuilder(Builder):
    """Builds engines and demands."""

    def engine(self, item: Any, path: Path_, fixed: dict[str, Value]) -> Engine:
        if item is None:
            return Engine(DEFAULT_ENGINE)
        if isinstance(item, str):
            return Engine(self.name("engines", item, path))
        settings = {key: value for key, value in item.items() if key not in _ENGINE_AXES}
        settings["name"] = self.name("engines", item.get("name", DEFAULT_ENGINE), (*path, "name"))
        limits = settings.pop("limit_mm_per_prompt", None)
        if isinstance(limits, Mapping):
            settings |= {f"{kind}s_per_prompt": number for kind, number in limits.items()}
        for axis in _ENGINE_AXES:
            if axis in item:
                self.once(axis, fixed, {}, (*path, axis))
                fixed[axis] = item[axis]
        if settings.get("draft_model") is not None:
            here = (*path, "draft_model")
            settings["draft_model"] = self.name("models", settings["draft_model"], here)
        for key in ("draft_model", "speculative_acceptance"):
            if key in settings and "speculative_tokens" not in settings:
                message = f"'{key}' needs 'speculative_tokens'"
                self.report((*path, key), "missing-key", message, key=True)
        if "lora_rank" in settings and "lora_adapters" not in settings:
            self.report(
                (*path, "lora_rank"), "missing-key", "'lora_rank' needs 'lora_adapters'", key=True
            )
        return Engine(**known_fields(Engine, settings))

    def framework(self, item: Mapping[str, Any], path: Path_) -> str:
        if "framework" not in item:
            return DEFAULT_FRAMEWORK
        return self.name("frameworks", item["framework"], (*path, "framework"))

    def demand(self, item: Any, path: Path_, methods: tuple[str, ...]) -> Demand | None:
        if not isinstance(item, dict):
            return None
        trains = bool(set(methods) & set(TRAINING_METHODS))
        serves = "inference" in methods
        for key in item:
            if methods and not (trains if key in _TRAINING_KEYS else serves):
                self.report(
                    (*path, key),
                    "unused-key",
                    f"'{key}' has no effect in this workload",
                    f"its methods are {', '.join(methods)}",
                    key=True,
                )
        if serves:
            self.load(item, path)
        if trains and not serves and "training_tokens" not in item:
            self.report(path, "missing-key", "'training_tokens' is required")
        plain = {
            key: value
            for key, value in item.items()
            if key in Demand.__slots__ and value is not None
        }
        plain |= self.lengths(item, path)
        read, written = (plain.get(f"{key}_tokens_mean") for key in ("input", "output"))
        tokens_per_day = item.get("tokens_per_day")
        if tokens_per_day and read and written:
            plain["requests_per_second"] = tokens_per_day / self.seconds_a_day() / (read + written)
        return Demand(**plain)

    def seconds_a_day(self) -> float:
        """Seconds in which the tokens of a day are served: those of the hours that are paid."""
        given = (self.raw.data.get("assumptions") or {}).get("hours_per_month")
        hours = float(given or HOURS_PER_MONTH_DEFAULT)
        return min(hours * MONTHS_PER_YEAR / DAYS_PER_YEAR, HOURS_PER_DAY) * SECONDS_PER_HOUR

    def load(self, item: Mapping[str, Any], path: Path_) -> None:
        """One way of saying the load, with the lengths that turn it into work."""
        given = [key for key in _LOADS if key in item]
        for key in given[1:]:
            message = f"'{key}' and '{given[0]}' both say how much is asked"
            self.report((*path, key), "contradiction", message, "keep one of the two", key=True)
        if given:
            for key in ("input_tokens", "output_tokens"):
                if key not in item and (*path, key) not in self.raw.broken:
                    self.report(path, "missing-key", f"'{key}' is required with '{given[0]}'")
        if "seconds_between_requests" in item and "concurrent_users" not in item:
            message = "'seconds_between_requests' needs 'concurrent_users'"
            here = (*path, "seconds_between_requests")
            self.report(here, "missing-key", message, key=True)

    def lengths(self, item: Mapping[str, Any], path: Path_) -> dict[str, Any]:
        """Mean and 95th percentile of the lengths; a plain number is the mean."""
        plain: dict[str, Any] = {}
        for key in ("input_tokens", "output_tokens"):
            value = item.get(key)
            if value is None:
                continue
            length = value if isinstance(value, dict) else {"mean": value}
            mean, p95 = length.get("mean"), length.get("p95")
            if mean and p95 and p95 < mean:
                self.report(
                    (*path, key, "p95"), "contradiction", f"the p95 is below the mean of {mean}"
                )
            plain[f"{key}_mean"], plain[f"{key}_p95"] = mean, p95
        return plain
