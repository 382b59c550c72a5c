"""What would change the choice: a price that moves, or a load that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from planner.choose.choice import TIE_BREAK, Limits, allowed_verdicts, ranked, with_choice
from planner.estimate.cost import with_cost
from planner.estimate.demand import with_demand
from planner.estimate.offers import with_offers

_PLACEMENT: Final = ("case_index", "configuration_index")
GROWTH_FACTORS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_CHOICE: Final = (
    "gpu",
    "gpu_count",
    "nodes",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "expert_parallel_size",
    "context_parallel_size",
    "sharding",
    "provider",
    "purchase",
    "instance_type",
    "instances",
    "replicas",
)
_MADE: Final = (
    "provider", "region", "instance_type", "offer_gpu_count", "purchase", "price_date",
    "instances", "usd_per_hour", "purchase_usd", "running_usd_per_hour", "price_state",
    "offer_vcpus", "offer_ram_gb", "offer_reason",
    "paid_hours_per_month", "usd_per_month", "usd_per_year", "usd_per_million_tokens",
    "usd_per_million_input_tokens", "usd_per_million_output_tokens", "is_eligible", "is_cheapest",
    "is_tied", "is_pareto", "latency_ms", "rank_cost_usd", "reason", "cell_index",
)  # fmt: skip


def price_flips(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Per case the price changes after which the next offer wins.

    The runner-up is the cheapest eligible cell of another offer (provider, instance type, way of
    buying). Gives case_index, cell_index of the choice, other_cell, `rise_ratio` (the choice's
    price may rise by this share, 0.12 = 12 %) and `fall_ratio` (or the other's must fall by this).
    """
    offer = ("provider", "instance_type", "purchase", "gpu")
    first = cells.filter("is_cheapest").select(
        "case_index",
        "cell_index",
        _usd=pl.col("rank_cost_usd"),
        _offer=pl.concat_str(offer, separator="\0", ignore_nulls=True),
    )
    others = (
        cells.filter("is_eligible")
        .with_columns(_other=pl.concat_str(offer, separator="\0", ignore_nulls=True))
        .select("case_index", "_other", "rank_cost_usd", *TIE_BREAK, other_cell="cell_index")
        .join(first, on="case_index", how="inner")
        .filter(pl.col("_other") != pl.col("_offer"))
        .sort("case_index", "rank_cost_usd", *TIE_BREAK, "other_cell", nulls_last=True)
        .unique("case_index", keep="first", maintain_order=True)
    )
    return others.select(
        "case_index",
        "cell_index",
        "other_cell",
        rise_ratio=pl.col("rank_cost_usd") / pl.col("_usd") - 1,
        fall_ratio=1 - pl.col("_usd") / pl.col("rank_cost_usd"),
    )


def growth_flips(
    cells: pl.DataFrame,
    shapes: pl.DataFrame,
    limits: Limits,
    *,
    any_provider: bool,
    hours_per_month: float,
    factors: Sequence[float] = GROWTH_FACTORS,
) -> pl.DataFrame:
    """Per case with a load: the smallest growth after which another cell wins.

    The load is multiplied and replicas, offers, costs and the choice are made again. Gives
    case_index, `growth` (2.0: twice the load), `machine_changes` (another GPU, layout or offer,
    not only more of the same), the new gpu, gpu_count, replicas, provider, purchase,
    instance_type, usd_per_hour; no row for a case that never changes. `cells` has the columns of
    `with_choice` and of `demand.DEMAND_INPUTS`.
    """
    chosen = cells.filter("is_cheapest").filter(pl.col("requests_per_second").is_not_null())
    wanted = cells.filter(
        pl.col("case_index").is_in(chosen["case_index"].implode())
        & pl.col("verdict").is_in(allowed_verdicts(limits))
    )
    placed = wanted.drop(name for name in _MADE if name in wanted.columns).unique(
        _PLACEMENT, keep="first", maintain_order=True
    )
    frames = []
    loads = [n for n in ("requests_per_second", "concurrent_users") if n in placed.columns]
    for factor in factors:
        grown = placed.lazy().with_columns(pl.col(loads) * factor)
        offered = with_offers(with_demand(grown), shapes.lazy(), any_provider=any_provider)
        costed = with_cost(offered, hours_per_month=hours_per_month)
        indexed = (
            costed.sort(*_PLACEMENT, "provider", "purchase", nulls_last=True)
            .with_row_index("cell_index")
            .collect(engine="in-memory")
        )
        best = with_choice(indexed.lazy(), limits).filter("is_cheapest")
        frames.append(best.select("case_index", *_CHOICE, "usd_per_hour", growth=pl.lit(factor)))
    if not frames or not chosen.height:
        return _no_growth(cells)
    before = chosen.select("case_index", *(pl.col(name).alias(f"_{name}") for name in _CHOICE))
    same_machine = [
        pl.col(name).eq_missing(pl.col(f"_{name}"))
        for name in _CHOICE
        if name not in ("instances", "replicas")
    ]
    return (
        pl.concat(frames)
        .collect(engine="in-memory")
        .join(before, on="case_index", how="inner")
        .with_columns(machine_changes=~pl.all_horizontal(same_machine))
        .filter(
            pl.col("machine_changes")
            | (pl.col("instances") != pl.col("_instances"))
            | (pl.col("replicas") != pl.col("_replicas"))
        )
        # The first change of any kind, and the first of the machine.
        .sort("case_index", "growth")
        .unique(["case_index", "machine_changes"], keep="first", maintain_order=True)
        .select("case_index", "growth", "machine_changes", *_CHOICE, "usd_per_hour")
    )


def _no_growth(cells: pl.DataFrame) -> pl.DataFrame:
    kinds = {name: cells.schema[name] for name in _CHOICE}
    made = {"growth": pl.Float64, "machine_changes": pl.Boolean}
    return pl.DataFrame(
        schema={
            "case_index": cells.schema["case_index"],
            **made,
            **kinds,
            "usd_per_hour": pl.Float64,
        }
    )


def close_runners_up(cells: pl.LazyFrame, within: float = 0.10) -> pl.LazyFrame:
    """Every other configuration that costs at most this share more than the choice."""
    return ranked(cells, 1_000_000, within=within).filter(pl.col("rank") > 1)
