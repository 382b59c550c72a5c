"""The fit matrix for the page: every text of every cell, rounded once, as packed columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import polars as pl

from planner.plan import COMPONENTS, PRICE_STATES, VERDICTS, Plan
from planner.report import words
from planner.report.pack import Column, number_column, text_column

NOT_IN_GRID: Final = "absent"
_SIZES: Final = ("total_low_gib", "total_gib", "total_high_gib", "budget_gib")
_NUMBERS: Final = (
    *_SIZES,
    "utilization",
    *(f"{component}_gib" for component in COMPONENTS),
    "usd_per_hour",
    "usd_per_month",
    "tokens_per_second",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
)
_COUNTS: Final = (
    "case",
    "configuration",
    "reason",
    "replicas",
    "max_context_tokens",
    "max_concurrent_sequences",
)
_SHORT_PRICE: Final = {
    "unpriced": "no price",
    "no-offer": "not sold",
    "over-limit": "over limit",
}
_SHORT_VERDICT: Final = {"impossible": "impossible", "unsupported": "unsupported"}
_TRACE_TENTHS: Final = 0


def matrix_frame(plan: Plan) -> pl.DataFrame:
    """The matrix as a frame with every case x configuration, case by case; absent cells null."""
    types: dict[str, Any] = dict.fromkeys(_NUMBERS, pl.Float64) | dict.fromkeys(_COUNTS, pl.Int64)
    types |= {"is_cheapest": pl.Boolean}
    data = {
        name: pl.Series(name, column, dtype=types.get(name, pl.String), strict=False)
        for name, column in plan.matrix.items()
    }
    frame = pl.DataFrame(data)
    rows, width = len(plan.cases), len(plan.configurations)
    full = pl.select(case=pl.int_range(rows)).join(
        pl.select(configuration=pl.int_range(width)), how="cross"
    )
    frame = frame.unique(["case", "configuration"], keep="first", maintain_order=True)
    return full.join(frame, on=["case", "configuration"], how="left", maintain_order="left")


def matrix_columns(frame: pl.DataFrame, plan: Plan) -> list[Column]:
    """Columns of the page's matrix: state, text and everything that Explain shows."""
    currency = plan.scenario.currency

    def money(value: float) -> str:
        return words.usd(value, currency)

    sizes = [("low", "total_low_gib"), ("total", "total_gib"), ("high", "total_high_gib")]
    columns = [
        text_column("state", _state(frame)),
        text_column("text", _text(frame)),
        *(_tenths(short, frame[name]) for short, name in (*sizes, ("budget", "budget_gib"))),
        text_column("free", _free(frame)),
        *(_tenths(part, frame[f"{part}_gib"]) for part in COMPONENTS),
        _rounded("hour", frame["usd_per_hour"], 4, money),
        _rounded("month", frame["usd_per_month"], 2, money),
        text_column("offer", frame["offer"]),
        text_column("layout", frame["layout"]),
        text_column("reason", _reasons(frame["reason"], plan.reasons)),
        _rounded("replicas", frame["replicas"], 0, words.count),
        _rounded("speed", frame["tokens_per_second"], 0, words.count),
        _rounded("ttft", frame["time_to_first_token_ms"], 0, words.count),
        _rounded("tpot", frame["time_per_output_token_ms"], 1, lambda ms: f"{ms:,.1f}"),
        _rounded("context", frame["max_context_tokens"], 0, words.count),
        _rounded("sequences", frame["max_concurrent_sequences"], 0, words.count),
    ]
    return [column for column in columns if column.texts or column.name in ("state", "text")]


def _state(frame: pl.DataFrame) -> pl.Series:
    """`verdict price_state cheapest` as three digits, so that the page can look up its looks."""
    verdict = pl.col("verdict").replace_strict(
        {name: str(index) for index, name in enumerate(VERDICTS)}, default=None
    )
    price = pl.col("price_state").replace_strict(
        {name: str(index) for index, name in enumerate(PRICE_STATES)}, default="0"
    )
    cheapest = pl.col("is_cheapest").fill_null(False).cast(pl.Int8).cast(pl.String)
    return frame.select(state=pl.concat_str(verdict, price, cheapest))["state"]


def _text(frame: pl.DataFrame) -> pl.Series:
    """What a cell of the matrix says, beside its glyph."""
    verdict, price = pl.col("verdict"), pl.col("price_state")
    held = verdict.is_in(["fits", "tight"])
    needs = words.needs_factor_column().str.replace("x", "×")
    text = (
        pl.when(verdict.is_null())
        .then(None)
        .when(held & price.is_in(list(_SHORT_PRICE)))
        .then(price.replace(_SHORT_PRICE))
        .when(held)
        .then(pl.format("{} {}", verdict, words.free_percent_column()))
        .when(verdict == "exceeds")
        .then(pl.format("needs {}", needs))
        .otherwise(verdict.replace(_SHORT_VERDICT))
    )
    return frame.select(text=text)["text"]


def _free(frame: pl.DataFrame) -> pl.Series:
    held = pl.col("utilization") <= 1
    return frame.select(free=pl.when(held).then(words.free_percent_column()))["free"]


def _reasons(indices: pl.Series, reasons: Sequence[str]) -> pl.Series:
    table = dict(enumerate(reasons))
    return indices.replace_strict(table, default=None, return_dtype=pl.String)


def _tenths(name: str, values: pl.Series) -> Column:
    """Sizes with one decimal; a trace that rounds to nothing keeps its own code."""
    frame = values.to_frame("size")
    tenths = (pl.col("size") * 10).round(0).cast(pl.Int64)
    trace = (pl.col("size") > 0) & (tenths == 0)
    shown = frame.select(size=pl.when(trace).then(-1).otherwise(tenths))["size"]
    return number_column(name, shown, lambda t: "<0.1" if t < 0 else words.gib(t / 10))


def _rounded(name: str, values: pl.Series, digits: int, form: Callable[[float], str]) -> Column:
    """Numbers that `form` writes; those that read the same share a code."""
    rounded = values.cast(pl.Float64).round(digits)
    texts = {value: form(value) for value in rounded.drop_nulls().unique()}
    shown = rounded.replace_strict(texts, default=None, return_dtype=pl.String)
    return text_column(name, shown)
