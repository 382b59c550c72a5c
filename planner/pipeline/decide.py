"""Every cell of a scenario with its estimate, price, verdict and rank."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import polars as pl

from planner.choose import Limits, with_choice
from planner.estimate import estimate_cells
from planner.estimate.cost import (
    price_age_days,
    runs_at_once,
    with_cost,
    with_host_needs,
    with_offers,
)
from planner.estimate.demand import DEMAND_INPUTS
from planner.estimate.ledger import component_bytes
from planner.estimate.verdict import with_verdict
from planner.grid import serving_configurations, training_configurations
from planner.pipeline.columns import CELL_COLUMNS, with_missing
from planner.pipeline.context import Context
from planner.plan import COMPONENTS
from planner.resolve.prices import offer_shapes

BATCH_CELLS: Final = 250_000
"""Cells estimated at a time: bounds the memory of a large grid to this many wide rows."""

_INTERNAL: Final = (
    "case_index", "configuration_index", "bought_key", "usable_bytes", "total_low_bytes",
    "total_bytes", "total_high_bytes", "budget_bytes", "memory_reason", "meets_objectives",
    "objective_reason", "training_tokens", "epochs", "runs_per_month", "host_ram_gb",
    "prefill_tokens_per_second", "prefix_cache_share", "unbound_replicas",
    "unbound_meets_objectives", *DEMAND_INPUTS,
)  # fmt: skip
"""What the choice needs of an estimate besides the columns of cells.csv."""


def decide(context: Context) -> pl.DataFrame:
    """Every cell of the scenario with its estimate, price, verdict, reason and rank."""
    scenario = context.scenario
    shapes = supply_shapes(context)
    estimated = pl.concat(
        [
            _estimated(batch, context, serves=serves)
            for serves, cells in placements(context)
            for batch in cells
        ],
        how="diagonal_relaxed",
    )
    priced = with_offers(
        estimated.lazy(), shapes.lazy(), any_provider=not scenario.supply.providers
    )
    costed = with_cost(priced, hours_per_month=scenario.assumptions.hours_per_month).with_columns(
        price_age_days=price_age_days(scenario.assumptions.as_of)
    )
    order = ["case_index", "configuration_index", "provider", "purchase"]
    indexed = (
        costed.sort(order, nulls_last=True).with_row_index("cell_index").collect(engine="in-memory")
    )
    chosen = with_choice(indexed.lazy(), choice_limits(context))
    return with_missing(chosen.collect(engine="in-memory"))


def supply_shapes(context: Context) -> pl.DataFrame:
    """The offers and owned machines that the scenario may take."""
    gpus = context.catalog.gpus.select("gpu", "tdp_w")
    return offer_shapes(context.catalog.offers, context.scenario.supply, dict(gpus.iter_rows()))


def choice_limits(context: Context) -> Limits:
    """What the scenario allows to be chosen."""
    limits = context.scenario.constraints
    return Limits(
        limits.allow_tight, limits.max_usd_per_hour, limits.max_usd_per_month, limits.max_gpus
    )


def _estimated(cells: pl.LazyFrame, context: Context, *, serves: bool) -> pl.DataFrame:
    """The estimate of a batch, narrowed to what is chosen by and shown.

    Collected here and once: everything behind it reads the result several times, and a query
    that is read several times would be computed several times.
    """
    estimated = estimate_cells(cells, context.tables, context.settings, serves=serves)
    if not serves:
        estimated = estimated.with_columns(replicas=runs_at_once())
    judged = with_host_needs(with_verdict(estimated), context.tables)
    full = judged.with_columns(_only_where_it_runs(judged.collect_schema())).with_columns(
        # Estimators fill in their defaults; without adapters these are none.
        pl.when(pl.col("method") != "full").then(pl.col(name)).alias(name)
        for name in ("lora_rank", "lora_targets", "adapter_dtype")
    )
    names = set(full.collect_schema().names())
    kept = [name for name in dict.fromkeys((*CELL_COLUMNS, *_INTERNAL)) if name in names]
    parts = [component_bytes(name).alias(f"{name}_part_bytes") for name in COMPONENTS]
    return full.select(*kept, *parts).collect(engine="in-memory")


_OF_A_RUN: Final = (
    "tokens_per_second", "time_to_first_token_ms", "time_per_output_token_ms", "end_to_end_ms",
    "replica_utilization", "meets_objectives", "objective_reason",
)  # fmt: skip


_CAPACITIES: Final = ("max_context_tokens", "max_concurrent_sequences", "kv_cache_tokens_capacity")
_NO_SPEED: Final = "the speed on this GPU is not known, nor the replicas that the demand needs"


def _only_where_it_runs(schema: pl.Schema) -> list[pl.Expr]:
    """What does not fit has no speed, and its price is that of one replica.

    Without a known speed a demand can't be turned into replicas: such a cell shows the price of
    one, and does not count as meeting the demand.
    """
    runs = pl.col("verdict").is_in(["fits", "tight"])
    unknown = runs & pl.col("replicas").is_null()
    columns: dict[str, pl.Expr] = {
        name: pl.when(runs).then(pl.col(name)) for name in _OF_A_RUN if name in schema
    }
    columns["meets_objectives"] = (
        pl.when(unknown).then(pl.lit(False)).otherwise(columns["meets_objectives"])
    )
    columns["objective_reason"] = (
        pl.when(unknown)
        .then(pl.coalesce("objective_reason", pl.lit(_NO_SPEED)))
        .otherwise(columns["objective_reason"])
    )
    # What a cell that does not fit would need if it did: for what stands in its way.
    columns["unbound_replicas"] = pl.col("replicas")
    columns["unbound_meets_objectives"] = pl.col("meets_objectives")
    columns["replicas"] = pl.when(runs & ~unknown).then("replicas").otherwise(1).cast(pl.Int64)
    sized = pl.col("verdict").is_in(["fits", "tight", "exceeds"])
    for name in _CAPACITIES:
        if name in schema:
            # A model that keeps a constant state has no largest context: no number stands for it.
            columns[name] = pl.when(sized & pl.col(name).is_finite()).then(pl.col(name))
    return [value.alias(name) for name, value in columns.items()]


def placements(
    context: Context, wanted: pl.DataFrame | None = None
) -> Iterator[tuple[bool, Iterator[pl.LazyFrame]]]:
    """Cases x configurations before any estimate, for serving and for training, in batches.

    `wanted` takes only those of its case_index, configuration_index and method.
    """
    gpus, supply = context.catalog.gpus, context.scenario.supply
    splitters = _layer_splitters(context)
    serving = partial(serving_configurations, layer_split=bool(splitters))
    for serves, make in ((True, serving), (False, training_configurations)):
        part = context.cases.filter((pl.col("method") == "inference") == serves)
        configurations = make(supply, gpus) if part.height else None
        if wanted is not None and configurations is not None:
            only = wanted.filter((pl.col("method") == "inference") == serves)
            part = part.join(only, on="case_index", how="semi", maintain_order="left")
            configurations = configurations.join(
                only, on="configuration_index", how="semi", maintain_order="left"
            )
        if configurations is not None and part.height:
            yield serves, _batches(part, configurations, context, splitters, wanted)


def _layer_splitters(context: Context) -> list[str]:
    """Engines in use that deal whole layers to GPUs where nothing else is asked of them."""
    splitters = context.tables.engines.filter(pl.col("splits_layers") > 0).select("engine")
    return splitters.unique().collect(engine="in-memory")["engine"].to_list()


def _batches(
    cases: pl.DataFrame,
    configurations: pl.DataFrame,
    context: Context,
    splitters: list[str],
    wanted: pl.DataFrame | None = None,
) -> Iterator[pl.LazyFrame]:
    usable = context.catalog.gpus.select(
        "gpu", "usable_low_bytes", "usable_bytes", "usable_high_bytes"
    )
    supply = configurations.join(usable, on="gpu", how="left", maintain_order="left").with_columns(
        memory_headroom=pl.lit(context.scenario.constraints.memory_headroom)
    )
    splits = pl.col("engine").is_in(splitters).fill_null(False)
    own_way = (pl.col("splits_layers") == splits).fill_null(True)
    for some in cases.iter_slices(max(1, BATCH_CELLS // supply.height)):
        cells = some.lazy().join(supply.lazy(), how="cross").filter(own_way).drop("splits_layers")
        if wanted is not None:
            # Collected, so that an estimate is planned over the rows alone.
            pairs = wanted.lazy().select("case_index", "configuration_index").unique()
            keys = ["case_index", "configuration_index"]
            cells = cells.join(pairs, on=keys, how="semi").collect(engine="in-memory").lazy()
        yield cells
