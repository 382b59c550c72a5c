"""Checked data becomes a Scenario; every contradiction becomes a problem at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputProblems, Problem, did_you_mean
from planner.scenario.axes import (
    ADAPTER_METHODS,
    AXES,
    CONCURRENCY_LADDER,
    DEFAULT_ENGINE,
    DEFAULT_FRAMEWORK,
    DEFAULT_LORA_TARGETS,
    DEFAULT_WEIGHT_FORMAT,
    TRAINING_METHODS,
)
from planner.scenario.model import (
    Assumptions,
    Budget,
    Constraints,
    Demand,
    Engine,
    Lora,
    ModelReference,
    Objectives,
    Owned,
    Scenario,
    Supply,
    Value,
    Workload,
)
from planner.scenario.read import RawScenario
from planner.units import HOURS_PER_MONTH_DEFAULT

Path_ = tuple[str | int, ...]
ResolveName = Callable[[str, str], str]
"""(kind, name) -> id; raises LookupError with (message, hint) for an unknown or ambiguous name."""

_ENGINE_AXES = ("max_num_seqs", "max_num_batched_tokens", "attention")
_KIND_OF_AXIS = {"weight_format": "formats", "optimizer": "optimizers"}


def build_scenario(raw: RawScenario, resolve_name: ResolveName) -> Scenario:
    """The Scenario of a file.

    Raises:
        InputProblems: with every problem of the file: YAML, schema, names, contradictions.
    """
    builder = _Builder(raw, resolve_name)
    scenario = builder.scenario()
    problems = sorted({*raw.problems, *builder.problems})
    if problems:
        raise InputProblems(problems)
    return scenario


class _Builder:
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
            self.report(path, f"unknown-{kind.removesuffix('s')}", message, hint)
            return str(name)

    def scenario(self) -> Scenario:
        data = self.raw.data
        file = Path(self.document.file)
        assumptions = data.get("assumptions") or {}
        top_models = self.models(data.get("models"), ("models",))
        workloads = [
            self.workload(item, ("workloads", index), top_models)
            for index, item in enumerate(data.get("workloads") or [])
            if isinstance(item, dict)
        ]
        self.unique_names(workloads)
        estimator = data.get("estimator", "architecture")
        self.rule_of_thumb_only(estimator, [top_models, *(w.models for w in workloads)])
        if "rule_of_thumb" in data and estimator != "rule-of-thumb":
            self.report(
                ("rule_of_thumb",),
                "unused-key",
                "'rule_of_thumb' has no effect with the architecture estimator",
                "set estimator: rule-of-thumb, or remove it",
                key=True,
            )
        if top_models and workloads and all("models" in w for w in data["workloads"] if w):
            self.report(
                ("models",), "unused-key", "every workload names models of its own", key=True
            )
        if "max_price_age_days" in assumptions and "as_of" not in assumptions:
            self.report(
                ("assumptions", "max_price_age_days"),
                "missing-key",
                "'max_price_age_days' needs 'as_of', the date from which ages are counted",
                key=True,
            )
        return Scenario(
            stem=file.stem,
            file=self.document.file,
            folder=file.parent,
            title=data.get("name", file.stem),
            description=data.get("description", ""),
            tags=_texts(data.get("tags")),
            estimator=estimator,
            assumptions=Assumptions(
                hours_per_month=float(assumptions.get("hours_per_month", HOURS_PER_MONTH_DEFAULT)),
                as_of=assumptions.get("as_of"),
                max_price_age_days=assumptions.get("max_price_age_days", 90),
            ),
            rule_of_thumb=data.get("rule_of_thumb") or {},
            catalog={kind: _texts(files) for kind, files in (data.get("catalog") or {}).items()},
            workloads=tuple(workloads),
            supply=self.supply(data.get("supply") or {}),
            constraints=Constraints(**(data.get("constraints") or {})),
            budgets=self.budgets(data.get("budgets") or [], workloads),
            source=self.document.data,
        )

    def unique_names(self, workloads: Iterable[Workload]) -> None:
        seen: dict[str, Path_] = {}
        for workload in workloads:
            if workload.name in seen:
                line = self.document.mark((*seen[workload.name], "name")).line
                self.report(
                    (*workload.path, "name"),
                    "duplicate-name",
                    f"'{workload.name}' is the name of another workload too, on line {line}",
                )
            seen.setdefault(workload.name, workload.path)

    def rule_of_thumb_only(
        self, estimator: str, groups: Iterable[tuple[ModelReference, ...]]
    ) -> None:
        if estimator == "rule-of-thumb":
            return
        for reference in {model.path: model for group in groups for model in group}.values():
            if reference.sizes:
                self.report(
                    reference.path,
                    "contradiction",
                    f"'{reference.model}' is known only by its sizes, which the architecture "
                    "estimator can't use",
                    "give its config, or set estimator: rule-of-thumb",
                )

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
            tags=_texts(item.get("tags")),
            models=self.models(item["models"], (*path, "models"))
            if "models" in item
            else top_models,
            fixed=fixed,
            matrix=matrix,
            include=self.selectors(item, path, "include", methods),
            exclude=self.selectors(item, path, "exclude", methods),
            for_each=_texts(item.get("for_each")),
            engine=engine,
            framework=self.framework(item, path),
            lora=Lora(_targets(lora.get("targets")), float(lora.get("dropout", 0.0))),
            demand=demand,
            objectives=Objectives(**(item.get("objectives") or {})),
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
                    f"'{value}' is already in the list under another name",
                )
        return tuple(dict.fromkeys(values))

    def axis_value(self, axis: str, value: Any, path: Path_) -> Value:
        kind = _KIND_OF_AXIS.get(axis)
        if kind and not (axis == "weight_format" and value == "checkpoint"):
            return self.name(kind, value, path)
        kept: Value = value
        return kept

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

    def misspelt(self, item: Mapping[str, Any], key: str) -> bool:
        """Whether a key nearly like this one stands there: it is reported as unknown already."""
        keys = [k for k in [*item, *(item.get("matrix") or {})] if k not in AXES]
        return bool(did_you_mean(key, keys))

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

    @staticmethod
    def place_of(item: Mapping[str, Any], path: Path_, axis: str) -> Path_:
        if axis in (item.get("matrix") or {}):
            return (*path, "matrix", axis)
        if axis in item:
            return (*path, axis)
        if axis == "lora_rank":
            return (*path, "lora")
        return (*path, "engine", axis)

    def fill_defaults(
        self,
        path: Path_,
        methods: tuple[str, ...],
        fixed: dict[str, Value],
        matrix: dict[str, tuple[Value, ...]],
        demand: Demand | None,
    ) -> None:
        lengths = _demand_context_tokens(demand)
        given = self.raw.data["workloads"][path[-1]]
        for name, axis in AXES.items():
            if name in fixed or name in matrix or not set(axis.methods) & set(methods):
                continue
            if name == "context_tokens" and lengths:
                fixed[name] = lengths
            elif name == "concurrent_sequences" and demand and demand.requests_per_second:
                matrix[name] = CONCURRENCY_LADDER
            elif axis.default is not None:
                fixed[name] = axis.default
            elif axis.required and name != "method" and not self.misspelt(given, name):
                broken = {(*path, name), (*path, "matrix"), (*path, "matrix", name)}
                if not broken & self.raw.broken:
                    needs = ", ".join(m for m in methods if m in axis.methods)
                    self.report(path, "missing-key", f"'{name}' is required for {needs}")

    def engine(self, item: Any, path: Path_, fixed: dict[str, Value]) -> Engine:
        if item is None:
            return Engine(DEFAULT_ENGINE)
        if isinstance(item, str):
            return Engine(self.name("engines", item, path))
        settings = {key: value for key, value in item.items() if key not in _ENGINE_AXES}
        settings["name"] = self.name("engines", item.get("name", DEFAULT_ENGINE), (*path, "name"))
        for axis in _ENGINE_AXES:
            if axis in item:
                self.once(axis, fixed, {}, (*path, axis))
                fixed[axis] = item[axis]
        if "lora_rank" in settings and "lora_adapters" not in settings:
            self.report(
                (*path, "lora_rank"), "missing-key", "'lora_rank' needs 'lora_adapters'", key=True
            )
        known = {key: value for key, value in settings.items() if key in Engine.__slots__}
        return Engine(**known)

    def framework(self, item: Mapping[str, Any], path: Path_) -> str:
        if "framework" not in item:
            return DEFAULT_FRAMEWORK
        return self.name("frameworks", item["framework"], (*path, "framework"))

    def demand(self, item: Any, path: Path_, methods: tuple[str, ...]) -> Demand | None:
        if not isinstance(item, dict):
            return None
        training = {"training_tokens", "epochs", "runs_per_month"}
        trains = bool(set(methods) & set(TRAINING_METHODS))
        serves = "inference" in methods
        for key in item:
            if methods and not (trains if key in training else serves):
                self.report(
                    (*path, key),
                    "unused-key",
                    f"'{key}' has no effect in this workload",
                    f"its methods are {', '.join(methods)}",
                    key=True,
                )
        if serves and "requests_per_second" in item:
            for key in ("input_tokens", "output_tokens"):
                if key not in item and (*path, key) not in self.raw.broken:
                    self.report(path, "missing-key", f"'{key}' is required with a request rate")
        if trains and not serves and "training_tokens" not in item:
            self.report(path, "missing-key", "'training_tokens' is required")
        plain = {
            key: value
            for key, value in item.items()
            if key in Demand.__slots__ and value is not None
        }
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
        return Demand(**plain)

    def selectors(
        self, item: Mapping[str, Any], path: Path_, key: str, methods: tuple[str, ...]
    ) -> tuple[Mapping[str, Value], ...]:
        found: list[Mapping[str, Value]] = []
        for index, entry in enumerate(item.get(key) or []):
            if not isinstance(entry, dict):
                continue
            here = (*path, key, index)
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

    def check_for_each(self, workload: Workload) -> None:
        for index, axis in enumerate(workload.for_each):
            if axis != "model" and axis not in workload.matrix:
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
        from planner.scenario.contradictions import fixed_contradictions

        for axis, message, hint in fixed_contradictions(workload):
            self.report(self.place_of(item, workload.path, axis), "contradiction", message, hint)

    def supply(self, item: Mapping[str, Any]) -> Supply:
        path: Path_ = ("supply",)
        parallel = item.get("parallel") or {}
        regions = _texts(item.get("regions"))
        providers = _texts(item.get("providers"))
        purchase = _texts(item.get("purchase")) or ("on-demand",)
        owned = self.owned(item.get("owned") or [], purchase)
        if "owned" in purchase and not owned and ("supply", "owned") not in self.raw.broken:
            self.report((*path, "purchase"), "missing-key", "buying 'owned' needs 'owned' machines")
        return Supply(
            gpus=self.gpus(item.get("gpus"), (*path, "gpus")),
            gpu_counts=tuple(sorted(n for n in item.get("gpu_counts") or (1, 2, 4, 8) if n)),
            tensor=_sizes(parallel.get("tensor", "auto")),
            pipeline=_sizes(parallel.get("pipeline", 1)),
            expert=_sizes(parallel.get("expert", 1)),
            context=_sizes(parallel.get("context", 1)),
            sharding=None
            if "auto" in _texts(parallel.get("sharding", "auto"))
            else _texts(parallel["sharding"]),
            multi_node=bool(parallel.get("multi_node", False)),
            providers=self.named("providers", providers, (*path, "providers")),
            regions=self.named("regions", regions, (*path, "regions")),
            purchase=purchase,
            discounts={
                self.name("providers", provider, (*path, "discounts", provider)): share
                for provider, share in (item.get("discounts") or {}).items()
            },
            owned=owned,
        )

    def named(self, kind: str, names: tuple[str, ...], path: Path_) -> tuple[str, ...]:
        """Provider or region names as ids; empty for `any`."""
        if not names or names == ("any",):
            return ()
        listed = isinstance(self.raw.data["supply"].get(path[-1]), list)
        return tuple(
            self.name(kind, name, (*path, index) if listed else path)
            for index, name in enumerate(names)
        )

    def gpus(self, items: Any, path: Path_) -> tuple[str, ...]:
        names = [items] if isinstance(items, str) else list(items or [])
        if names == ["all"]:
            return ("all",)
        listed = isinstance(items, list)
        found: list[str] = []
        for index, name in enumerate(names):
            if name is None:
                continue
            here = (*path, index) if listed else path
            gpu = self.name("gpus", name, here)
            if gpu in found:
                self.report(here, "duplicate-value", f"'{name}' is {gpu}, which is listed already")
            found.append(gpu)
        return tuple(found)

    def owned(self, items: Iterable[Any], purchase: tuple[str, ...]) -> tuple[Owned, ...]:
        machines: list[Owned] = []
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not {"gpu", "gpu_count", "usd_per_hour"} <= set(item):
                continue
            here: Path_ = ("supply", "owned", index)
            gpu = self.name("gpus", item["gpu"], (*here, "gpu"))
            name = item.get("name", f"owned {item['gpu_count']}x {gpu}")
            machines.append(Owned(name, gpu, item["gpu_count"], float(item["usd_per_hour"])))
        if machines and "owned" not in purchase:
            self.report(
                ("supply", "owned"),
                "unused-key",
                "'owned' machines are not in 'purchase'",
                "add owned to purchase",
                key=True,
            )
        return tuple(machines)

    def budgets(self, items: Iterable[Any], workloads: list[Workload]) -> tuple[Budget, ...]:
        budgets: list[Budget] = []
        names = [workload.name for workload in workloads]
        tags = sorted(
            {tag for w in workloads for tag in w.tags} | set(_texts(self.raw.data.get("tags")))
        )
        for index, item in enumerate(items):
            if not isinstance(item, dict) or "id" not in item:
                continue
            scope = item.get("scope", "all")
            kind, name = next(iter(scope.items())) if isinstance(scope, dict) else ("all", "")
            known = {"workload": names, "tag": tags, "all": [""]}[kind]
            if name not in known:
                self.report(
                    ("budgets", index, "scope", kind),
                    f"unknown-{kind}",
                    f"'{name}' is no {kind} of this scenario",
                    did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}",
                )
            budgets.append(
                Budget(
                    item["id"],
                    kind,
                    name,
                    item.get("max_usd_per_month"),
                    item.get("level", "error"),
                )
            )
        return tuple(budgets)


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in items if item is not None)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Sizes of a parallel dimension; None for auto."""
    items = value if isinstance(value, list) else [value]
    return None if "auto" in items else tuple(sorted(item for item in items if item))


def _targets(value: Any) -> str:
    """LoRA targets in one spelling: `all-linear`, or sorted names with `;` between."""
    names = _texts(value) or (DEFAULT_LORA_TARGETS,)
    return ";".join(sorted(dict.fromkeys(names)))


def _demand_context_tokens(demand: Demand | None) -> int:
    """Room for the longest usual request, p95 in plus p95 out; 0 where lengths are not given."""
    if demand is None or demand.input_tokens_mean is None or demand.output_tokens_mean is None:
        return 0
    longest_input = demand.input_tokens_p95 or demand.input_tokens_mean
    longest_output = demand.output_tokens_p95 or demand.output_tokens_mean
    return int(longest_input + longest_output)


__all__ = ["DEFAULT_WEIGHT_FORMAT", "ResolveName", "build_scenario"]
