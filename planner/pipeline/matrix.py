"""The fit matrix: cases x (GPU x count), each with its best cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from planner.pipeline.columns import in_gib
from planner.pipeline.context import Context
from planner.pipeline.outcomes import layout_words
from planner.plan import COMPONENTS, PlanConfiguration
from planner.units import BYTES_PER_GIB

_NUMBERS: Final = {
    "total_low_gib": 3,
    "total_gib": 3,
    "total_high_gib": 3,
    "budget_gib": 3,
    "utilization": 4,
    **{f"{component}_gib": 3 for component in COMPONENTS},
    "usd_per_hour": 4,
    "usd_per_month": 2,
    "tokens_per_second": 1,
    "time_to_first_token_ms": 1,
    "time_per_output_token_ms": 2,
}


def plan_configurations(context: Context, cells: pl.DataFrame) -> tuple[PlanConfiguration, ...]:
    names = dict(context.catalog.gpus.select("gpu", "name").iter_rows())
    best = (
        cells.lazy()
        .sort("usd_per_hour", nulls_last=True)
        .group_by("gpu", "gpu_count")
        .agg(
            pl.col("configuration_index").min(),
            pl.col("usable_bytes").first(),
            pl.col("usd_per_hour").first(),
            pl.col("provider").first(),
            pl.col("instance_type").first(),
            pl.col("purchase").first(),
        )
        .sort("configuration_index")
        .collect(engine="in-memory")
    )
    return tuple(
        PlanConfiguration(
            configuration_id=f"{row['gpu_count']}x {row['gpu']}",
            label=f"{row['gpu_count']}× {names.get(row['gpu'], row['gpu'])}",
            gpu=row["gpu"],
            gpu_name=names.get(row["gpu"], row["gpu"]),
            gpu_count=row["gpu_count"],
            usable_gib=round(row["usable_bytes"] / BYTES_PER_GIB, 2),
            usd_per_hour=_rounded(row["usd_per_hour"], 4),
            offer=_offer(row),
        )
        for row in best.iter_rows(named=True)
    )


def _offer(row: Mapping[str, Any]) -> str:
    if row["provider"] is None:
        return ""
    return " · ".join([row["provider"], row["instance_type"] or "", row["purchase"]])


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def fit_matrix(
    best: pl.DataFrame,
    advice: Sequence[str | None],
    configurations: Sequence[PlanConfiguration],
) -> tuple[dict[str, tuple[Any, ...]], tuple[str, ...], tuple[str, ...]]:
    """The columns of the matrix, and the texts that `reason` and `advice` index into.

    `best` has one row a case and configuration, `advice` a text or None for each of them.
    """
    index = {c.configuration_id: i for i, c in enumerate(configurations)}
    shown = in_gib(best).with_columns(
        advice=pl.Series(advice, dtype=pl.String),
        case=pl.col("case_index"),
        configuration=pl.format("{}x {}", "gpu_count", "gpu").replace_strict(
            index, return_dtype=pl.Int64
        ),
        layout=layout_words(),
        offer=pl.when(pl.col("provider").is_not_null()).then(
            pl.concat_str(
                "provider", "instance_type", "purchase", separator=" · ", ignore_nulls=True
            )
        ),
    )
    shown = shown.sort("case", "configuration")
    texts = {}
    for name in ("reason", "advice"):
        texts[name] = shown[name].drop_nulls().unique(maintain_order=True)
        numbers = texts[name].to_frame(name).with_row_index("number")
        shown = (
            shown.join(numbers, on=name, how="left", maintain_order="left")
            .with_columns(pl.col("number").cast(pl.Int64).alias(name))
            .drop("number")
        )
    shown = shown.with_columns(
        *(pl.col(name).cast(pl.Float64).round(d).alias(name) for name, d in _NUMBERS.items()),
        *(
            pl.col(name).floor().cast(pl.Int64)
            for name in ("max_context_tokens", "max_concurrent_sequences")
        ),
    )
    columns = (
        "case", "configuration", "verdict", "price_state", "reason", "layout", *_NUMBERS,
        "offer", "replicas", "advice", "max_context_tokens", "max_concurrent_sequences",
        "is_cheapest",
    )  # fmt: skip
    table = {name: tuple(shown[name].to_list()) for name in columns}
    return table, tuple(texts["reason"].to_list()), tuple(texts["advice"].to_list())


def offers_left_out(configurations: Iterable[PlanConfiguration]) -> tuple[str, ...]:
    return tuple(c.configuration_id for c in configurations if c.usd_per_hour is None)
