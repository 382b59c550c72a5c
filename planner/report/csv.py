"""CSV files that open in a spreadsheet without surprises.

UTF-8 without a byte order mark, comma, quotes doubled as in RFC 4180, lines end in a line feed.
A field that is not applicable is empty. A text that a spreadsheet would run as a formula gets a
leading apostrophe; numbers never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from planner.plan import Plan, PlanCase
from planner.report.words import free_percent_column, needs_factor_column

_STARTERS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that make a spreadsheet see a formula, full-width forms included."""
_NUMBER: Final = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_DIGITS_BY_SUFFIX: Final = (
    ("_gib", 4),
    ("_ms", 3),
    ("_ratio", 4),
    ("utilization", 4),
    ("usd_per_hour", 6),
    ("usd_per_month", 2),
    ("usd_per_year", 2),
    ("usd_per_million_tokens", 6),
    ("tokens_per_second", 2),
)
_CHOICE_COLUMNS: Final = (
    "gpu",
    "gpu_count",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "expert_parallel_size",
    "data_parallel_size",
    "sharding",
    "replicas",
    "verdict",
    "total_low_gib",
    "total_gib",
    "total_high_gib",
    "usable_gib",
    "utilization",
    "provider",
    "region",
    "instance_type",
    "offer_gpu_count",
    "purchase",
    "price_date",
    "usd_per_hour",
    "usd_per_month",
    "tokens_per_second",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "usd_per_million_tokens",
)
_RUNNER_UP_COLUMNS: Final = ("gpu", "gpu_count", "provider", "usd_per_hour")
_CHEAPEST_COLUMNS: Final = (
    "case_id",
    "workload",
    "model",
    "method",
    "is_bought",
    "bought_key",
    "outcome",
    *_CHOICE_COLUMNS,
    "usd_per_year",
    *(f"runner_up_{name}" for name in _RUNNER_UP_COLUMNS),
    "runner_up_surcharge_ratio",
    "sentence",
)
_MONTHS: Final = 12


def cells_csv(cells: pl.DataFrame) -> bytes:
    """Every cell, one row each, in the frame's column order."""
    return _csv(cells)


def matrix_csv(plan: Plan) -> bytes:
    """Cases x configurations; a cell reads `fits 43% free`, `needs 3.5x`, or why it can't be."""
    cases = pl.DataFrame(
        {
            "case": list(range(len(plan.cases))),
            "case_id": [case.case_id for case in plan.cases],
            "workload": [case.workload for case in plan.cases],
            "model": [case.model for case in plan.cases],
            "method": [case.method for case in plan.cases],
        },
        schema_overrides={"case": pl.Int64},
    )
    names = _unique(configuration.configuration_id for configuration in plan.configurations)
    if not plan.cases or not names:
        return _csv(cases.drop("case"))
    texts = matrix_texts(plan).select("case", "configuration", "text")
    wide = texts.pivot(
        on="configuration", index="case", values="text", on_columns=range(len(names))
    )
    wide = wide.rename({str(index): name for index, name in enumerate(names)})
    return _csv(cases.join(wide, on="case", how="left", maintain_order="left").drop("case"))


def matrix_texts(plan: Plan) -> pl.DataFrame:
    """The matrix with a column `text`: the cell in a few plain characters."""
    wanted = ("case", "configuration", "verdict", "price_state", "reason", "is_cheapest")
    numbers = ("total_gib", "budget_gib", "utilization")
    frame = pl.DataFrame(
        {name: list(plan.matrix[name]) for name in (*wanted, *numbers)},
        schema_overrides={
            "case": pl.Int64,
            "configuration": pl.Int64,
            "verdict": pl.String,
            "price_state": pl.String,
            "reason": pl.Int64,
            "is_cheapest": pl.Boolean,
            **dict.fromkeys(numbers, pl.Float64),
        },
    )
    verdict = pl.col("verdict")
    text = (
        pl.when(verdict == "exceeds")
        .then(pl.format("needs {}", needs_factor_column()))
        .when(verdict.is_in(["fits", "tight"]))
        .then(pl.format("{} {} free", verdict, free_percent_column()))
        .otherwise(verdict)
    )
    price = pl.col("price_state").replace({"priced": "", "unpriced": "no price"})
    price = pl.when(verdict.is_in(["fits", "tight"]) & (price != "")).then(price)
    cheapest = pl.when(pl.col("is_cheapest")).then(pl.lit("cheapest"))
    return frame.with_columns(
        text=pl.concat_str(text, price, cheapest, separator=", ", ignore_nulls=True)
    )


def cheapest_csv(plan: Plan) -> bytes:
    """Every case with its cheapest configuration and the first runner-up."""
    rows = [_choice(plan, case) for case in plan.cases]
    if rows:
        return _csv(pl.DataFrame(rows, infer_schema_length=None))
    return _csv(pl.DataFrame(schema=dict.fromkeys(_CHEAPEST_COLUMNS, pl.String)))


def _choice(plan: Plan, case: PlanCase) -> dict[str, Any]:
    detail = None if case.cheapest is None else plan.details[case.cheapest]
    runner = plan.details[case.runners_up[0]] if case.runners_up else None
    cell: Mapping[str, Any] = {} if detail is None else detail.cell
    other: Mapping[str, Any] = {} if runner is None else runner.cell
    month = cell.get("usd_per_month")
    values = (
        case.case_id,
        case.workload,
        case.model,
        case.method,
        case.is_bought,
        case.bought_key,
        case.outcome,
        *(cell.get(name) for name in _CHOICE_COLUMNS),
        None if month is None else month * _MONTHS,
        *(other.get(name) for name in _RUNNER_UP_COLUMNS),
        None if runner is None else runner.surcharge_ratio,
        case.sentence,
    )
    return dict(zip(_CHEAPEST_COLUMNS, values, strict=True))


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _csv(frame: pl.DataFrame) -> bytes:
    shown = frame.with_columns(_field(name, dtype) for name, dtype in frame.schema.items()).rename(
        {name: _safe_text(name) for name in frame.columns}
    )
    return shown.write_csv(line_terminator="\n", quote_style="necessary").encode()


def _field(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Null:
        return column.cast(pl.String)
    if dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        text = column.cast(pl.String)
        risky = text.str.slice(0, 1).is_in(_STARTERS) & ~text.str.contains(_NUMBER)
        return pl.when(risky).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(name)
    if dtype.is_float():
        finite = pl.when(column.is_finite()).then(column)
        return finite.round(_digits(name)).alias(name)
    if isinstance(dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join(";").alias(name)
    return column


def _digits(name: str) -> int:
    return next((digits for suffix, digits in _DIGITS_BY_SUFFIX if name.endswith(suffix)), 6)


def _safe_text(text: str) -> str:
    return f"'{text}" if text.startswith(_STARTERS) else text
