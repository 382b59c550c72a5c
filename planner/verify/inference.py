"""Components of measured inference runs against the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from planner.catalog.load import Catalog, load_catalog
from planner.estimate.inference import estimate_inference
from planner.estimate.inference.phases import DECODE, FIRST_STEP, PREFILL
from planner.estimate.ledger import BOUNDS, item_column, sum_items
from planner.resolve.tables import Tables
from planner.units import BYTES_PER_GIB
from planner.verify.inference_cells import ON_CPU, inference_cells

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "weights_gib": ("weights", "adapter"),
    "activation_peak_gib": ("activations", "logits"),
    "cuda_graph_gib": ("cuda_graphs",),
}
_COMPONENTS: Final = (
    "weights_gib",
    "activation_peak_gib",
    "non_torch_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "total_gib",
)
_TOTALS: Final = {
    "allocated": "allocated",
    "reserved": "reserved",
    "process": "device",
    "device": "device",
}


def inference_estimates(
    rows: pl.DataFrame, tables: Tables, catalog: Catalog | None = None
) -> pl.DataFrame:
    """Measured and estimated components, one row a run and component that the run printed.

    Columns: id, component (the file's column), unit (`gib` or `tokens`), measured, low, expected,
    high, note (why there is no estimate), and `budget_gib`, `card_gib` for totals. The range of a
    run whose group size was not printed reaches to that of weights without groups.
    """
    cells = inference_cells(rows, tables, catalog or load_catalog())
    found = _estimates(cells, tables)
    unsure = cells.filter(pl.col("least_format").is_not_null())
    if unsure.is_empty():
        return found
    smaller = _estimates(unsure.with_columns(weight_format="least_format"), tables)
    ends = smaller.select("id", "component", least_low="low", least_high="high")
    return (
        found.join(ends, on=["id", "component"], how="left", maintain_order="left")
        .with_columns(
            low=pl.min_horizontal("low", "least_low"), high=pl.max_horizontal("high", "least_high")
        )
        .drop("least_low", "least_high")
    )


def _estimates(cells: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    estimated = (
        estimate_inference(cells.lazy(), tables)
        .with_columns(*_first_rank())
        .collect(engine="in-memory")
    )
    parts = [_component(estimated, name) for name in _COMPONENTS]
    return pl.concat(parts).filter(pl.col("measured").is_not_null())


def measured_frame(rows: pl.DataFrame, tables: Tables, catalog: Catalog) -> pl.DataFrame:
    """The estimator's frame of measured runs, with `measured_<name>_bytes` for calibration."""
    cells = inference_cells(rows, tables, catalog)
    sizes = [
        (pl.col(name).cast(pl.Float64) * BYTES_PER_GIB).alias(
            f"measured_{name.removesuffix('_gib')}_bytes"
        )
        for name in _COMPONENTS
        if name.endswith("_gib")
    ]
    return estimate_inference(cells.lazy(), tables).with_columns(*sizes).collect(engine="in-memory")


def _first_rank() -> list[pl.Expr]:
    """Pipeline rows print the first rank: its weights and its share of the cache.

    Logs do not say which rank they are of: the range reaches to the most loaded one.
    """
    behind = pl.col("rank_weights_bytes") - pl.col("first_rank_weights_bytes")
    inner = pl.col("pipeline_parallel_size") > 1
    share = pl.col("first_global_elements") / pl.col("global_elements")
    cached = pl.when(share.is_finite()).then(share).otherwise(1.0)
    step = pl.col("activations_bytes") + pl.col("logits_bytes")
    saved = step - pl.col("inner_stage_activations_expected")
    return [
        *(
            (pl.col(item_column("weights", b)) - (0.0 if b == "high" else behind)).alias(
                item_column("weights", b)
            )
            for b in BOUNDS
        ),
        *((pl.col(item_column("kv_cache", b)) * cached) for b in BOUNDS),
        *(
            pl.when(inner)
            .then(f"inner_stage_activations_{b}")
            .otherwise(item_column("activations", b))
            .alias(item_column("activations", b))
            for b in BOUNDS
        ),
        *(
            pl.when(inner)
            .then(0.0)
            .otherwise(item_column("logits", b))
            .alias(item_column("logits", b))
            for b in BOUNDS
        ),
        *(
            pl.col(name)
            + pl.when(inner & (pl.col("is_pooled") > 0)).then(behind + saved).otherwise(0.0)
            for name in ("kv_pool_bytes", "kv_pool_high_bytes")
        ),
    ]


def _component(estimated: pl.DataFrame, name: str) -> pl.DataFrame:
    low, expected, high = _bounds(name)
    tokens = name == "kv_cache_tokens"
    scale = 1 if tokens else BYTES_PER_GIB
    reason = pl.coalesce("unsupported_reason", "impossible_reason", _reason(name))
    shown = reason.is_null()

    def value(bound: pl.Expr) -> pl.Expr:
        return pl.when(shown).then(bound / scale).otherwise(None)

    return estimated.select(
        "id",
        pl.lit(name).alias("component"),
        pl.lit("tokens" if tokens else "gib").alias("unit"),
        pl.col(name).cast(pl.Float64).alias("measured"),
        value(low).alias("low"),
        value(expected).alias("expected"),
        value(high).alias("high"),
        reason.alias("note"),
        (pl.col("usable_bytes") / BYTES_PER_GIB).alias("card_gib"),
    )


def _reason(name: str) -> pl.Expr:
    """Why this component of a run can't be estimated, null where it can."""
    card = pl.when(pl.col("usable_bytes").is_null() & (pl.col("is_pooled") > 0)).then(
        pl.lit("the memory of the card is not known")
    )
    if name == "weights_gib":
        partly = pl.col("notes").fill_null("").str.contains(ON_CPU, literal=True)
        return pl.when(partly).then(pl.lit("part of the weights is on the CPU: not printed which"))
    if name in ("kv_cache_gib", "kv_cache_tokens"):
        return card
    if name == "total_gib":
        return pl.when(pl.col("total_metric") == "device").then(card).otherwise(None)
    return pl.lit(None, dtype=pl.String)


def _bounds(name: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    if name in _PARTS:
        return _sum(_PARTS[name])
    if name == "non_torch_gib":
        low, expected, high = _sum(("workspace", "communication"))
        context = [c * pl.col("counts_context_inside") for c in _three("cuda_context")]
        return low + context[0], expected + context[1], high + context[2]
    if name == "kv_cache_gib":
        pooled = pl.col("is_pooled") > 0
        pool, held = _three("kv_pool"), _three("kv_cache")
        low, expected, high = (pl.when(pooled).then(pool[i]).otherwise(held[i]) for i in range(3))
        return low, expected, high
    if name == "kv_cache_tokens":
        return (
            pl.col("kv_cache_tokens_low"),
            pl.col("kv_cache_tokens_capacity"),
            pl.col("kv_cache_tokens_high"),
        )
    return _total()


def _total() -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """The total a run printed, by what its tool measures.

    A sum over the GPUs of a layer split counts the working set once a GPU: each peaks in its own
    layers.
    """
    steps = _of_each_gpu()
    allocated = [size + step for size, step in zip(_three("allocated"), steps, strict=True)]
    device = [size + step for size, step in zip(_three("device"), steps, strict=True)]
    reserve = _three("allocator_reserve")
    metric = pl.col("total_metric").replace_strict(_TOTALS, default=None)
    values: list[Any] = [
        pl.when(metric == "allocated")
        .then(allocated[i])
        .when(metric == "reserved")
        .then(allocated[i] + reserve[i])
        .when(metric == "device")
        .then(device[i])
        .otherwise(None)
        for i in range(3)
    ]
    return values[0], values[1], values[2]


def _of_each_gpu() -> list[pl.Expr]:
    """What a sum over GPUs holds beyond the run as a whole: each peaks in a phase of its own.

    A GPU with a share of the layers may peak in the prefill where the whole peaks in a decode step
    that holds its cache twice.
    """
    phase, gpus = pl.col("peak_phase"), pl.col("gpu_count").fill_null(1)
    whole = (pl.col("scope") == "total") & phase.is_in([PREFILL, FIRST_STEP, DECODE])
    prompt = (pl.col("prompt_sequence_bytes") - pl.col("state_bytes")) * pl.col("stored_sequences")
    less = (prompt - pl.col("kv_cache_bytes")) / gpus
    steps = []
    for bound in BOUNDS:
        inner = pl.col(f"inner_stage_activations_{bound}") + less
        step = pl.col(f"step_activations_{bound}") + pl.col(f"step_logits_{bound}")
        counted = sum_items(("activations", "logits"), bound)
        ends = (step + less - counted).clip(0) + (gpus - 1) * inner.clip(0)
        steps.append(pl.when(whole & (gpus > 1)).then(ends).otherwise(0.0))
    return steps


def _three(name: str) -> list[pl.Expr]:
    return [pl.col(f"{name}_{end}bytes") for end in ("low_", "", "high_")]


def _sum(items: tuple[str, ...]) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    return sum_items(items, "low"), sum_items(items), sum_items(items, "high")
