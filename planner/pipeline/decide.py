"""Every cell of a scenario with its estimate, price, verdict and rank."""

from __future__ import annotations

import polars as pl

from planner.choose import Limits, with_choice
from planner.estimate import estimate_cells
from planner.estimate.cost import with_cost, with_offers
from planner.estimate.verdict import with_verdict
from planner.grid import cases_frame, serving_configurations, training_configurations
from planner.pipeline.context import Context
from planner.resolve.prices import offer_shapes


def decide(context: Context) -> pl.DataFrame:
    """Every cell of the scenario with its estimate, price, verdict, reason and rank."""
    scenario = context.scenario
    shapes = offer_shapes(context.catalog.offers, scenario.supply)
    estimated = pl.concat(
        [
            estimate_cells(cells, context.tables, context.settings, serves=serves)
            for serves, cells in placements(context)
        ],
        how="diagonal_relaxed",
    )
    priced = with_offers(
        with_verdict(estimated), shapes.lazy(), any_provider=not scenario.supply.providers
    )
    costed = with_cost(priced, hours_per_month=scenario.assumptions.hours_per_month)
    order = ["case_index", "configuration_index", "provider", "purchase"]
    indexed = costed.sort(order, nulls_last=True).with_row_index("cell_index")
    limits = scenario.constraints
    chosen = with_choice(
        indexed,
        Limits(
            limits.allow_tight,
            limits.max_usd_per_hour,
            limits.max_usd_per_month,
            limits.max_gpus,
        ),
    )
    return chosen.collect(engine="streaming").sort("cell_index")


def placements(context: Context) -> list[tuple[bool, pl.LazyFrame]]:
    """Cases x configurations before any estimate: (serves, frame) for serving and training."""
    scenario = context.scenario
    gpus = context.catalog.gpus
    cases = cases_frame(scenario).join(
        context.adapters, on=["model", "method", "lora_rank", "lora_targets"], how="left",
        maintain_order="left",
    )  # fmt: skip
    usable = gpus.select("gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes").lazy()
    frames = []
    for serves, make in ((True, serving_configurations), (False, training_configurations)):
        part = cases.filter((pl.col("method") == "inference") == serves)
        if part.height:
            cells = (
                part.lazy()
                .join(make(scenario.supply, gpus).lazy(), how="cross")
                .join(usable, on="gpu", how="left")
                .with_columns(memory_headroom=pl.lit(scenario.constraints.memory_headroom))
            )
            frames.append((serves, cells))
    return frames
