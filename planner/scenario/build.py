"""Checked data becomes a Scenario; every contradiction becomes a problem at its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from planner.errors import InputProblems, Problem
from planner.scenario.axes import slug
from planner.scenario.builder import Path_, ResolveName, known_fields, texts
from planner.scenario.model import (
    Assumptions,
    Constraints,
    ModelReference,
    Scenario,
    Workload,
)
from planner.scenario.read import RawScenario
from planner.scenario.supply import SupplyBuilder
from planner.scenario.workloads import WorkloadBuilder
from planner.units import HOURS_PER_MONTH_DEFAULT


def build_scenario(raw: RawScenario, resolve_name: ResolveName) -> Scenario:
    """The Scenario of a file.

    Raises:
        InputProblems: with every problem of the file: YAML, schema, names, contradictions.
    """
    scenario, problems = try_scenario(raw, resolve_name)
    if problems:
        raise InputProblems(problems)
    return scenario


def try_scenario(raw: RawScenario, resolve_name: ResolveName) -> tuple[Scenario, list[Problem]]:
    """The Scenario as far as it can be built, and every problem of the file."""
    builder = _ScenarioBuilder(raw, resolve_name)
    scenario = builder.scenario()
    return scenario, sorted({*raw.problems, *builder.problems})


class _ScenarioBuilder(WorkloadBuilder, SupplyBuilder):
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
        self.rule_of_thumb_only(estimator, workloads)
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
        self.real_date(assumptions.get("as_of"), ("assumptions", "as_of"))
        self.rising_ranges(data.get("rule_of_thumb") or {})
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
            tags=texts(data.get("tags")),
            estimator=estimator,
            assumptions=Assumptions(
                hours_per_month=float(assumptions.get("hours_per_month", HOURS_PER_MONTH_DEFAULT)),
                as_of=assumptions.get("as_of"),
                max_price_age_days=assumptions.get("max_price_age_days", 90),
            ),
            rule_of_thumb=data.get("rule_of_thumb") or {},
            catalog={kind: texts(files) for kind, files in (data.get("catalog") or {}).items()},
            workloads=tuple(workloads),
            supply=self.supply(data.get("supply") or {}),
            constraints=Constraints(**known_fields(Constraints, data.get("constraints"))),
            budgets=self.budgets(data.get("budgets") or [], workloads),
            source=self.document.data,
        )

    def real_date(self, text: Any, path: Path_) -> None:
        if text is None:
            return
        try:
            date.fromisoformat(str(text))
        except ValueError:
            self.report(path, "bad-value", f"'{text}' is no date of the calendar")

    def rising_ranges(self, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            if not isinstance(value, dict) or set(value) != {"low", "expected", "high"}:
                continue
            if not value["low"] <= value["expected"] <= value["high"]:
                self.report(
                    ("rule_of_thumb", name),
                    "bad-range",
                    "must rise from low over expected to high",
                )

    def unique_names(self, workloads: Iterable[Workload]) -> None:
        """Names must differ in the ids made of them too: an id stands for one thing."""
        seen: dict[str, Workload] = {}
        models: dict[str, ModelReference] = {}
        for workload in workloads:
            other = seen.setdefault(slug(workload.name), workload)
            if other is not workload:
                line = self.document.mark((*other.path, "name")).line
                self.report(
                    (*workload.path, "name"),
                    "duplicate-name",
                    f"'{workload.name}' gives the same case ids as '{other.name}' on line {line}",
                )
            for model in workload.models:
                same = models.setdefault(slug(model.model), model)
                if same.model != model.model or not slug(model.model):
                    self.report(
                        model.path,
                        "duplicate-name",
                        f"'{model.model}' gives the same case ids as '{same.model}'"
                        if slug(model.model)
                        else f"'{model.model}' has no letter or digit to make case ids of",
                        "use another id",
                    )

    def rule_of_thumb_only(self, estimator: str, workloads: Iterable[Workload]) -> None:
        """What one of the two estimators can't use."""
        if estimator == "rule-of-thumb":
            for workload in workloads:
                self.no_speed(workload)
            return
        every = {model.path: model for workload in workloads for model in workload.models}
        for reference in every.values():
            if reference.sizes:
                self.report(
                    reference.path,
                    "contradiction",
                    f"'{reference.model}' is known only by its sizes, which the architecture "
                    "estimator can't use",
                    "give its config, or set estimator: rule-of-thumb",
                )

    def no_speed(self, workload: Workload) -> None:
        """The rule of thumb has no speed in tokens per second, so nothing may depend on it."""
        asked = [
            key for key in ("demand", "objectives") if (*workload.path, key) in self.document.keys
        ]
        for key in asked:
            self.report(
                (*workload.path, key),
                "contradiction",
                f"the rule of thumb knows no tokens per second, which '{key}' needs",
                "set estimator: architecture, or remove it",
                key=True,
            )


__all__ = ["ResolveName", "build_scenario"]
