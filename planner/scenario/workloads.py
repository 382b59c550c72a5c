"""Workloads: axes, methods, and what contradicts itself in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.scenario.axes import (
    ADAPTER_METHODS,
    AXES,
    CONCURRENCY_LADDER,
    TRAINING_METHODS,
)
from planner.scenario.builder import (
    Path_,
    demand_context_tokens,
    known_fields,
    targets,
    texts,
)
from planner.scenario.contradictions import fixed_contradictions
from planner.scenario.model import Demand, Lora, ModelReference, Objectives, Value, Workload
from planner.scenario.running import ServingBuilder

_KIND_OF_AXIS = {"weight_format": "formats", "optimizer": "optimizers"}


class WorkloadBuilder(ServingBuilder):
    """Builds the workloads of a scenario."""

    def workload(
        self, item: Mapping[str, Any], path: Path_, top_models: tuple[ModelReference, ...]
    ) -> Workload:
        fixed, matrix = self.axis_values(item, path)
        engine_item = item.get("engine")
        engine = self.engine(engine_item, (*path, "engine"), fixed)
        methods = self.methods(item, path, fixed, matrix)
        lora = item.get("lora") or {}
        if "rank" in lora:
            self.once("lora_rank", fixed, matrix, (*path, "lora", "rank"))
            fixed["lora_rank"] = lora["rank"]
        demand = self.demand(item.get("demand"), (*path, "demand"), methods)
        self.unused(item, path, methods, fixed, matrix)
        self.fill_defaults(path, methods, fixed, matrix, demand)
        workload = Workload(
            name=item.get("name", f"workload-{path[-1]}"),
            tags=texts(item.get("tags")),
            models=self.models(item["models"], (*path, "models"))
            if "models" in item
            else top_models,
            fixed=fixed,
            matrix=matrix,
            include=self.selectors(item, path, "include", methods),
            exclude=self.selectors(item, path, "exclude", methods),
            for_each=texts(item.get("for_each")),
            engine=engine,
            framework=self.framework(item, path),
            lora=Lora(targets(lora.get("targets")), float(lora.get("dropout", 0.0))),
            demand=demand,
            objectives=Objectives(**known_fields(Objectives, item.get("objectives"))),
            allow_longer_context=bool(item.get("allow_longer_context", False)),
            path=path,
        )
        if not workload.models and "models" not in item and ("models",) not in self.raw.broken:
            self.report(path, "missing-key", "no models: neither here nor at the top")
        self.check_for_each(workload)
        self.check_excludes(workload)
        self.contradictions(workload, item)
        return workload

    def axis_values(
        self, item: Mapping[str, Any], path: Path_
    ) -> tuple[dict[str, Value], dict[str, tuple[Value, ...]]]:
        fixed: dict[str, Value] = {}
        matrix: dict[str, tuple[Value, ...]] = {}
        for axis in AXES:
            if item.get(axis) is not None:
                fixed[axis] = self.axis_value(axis, item[axis], (*path, axis))
        for axis, values in (item.get("matrix") or {}).items():
            if axis not in AXES or values is None:
                continue
            here = (*path, "matrix", axis)
            self.once(axis, fixed, {}, here)
            fixed.pop(axis, None)
            listed = values if isinstance(values, list) else [values]
            resolved = [
                self.axis_value(axis, value, (*here, index) if isinstance(values, list) else here)
                for index, value in enumerate(listed)
                if value is not None
            ]
            matrix[axis] = self.distinct(axis, resolved, here)
        return fixed, matrix

    def distinct(self, axis: str, values: list[Value], path: Path_) -> tuple[Value, ...]:
        for index, value in enumerate(values):
            if value in values[:index]:
                self.report(
                    (*path, index),
                    "duplicate-value",
                    f"'{value}' is already in the list",
                )
        return tuple(dict.fromkeys(values))

    def axis_value(self, axis: str, value: Any, path: Path_) -> Value:
        kind = _KIND_OF_AXIS.get(axis)
        if kind and not (axis == "weight_format" and value == "checkpoint"):
            return self.name(kind, value, path)
        kept: Value = value
        return kept

    def methods(
        self,
        item: Mapping[str, Any],
        path: Path_,
        fixed: Mapping[str, Value],
        matrix: Mapping[str, tuple[Value, ...]],
    ) -> tuple[str, ...]:
        if "method" in matrix:
            return tuple(str(value) for value in matrix["method"])
        if "method" in fixed:
            return (str(fixed["method"]),)
        broken = {(*path, "method"), (*path, "matrix"), (*path, "matrix", "method")}
        if not broken & self.raw.broken and not self.misspelt(item, "method"):
            self.report(
                path,
                "missing-key",
                "'method' is required, here or in the matrix",
                f"one of {', '.join(AXES['method'].methods)}",
            )
        return ()

    def unused(
        self,
        item: Mapping[str, Any],
        path: Path_,
        methods: tuple[str, ...],
        fixed: Mapping[str, Value],
        matrix: Mapping[str, tuple[Value, ...]],
    ) -> None:
        """Keys that none of the workload's methods uses are mistakes, not decoration."""
        if not methods:
            return
        said = "its method is" if len(methods) == 1 else "its methods are"
        who = f"{said} {', '.join(methods)}"
        for axis in (*fixed, *matrix):
            if axis == "lora_rank" and "lora" in item:
                continue  # said of `lora` below
            if axis in AXES and not set(AXES[axis].methods) & set(methods):
                here = self.place_of(item, path, axis)
                needs = ", ".join(AXES[axis].methods)
                self.report(
                    here,
                    "unused-key",
                    f"'{axis}' has no effect in this workload: {who}",
                    f"it belongs to {needs}",
                    key=True,
                )
        for key, users in (
            ("lora", ADAPTER_METHODS),
            ("framework", TRAINING_METHODS),
            ("engine", ("inference",)),
            ("objectives", ("inference",)),
        ):
            if key in item and not set(users) & set(methods):
                self.report(
                    (*path, key),
                    "unused-key",
                    f"'{key}' has no effect in this workload: {who}",
                    f"it belongs to {', '.join(users)}",
                    key=True,
                )

    def fill_defaults(
        self,
        path: Path_,
        methods: tuple[str, ...],
        fixed: dict[str, Value],
        matrix: dict[str, tuple[Value, ...]],
        demand: Demand | None,
    ) -> None:
        lengths = demand_context_tokens(demand)
        given = self.raw.data["workloads"][path[-1]]
        for name, axis in AXES.items():
            if name in fixed or name in matrix or not set(axis.methods) & set(methods):
                continue
            if name == "context_tokens" and lengths:
                fixed[name] = lengths
            elif name == "concurrent_sequences" and demand and demand.is_load:
                matrix[name] = CONCURRENCY_LADDER
            elif axis.default is not None:
                fixed[name] = axis.default
            elif axis.required and name != "method" and not self.misspelt(given, name):
                broken = {(*path, name), (*path, "matrix"), (*path, "matrix", name)}
                if not broken & self.raw.broken:
                    needs = ", ".join(m for m in methods if m in axis.methods)
                    self.report(path, "missing-key", f"'{name}' is required for {needs}")

    def selectors(
        self, item: Mapping[str, Any], path: Path_, key: str, methods: tuple[str, ...]
    ) -> tuple[Mapping[str, Value], ...]:
        found: list[Mapping[str, Value]] = []
        for index, entry in enumerate(item.get(key) or []):
            if not isinstance(entry, dict):
                continue
            here = (*path, key, index)
            if key == "include" and methods:
                self.useless_axes(entry, here, methods)
            found.append(
                {
                    axis: self.name("models", value, (*here, axis))
                    if axis == "model"
                    else self.axis_value(axis, value, (*here, axis))
                    for axis, value in entry.items()
                    if value is not None and (axis == "model" or axis in AXES)
                }
            )
        return tuple(found)

    def useless_axes(self, entry: Mapping[str, Any], path: Path_, methods: tuple[str, ...]) -> None:
        """Axes of an include that none of its methods uses would add nothing."""
        used = (entry["method"],) if entry.get("method") else methods
        for axis in entry:
            if axis in AXES and not set(AXES[axis].methods) & set(used):
                self.report(
                    (*path, axis),
                    "unused-key",
                    f"'{axis}' has no effect here: the methods are {', '.join(used)}",
                    f"it belongs to {', '.join(AXES[axis].methods)}",
                    key=True,
                )

    def check_for_each(self, workload: Workload) -> None:
        written = self.raw.data["workloads"][workload.path[-1]].get("for_each") or []
        for index, axis in enumerate(written):
            if axis is not None and axis != "model" and axis not in workload.matrix:
                self.report(
                    (*workload.path, "for_each", index),
                    "contradiction",
                    f"'{axis}' does not vary in this workload's matrix",
                    f"varying: {', '.join(['model', *workload.matrix])}",
                )

    def check_excludes(self, workload: Workload) -> None:
        """An exclude that matches nothing is a typing mistake that would go unseen."""
        models = [model.model for model in workload.models]
        for index, entry in enumerate(workload.exclude):
            for axis, value in entry.items():
                if axis == "model":
                    values: tuple[Value, ...] = tuple(models)
                elif axis in workload.matrix:
                    values = workload.matrix[axis]
                else:
                    values = (workload.fixed[axis],) if axis in workload.fixed else ()
                if value not in values:
                    known = ", ".join(str(known) for known in values) or "nothing"
                    self.report(
                        (*workload.path, "exclude", index, axis),
                        "unused-exclude",
                        f"excludes nothing: '{value}' is not a value of '{axis}' here",
                        f"values: {known}",
                    )

    def contradictions(self, workload: Workload, item: Mapping[str, Any]) -> None:
        """Fixed values that can't work together are errors; in a sweep they become cells."""
        for axis, message, hint in fixed_contradictions(workload):
            self.report(self.place_of(item, workload.path, axis), "contradiction", message, hint)
