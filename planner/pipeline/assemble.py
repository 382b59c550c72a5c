"""From decided cells to the Plan: rounding, words, totals. The last place where numbers change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

import planner
from planner.catalog import catalog_rows
from planner.choose import RUNNERS_UP, best_per_configuration, bought_cases, ranked
from planner.pipeline.advice import advice_words
from planner.pipeline.choices import plan_choices
from planner.pipeline.context import Context
from planner.pipeline.decide import choice_limits
from planner.pipeline.details import cell_details
from planner.pipeline.matrix import fit_matrix, offers_left_out, plan_configurations
from planner.pipeline.outcomes import headline, plan_cases
from planner.pipeline.warnings import budget_covers, warnings
from planner.plan import (
    SCHEMA_VERSION,
    Accuracy,
    BudgetState,
    CellDetail,
    Inputs,
    Plan,
    PlanCase,
    PlanModel,
    PlanScenario,
    PlanWorkload,
    Totals,
)

RUNNERS_UP_CASES: Final = 500
"""Up to this many cases the plan lists all runners-up of each, above it only the next best."""


def assemble_plan(context: Context, cells: pl.DataFrame, *, command: str) -> Plan:
    """The Plan of a scenario from its decided cells."""
    scenario = context.scenario
    lazy = cells.lazy()
    bought = set(bought_cases(lazy).collect(engine="in-memory")["case_index"].to_list())
    many = cells["case_index"].n_unique() > RUNNERS_UP_CASES
    finalists = ranked(lazy, 2 if many else RUNNERS_UP + 1).collect(engine="in-memory")
    details = cell_details(context, finalists, bought)
    cases = plan_cases(cells, finalists, bought, choice_limits(context), scenario.supply)
    configurations = plan_configurations(context, cells)
    best = best_per_configuration(lazy).collect(engine="in-memory")
    matrix, reasons, advice = fit_matrix(best, advice_words(context, best), configurations)
    totals = _totals(cases, details, scenario.assumptions.hours_per_month)
    return Plan(
        schema_version=SCHEMA_VERSION,
        planner_version=planner.__version__,
        scenario=PlanScenario(
            stem=scenario.stem,
            title=scenario.title,
            description=scenario.description,
            file=f"{scenario.stem}.yaml",
            tags=scenario.tags,
            estimator=scenario.estimator,
            currency=scenario.assumptions.currency,
            hours_per_month=scenario.assumptions.hours_per_month,
            as_of=scenario.assumptions.as_of,
            constraints={
                name: getattr(scenario.constraints, name) for name in scenario.constraints.__slots__
            },
        ),
        inputs=_inputs(context, cells, command),
        workloads=tuple(
            PlanWorkload(
                workload.name,
                workload.tags,
                workload.methods,
                workload.for_each,
                {"model": tuple(m.model for m in workload.models), **workload.matrix},
                dict(workload.fixed),
            )
            for workload in scenario.workloads
        ),
        cases=cases,
        configurations=configurations,
        matrix=matrix,
        reasons=reasons,
        advice=advice,
        details=details,
        budgets=_budgets(context, cases, details),
        totals=totals,
        headline=headline(
            cases, details, dict(context.catalog.gpus.select("gpu", "name").iter_rows())
        ),
        cells_total=cells.height,
        offers_left_out=offers_left_out(configurations),
        notes=_notes(context, cells),
        choices=plan_choices(context, cells, bought),
        warnings=warnings(scenario, cases, details),
    )


def _inputs(context: Context, cells: pl.DataFrame, command: str) -> Inputs:
    dates = cells.filter(pl.col("usd_per_hour").is_not_null())["price_date"]
    known = dates.drop_nulls()
    offers = cells.filter(pl.col("usd_per_hour").is_not_null()).select(
        "provider", "instance_type", "region", "purchase", "price_date"
    ).unique()  # fmt: skip
    return Inputs(
        scenario_sha256=context.scenario_sha256,
        catalog_sha256=context.catalog_sha256,
        resolved=context.scenario.source,
        models=tuple(
            PlanModel(
                facts.model,
                facts.parameters,
                facts.active_parameters,
                facts.source,
                facts.assumptions,
            )
            for facts in context.facts
        ),
        oldest_price_date=_text(known.min()),
        newest_price_date=_text(known.max()),
        undated_offers=offers["price_date"].null_count(),
        stale_offers=_stale(context, offers),
        command=command,
        **_accuracy(context, cells),
    )


_KINDS: Final = {
    "inference memory": ("inference",),
    "serving speed": ("inference",),
    "fine-tuning memory": ("full", "lora", "dora", "qlora"),
}


def _accuracy(context: Context, cells: pl.DataFrame) -> dict[str, Any]:
    """What is known about the error of such estimates: of the engines in use where measured."""
    if context.settings.estimator != "architecture":
        return {}
    methods, engines = set(cells["method"].unique()), set(cells["engine"].unique())
    rows = [r for r in catalog_rows("accuracy") if not methods.isdisjoint(_KINDS[r["kind"]])]
    known = {(row["kind"], row["engine"]) for row in rows if row["engine"] in engines}
    measured = {kind for kind, _ in known}
    told = [r for r in rows if r["kind"] not in measured or (r["kind"], r["engine"]) in known]
    return {
        "accuracy_date": max((row["date"] for row in told), default=None),
        "accuracy": tuple(
            Accuracy(**{name: row[name] for name in Accuracy.__slots__}) for row in told
        ),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _stale(context: Context, offers: pl.DataFrame) -> int | None:
    """Dated offers older than the scenario allows; None where it names no date to count from."""
    assumptions = context.scenario.assumptions
    if assumptions.as_of is None:
        return None
    as_of = pl.lit(assumptions.as_of).str.to_date("%Y-%m-%d")
    age = (as_of - pl.col("price_date").str.to_date("%Y-%m-%d", strict=False)).dt.total_days()
    return offers.filter(age > assumptions.max_price_age_days).height


def _totals(
    cases: Iterable[PlanCase], details: Sequence[CellDetail], hours_per_month: float
) -> Totals:
    keys = dict.fromkeys(case.bought_key for case in cases)
    bought = [case for case in cases if case.is_bought and case.cheapest is not None]
    cells = [details[case.cheapest].cell for case in bought if case.cheapest is not None]
    monthly = sum(cell["usd_per_month"] or 0.0 for cell in cells)
    return Totals(
        bought=len(bought),
        incomplete=len(keys) - len(bought),
        hourly_only=sum(cell["usd_per_month"] is None for cell in cells),
        usd_per_hour=round(sum(cell["usd_per_hour"] for cell in cells), 4),
        usd_per_month=round(monthly, 2),
        usd_per_year=round(monthly * 12, 2),
    )


def _budgets(
    context: Context, cases: Sequence[PlanCase], details: Sequence[CellDetail]
) -> tuple[BudgetState, ...]:
    states = []
    for budget in context.scenario.budgets:
        if budget.max_usd_per_month is None:
            continue  # a rule of another kind, which reviews check
        spent = 0.0
        for case in cases:
            inside = budget_covers(context.scenario, budget, case)
            if inside and case.is_bought and case.cheapest is not None:
                spent += details[case.cheapest].cell["usd_per_month"] or 0.0
        limit = budget.max_usd_per_month
        broken = limit is not None and spent > limit
        states.append(
            BudgetState(
                id=budget.id,
                scope=f"{budget.scope_kind} {budget.scope_name}".strip(),
                max_usd_per_month=limit,
                usd_per_month=round(spent, 2),
                level=budget.level,
                state="broken" if broken else "kept",
            )
        )
    return tuple(states)


def _notes(context: Context, cells: pl.DataFrame) -> tuple[str, ...]:
    notes = list(context.notes)
    if "note" in cells.columns:
        notes += cells["note"].drop_nulls().unique(maintain_order=True).to_list()
    return tuple(dict.fromkeys(notes))
