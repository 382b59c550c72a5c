"""What the items add up to: totals, the pool an engine fills, the budget, and their ranges."""

from __future__ import annotations

from typing import Final

import polars as pl

from planner.estimate.inference import pool as pools
from planner.estimate.inference import runner
from planner.estimate.inference.constants import constant
from planner.estimate.inference.quantised import quantising_reserve_bytes
from planner.estimate.ledger import BOUNDS, ITEMS, Bound, item_column, sum_items

_TORCH: Final = (
    "weights",
    "adapter",
    "activations",
    "logits",
    "kv_cache",
    "recurrent_state",
    "staging",
)


def reserve_columns() -> list[pl.Expr]:
    """What the caching allocator holds beyond what is allocated."""
    return [
        (
            sum_items(_TORCH, bound) * constant("allocator_reserve_share", bound)
            + quantising_reserve_bytes(bound)
        ).alias(item_column("allocator_reserve", bound))
        for bound in BOUNDS
    ]


def _spread(name: str, items: tuple[str, ...]) -> list[pl.Expr]:
    """Expected sum, and a range whose half widths add up as independent errors do."""
    expected = sum_items(items)

    def half(bound: Bound) -> pl.Expr:
        squares = (
            (pl.col(item_column(i, bound)) - pl.col(item_column(i))).fill_null(0.0) ** 2
            for i in items
        )
        return pl.sum_horizontal(squares).sqrt()

    return [
        (expected - half("low")).alias(f"{name}_low_bytes"),
        expected.alias(f"{name}_bytes"),
        (expected + half("high")).alias(f"{name}_high_bytes"),
    ]


def total_columns() -> list[pl.Expr]:
    return [*_spread("total", ITEMS), *_spread("allocated", _TORCH)]


def _inside() -> pl.Expr:
    """Items beside the cache that the engine counts inside its memory fraction."""
    torch = ("weights", "adapter", "activations", "logits", "workspace", "communication")
    context = pl.col("cuda_context_bytes") * pl.col("counts_context_inside")
    graphs = pl.col("cuda_graphs_bytes") * runner.counts_graphs_inside()
    return sum_items(torch) + context + graphs


def pool_columns() -> list[pl.Expr]:
    """The pool that is left for the cache: negative where nothing is.

    Fraction of the card (vLLM), of what is free after start (SGLang), or of what is left after
    everything else (TensorRT-LLM); for engines without a fraction, what the card has left.
    """
    fraction, usable = pl.col("gpu_memory_utilization"), pl.col("usable_bytes")
    static = sum_items(("weights", "adapter", "workspace"))
    free = usable - pl.col("cuda_context_bytes") - pl.col("communication_bytes")
    beside = pl.col("total_bytes") - sum_items(("kv_cache", "recurrent_state"))
    pool = (
        pl.when(pl.col("fraction_of_free") > 0)
        .then(fraction * free - static)
        .when(pl.col("fraction_of_rest") > 0)
        .then(fraction * (usable - beside))
        .when(pl.col("is_pooled") > 0)
        .then(fraction * usable - _inside())
        .otherwise(usable * (1 - pl.col("memory_headroom")) - beside)
    )
    up, down = _pool_halves()
    return [
        (pool - down).alias("kv_pool_low_bytes"),
        pool.alias("kv_pool_bytes"),
        (pool + up).alias("kv_pool_high_bytes"),
    ]


def _pool_halves() -> tuple[pl.Expr, pl.Expr]:
    """How far the pool may be above and below: low items leave more room, and a larger card.

    A fraction that is left to the engine counts with the range of its default. A low fraction
    makes a small pool, so it stands beside the high items.
    """
    context = (pl.col("counts_context_inside") > 0) | (pl.col("fraction_of_free") > 0)
    graphs = runner.counts_graphs_inside() > 0
    working_counts = pl.col("counts_activations_outside") == 0
    weight = {
        "weights": pl.lit(1.0),
        "workspace": pl.lit(1.0),
        "communication": pl.lit(1.0),
        "activations": working_counts.cast(pl.Float64),
        "logits": working_counts.cast(pl.Float64),
        "cuda_context": context.cast(pl.Float64),
        "cuda_graphs": graphs.cast(pl.Float64),
    }
    fraction = pl.col("gpu_memory_utilization")

    def half(items: Bound, card: str, end: Bound) -> pl.Expr:
        squares = [
            ((pl.col(item_column(i, items)) - pl.col(item_column(i))) * share) ** 2
            for i, share in weight.items()
        ]
        usable = (pl.col(card) - pl.col("usable_bytes")).fill_null(0.0) * fraction
        default = constant("default_memory_fraction", end) - constant("default_memory_fraction")
        unsure = pl.when("is_default_fraction").then(default).otherwise(0.0)
        setting = unsure * pl.col("usable_bytes")
        return pl.sum_horizontal(*squares, usable**2, setting**2).sqrt()

    return half("low", "usable_high_bytes", "high"), half("high", "usable_low_bytes", "low")


def budget_columns() -> list[pl.Expr]:
    """What the total may be: everything beside the cache plus the pool, within the card."""
    cache = sum_items(("kv_cache", "recurrent_state"))
    card = pl.col("usable_bytes") * (1 - pl.col("memory_headroom"))
    with_pool = pl.col("total_bytes") - cache + pl.col("kv_pool_bytes")
    return [
        pl.when(pl.col("is_pooled") > 0)
        .then(pl.min_horizontal(with_pool, card))
        .otherwise(card)
        .alias("budget_bytes")
    ]


def capacity_columns() -> list[pl.Expr]:
    """Tokens the pool holds, at each bound."""
    ends = {
        "kv_cache_tokens_capacity": "",
        "kv_cache_tokens_low": "_low",
        "kv_cache_tokens_high": "_high",
    }
    return [
        pools.pool_tokens(
            pl.max_horizontal(pl.col(f"kv_pool{end}_bytes"), 0.0), at_any_context=end == "_low"
        ).alias(name)
        for name, end in ends.items()
    ]


def device_columns() -> list[pl.Expr]:
    """What nvidia-smi shows: the total, with the pool filled where the engine reserves one.

    An engine with a pool gives its profiling peak back before it serves, but what a sampler warms
    up stays with PyTorch; the upper bound is that of an engine under full load.
    """
    peak = pl.col("activations_bytes") + pl.col("logits_bytes")
    cache = sum_items(("kv_cache", "recurrent_state"))
    filled = pl.max_horizontal(pl.col("kv_pool_bytes"), 0.0) - cache
    shown = pl.when(pl.col("is_pooled") > 0).then(filled).otherwise(0.0)
    kept = pl.col("logits_bytes") * runner.keeps_sampler_memory()
    idle = pl.when(pl.col("is_pooled") > 0).then(peak - kept).otherwise(0.0)
    return [
        (pl.col("total_low_bytes") + shown - idle).alias("device_low_bytes"),
        (pl.col("total_bytes") + shown - idle).alias("device_bytes"),
        (pl.col("total_high_bytes") + shown).alias("device_high_bytes"),
    ]
