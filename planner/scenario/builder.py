"""What every part of the scenario builder shares: reporting, names, models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.documents.reader import json_path
from planner.errors import Problem, did_you_mean
from planner.scenario.axes import AXES, DEFAULT_LORA_TARGETS
from planner.scenario.model import Demand, ModelReference, Value
from planner.scenario.read import RawScenario

Path_ = tuple[str | int, ...]
ResolveName = Callable[[str, str], str]
"""(kind, name) -> id; raises LookupError with (message, hint) for an unknown or ambiguous name."""


class Builder:
    """Collects problems while the parts of a scenario are built."""

    def __init__(self, raw: RawScenario, resolve_name: ResolveName) -> None:
        self.raw = raw
        self.document = raw.document
        self.problems: list[Problem] = []
        self._resolve = resolve_name

    def report(
        self, path: Path_, code: str, message: str, hint: str = "", *, key: bool = False
    ) -> None:
        self.problems.append(self.document.problem(path, code, message, hint, key=key))

    def name(self, kind: str, name: Any, path: Path_) -> str:
        """A name of the catalog as its id; a problem and the name itself where it is none."""
        try:
            return self._resolve(kind, str(name))
        except LookupError as error:
            message, hint = error.args
            if self.is_doubtful(path) or kind in self.raw.broken_kinds:
                # The value itself, or the file that should define it, is reported already.
                return str(name)
            self.report(path, f"unknown-{kind.removesuffix('s')}", message, hint)
            return str(name)

    def is_doubtful(self, path: Path_) -> bool:
        """Whether YAML itself makes the value at a path doubtful, which is reported once."""
        shown = json_path(path)
        return any(problem.path == shown for problem in self.document.problems)

    def models(self, items: Any, path: Path_) -> tuple[ModelReference, ...]:
        references: list[ModelReference] = []
        for index, item in enumerate(items or []):
            here = (*path, index)
            if isinstance(item, str):
                references.append(ModelReference(self.name("models", item, here), here))
            elif isinstance(item, dict) and "id" in item:
                references.append(self.own_model(item, here))
        seen: set[str] = set()
        for reference in references:
            if reference.model in seen:
                self.report(
                    reference.path, "duplicate-name", f"'{reference.model}' is listed twice"
                )
            seen.add(reference.model)
        return tuple(references)

    def own_model(self, item: Mapping[str, Any], path: Path_) -> ModelReference:
        sizes = {
            key: value for key, value in item.items() if key not in ("id", "config", "assume_like")
        }
        if "config" in item and sizes:
            key = next(iter(sizes))
            self.report(
                (*path, key), "contradiction", f"'{key}' and 'config' exclude each other", key=True
            )
        if "config" not in item and not sizes:
            return ModelReference(self.name("models", item["id"], (*path, "id")), path)
        if sizes and "parameters" not in sizes:
            self.report(path, "missing-key", "'parameters' is required without a config")
        return ModelReference(item["id"], path, item.get("config"), item.get("assume_like"), sizes)

    def misspelt(self, item: Mapping[str, Any], key: str) -> bool:
        """Whether a key nearly like this one stands there: it is reported as unknown already."""
        keys = [k for k in [*item, *(item.get("matrix") or {})] if k not in AXES]
        return bool(did_you_mean(key, keys))

    def once(
        self,
        axis: str,
        fixed: Mapping[str, Value],
        matrix: Mapping[str, tuple[Value, ...]],
        path: Path_,
    ) -> None:
        if axis in fixed or axis in matrix:
            self.report(
                path,
                "contradiction",
                f"'{axis}' is given twice in this workload",
                "keep one of the two",
                key=True,
            )

    @staticmethod
    def place_of(item: Mapping[str, Any], path: Path_, axis: str) -> Path_:
        if axis in (item.get("matrix") or {}):
            return (*path, "matrix", axis)
        if axis in item:
            return (*path, axis)
        if axis == "lora_rank":
            return (*path, "lora")
        return (*path, "engine", axis)


def known_fields(record: type, given: Any) -> dict[str, Any]:
    """The values a record has a field for; the others are reported as unknown keys."""
    fields = getattr(record, "__slots__", ())
    return {k: v for k, v in (given or {}).items() if k in fields and v is not None}


def texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in items if item is not None)


def sizes(value: Any) -> tuple[int, ...] | None:
    """Sizes of a parallel dimension; None for auto."""
    items = value if isinstance(value, list) else [value]
    return None if "auto" in items else tuple(sorted(item for item in items if item))


def targets(value: Any) -> str:
    """LoRA targets in one spelling: `all-linear`, or sorted names with `;` between."""
    names = texts(value) or (DEFAULT_LORA_TARGETS,)
    return ";".join(sorted(dict.fromkeys(names)))


def demand_context_tokens(demand: Demand | None) -> int:
    """Room for the longest usual request, p95 in plus p95 out; 0 where lengths are not given."""
    if demand is None or demand.input_tokens_mean is None or demand.output_tokens_mean is None:
        return 0
    longest_input = demand.input_tokens_p95 or demand.input_tokens_mean
    longest_output = demand.output_tokens_p95 or demand.output_tokens_mean
    return int(longest_input + longest_output)
