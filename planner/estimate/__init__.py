"""Estimators: expressions over the columns of cells. No files, clock, environment or network."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from planner.estimate.ledger import Term
from planner.estimate.rule_of_thumb import RuleOfThumbSettings
from planner.resolve.tables import Tables

RULE_OF_THUMB = "rule-of-thumb"


@dataclass(frozen=True, slots=True)
class EstimatorSettings:
    """Which estimator, and the settings of the textbook one."""

    estimator: str = "architecture"
    rule_of_thumb: RuleOfThumbSettings = field(default_factory=RuleOfThumbSettings)


def estimate_cells(
    cells: pl.LazyFrame, tables: Tables, settings: EstimatorSettings, *, serves: bool
) -> pl.LazyFrame:
    """Memory, speed and replicas of cells that are all serving (`serves`) or all training.

    Adds the ledger items, totals, budget, peak_phase, reasons, tokens_per_second and the latency
    columns, `replicas` and `meets_objectives`. See the estimators for their input columns.
    """
    from planner.estimate.support import with_support

    if settings.estimator == RULE_OF_THUMB:
        from planner.estimate.rule_of_thumb import estimate_rule_of_thumb

        estimated = _without_speed(estimate_rule_of_thumb(cells, tables, settings.rule_of_thumb))
        return _one_replica(with_support(estimated, tables))
    if serves:
        from planner.estimate.demand import with_demand
        from planner.estimate.inference import estimate_inference
        from planner.estimate.speed import with_speed

        served = with_support(estimate_inference(cells, tables), tables)
        return with_demand(with_speed(served, tables))
    from planner.estimate.training import estimate_training

    trained = with_support(estimate_training(cells, tables), tables)
    if "tokens_per_second" not in trained.collect_schema().names():
        trained = _without_speed(trained)
    return _one_replica(trained)


def terms_of(settings: EstimatorSettings, method: str, engine: str | None) -> tuple[Term, ...]:
    """How the items of such cells are computed, for people who ask."""
    if settings.estimator == RULE_OF_THUMB:
        from planner.estimate.rule_of_thumb import TERMS

        return TERMS
    if method == "inference":
        from planner.estimate.inference import TERMS as INFERENCE_TERMS

        return INFERENCE_TERMS
    from planner.estimate.training import TERMS as TRAINING_TERMS

    return TRAINING_TERMS


def _without_speed(cells: pl.LazyFrame) -> pl.LazyFrame:
    columns = ("tokens_per_second", "time_to_first_token_ms", "time_per_output_token_ms")
    return cells.with_columns(pl.lit(None, pl.Float64).alias(name) for name in columns)


def _one_replica(cells: pl.LazyFrame) -> pl.LazyFrame:
    return cells.with_columns(
        replicas=pl.lit(1, pl.Int64),
        meets_objectives=pl.lit(None, pl.Boolean),
        objective_reason=pl.lit(None, pl.String),
    )
