"""The fit matrix for the page: every text of every cell, rounded once, as packed columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import polars as pl

from planner.plan import COMPONENTS, PRICE_STATES, VERDICTS, Plan
from planner.report import words
from planner.report.pack import Column, number_column, text_column

_TRACE: Final = -1
_FAR: Final = 2.0
_DEARER: Final = "dearer by "
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
    "advice",
    "replicas",
    "max_context_tokens",
    "max_concurrent_sequences",
)


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

    near = _near_budget(frame)
    columns = [
        text_column("state", _state(frame)),
        text_column("text", _text(frame)),
        _tenths("total", frame["total_gib"]),
        _tenths("budget", frame["budget_gib"]),
        _tenths("low", near["total_low_gib"]),
        _tenths("high", near["total_high_gib"]),
        *(_tenths(part, frame[f"{part}_gib"]) for part in COMPONENTS),
        _rounded("hour", frame["usd_per_hour"], 4, money),
        _rounded("month", frame["usd_per_month"], 2, money),
        text_column("offer", frame["offer"]),
        text_column("layout", frame["layout"]),
        text_column("reason", _reasons(frame, plan.reasons)),
        text_column("extra", _surcharges(frame)),
        text_column("advice", _advice(frame, plan)),
        _rounded("replicas", frame["replicas"], 0, words.count),
        _significant("speed", _without_latency(frame), "tokens_per_second"),
        _significant("ttft", frame, "time_to_first_token_ms"),
        _significant("tpot", frame, "time_per_output_token_ms"),
        number_column("context", frame["max_context_tokens"], words.count),
        number_column("sequences", _floored(frame["max_concurrent_sequences"]), words.count),
    ]
    return [column for column in columns if column.texts or column.name in ("state", "text")]


def _near_budget(frame: pl.DataFrame) -> pl.DataFrame:
    """Ranges where they can decide: a cell far over its budget is over it at any estimate."""
    near = pl.col("total_gib") <= _FAR * pl.col("budget_gib")
    ranges = ("total_low_gib", "total_high_gib")
    return frame.select(pl.when(near).then(pl.col(name)).alias(name) for name in ranges)


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
    """The number of a cell: the free share where it fits, else how many times over it is."""
    verdict = pl.col("verdict")
    needs = words.needs_factor_column().str.replace("x", "×")
    text = (
        pl.when(verdict.is_in(["fits", "tight"]))
        .then(words.free_percent_column())
        .when(verdict == "exceeds")
        .then(pl.format("needs {}", needs))
    )
    return frame.select(text=text)["text"]


def _reasons(frame: pl.DataFrame, reasons: Sequence[str]) -> pl.Series:
    """Reasons that say more than the page's own numbers.

    That a cell is over its budget, or dearer than another, is told by `text` and `extra`.
    """
    table = {i: reason for i, reason in enumerate(reasons) if not reason.startswith(_DEARER)}
    told = pl.when(pl.col("verdict") != "exceeds").then(pl.col("reason"))
    words_of = told.replace_strict(table, default=None, return_dtype=pl.String)
    return frame.select(reason=words_of)["reason"]


def _advice(frame: pl.DataFrame, plan: Plan) -> pl.Series:
    """What would make a tight cell, or a training cell of a bought case, fit.

    Of serving that exceeds, the limits say it.
    """
    training = [case.is_bought and case.method != "inference" for case in plan.cases]
    table = pl.DataFrame(
        {"case": range(len(training)), "training": training},
        schema={"case": pl.Int64, "training": pl.Boolean},
    )
    known = frame.join(table, on="case", how="left", maintain_order="left")
    shown = pl.col("training") | (pl.col("verdict") == "tight")
    told = known.select(index=pl.when(shown).then(pl.col("advice")))["index"]
    texts = dict(enumerate(plan.advice))
    return told.replace_strict(texts, default=None, return_dtype=pl.String)


def _surcharges(frame: pl.DataFrame) -> pl.Series:
    """What a cell that fits costs above the cheapest of its case."""
    cost = pl.coalesce("usd_per_month", "usd_per_hour")
    least = cost.filter(pl.col("is_cheapest")).first().over("case")
    held = pl.col("verdict").is_in(["fits", "tight"]) & ~pl.col("is_cheapest").fill_null(False)
    ratio = frame.select(ratio=pl.when(held & (least > 0)).then(cost / least - 1).round(3))["ratio"]
    texts = {value: words.surcharge(value) for value in ratio.drop_nulls().unique()}
    return ratio.replace_strict(texts, default=None, return_dtype=pl.String)


def _tenths(name: str, values: pl.Series) -> Column:
    """Sizes with one decimal; a trace keeps its own code, nothing at all has none."""
    frame = values.to_frame("size")
    tenths = (pl.col("size") * 10).round(0).cast(pl.Int64)
    trace = (pl.col("size") > 0) & (tenths == 0)
    some = pl.when(tenths != 0).then(tenths)
    shown = frame.select(size=pl.when(trace).then(_TRACE).otherwise(some))["size"]
    return number_column(name, shown, lambda t: "<0.1" if t == _TRACE else words.gib(t / 10))


def _without_latency(frame: pl.DataFrame) -> pl.DataFrame:
    """Throughput is told where no time per token is: the one follows from the other."""
    told = pl.when(pl.col("time_per_output_token_ms").is_null()).then(pl.col("tokens_per_second"))
    return frame.with_columns(tokens_per_second=told)


def _significant(name: str, frame: pl.DataFrame, column: str) -> Column:
    """Speeds of cells that fit, with two significant digits: they are known no better."""
    held = pl.col("verdict").is_in(["fits", "tight"])
    values = frame.select(v=pl.when(held).then(pl.col(column)).round_sig_figs(2))["v"]
    return number_column(name, values, words.plain_number)


def _floored(values: pl.Series) -> pl.Series:
    """Counts with two significant digits, rounded down: what is shown does fit."""
    frame = values.to_frame("v")
    step = pl.when(pl.col("v") >= 1000).then(100).when(pl.col("v") >= 100).then(10).otherwise(1)
    return frame.select(v=pl.col("v") // step * step)["v"]


def _rounded(name: str, values: pl.Series, digits: int, form: Callable[[float], str]) -> Column:
    """Numbers that `form` writes; those that read the same share a code."""
    rounded = values.cast(pl.Float64).round(digits)
    texts = {value: form(value) for value in rounded.drop_nulls().unique()}
    shown = rounded.replace_strict(texts, default=None, return_dtype=pl.String)
    return text_column(name, shown)
