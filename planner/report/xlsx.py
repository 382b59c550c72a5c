"""plan.xlsx: the decision, the fit matrix and the cells as sheets of one workbook."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any, Final

import polars as pl

from planner.errors import OutsideFailure
from planner.plan import Plan
from planner.report import sources_view, view, words
from planner.report.csv import matrix_texts

CELLS_SHOWN: Final = 5_000
"""More rows than this are left to cells.csv and cells.parquet: spreadsheets become slow."""
_HINT: Final = "a spreadsheet needs xlsxwriter: pip install 'llm-capacity-planner[xlsx]'"
_CREATED: Final = datetime(2000, 1, 1)
"""A fixed time: equal plans give equal bytes."""
_MONEY: Final = '"$"#,##0.00;-"$"#,##0.00'
_FIRST_WIDTH: Final = 420
_TEXT_WIDTH: Final = 190
_NUMBER_WIDTH: Final = 110
_TINTS: Final = (("fits", "#DBE8FB"), ("tight", "#FDEAB8"), ("needs", "#ECEEF1"))


def render_xlsx(plan: Plan, cells: pl.DataFrame) -> bytes:
    """The workbook; texts that look like formulas or links stay texts.

    Raises:
        OutsideFailure: xlsxwriter isn't installed.
    """
    try:
        from xlsxwriter import Workbook
    except ImportError as error:
        raise OutsideFailure(_HINT) from error
    buffer = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with Workbook(buffer, options) as book:
        book.set_properties({"title": _text(plan.scenario.title), "created": _CREATED})
        _write(book, "decision", decision_frame(plan))
        _write(book, "matrix", matrix_frame(plan), tinted=True)
        shown, remark = _cells(cells)
        _write(book, "cells", shown)
        _write(book, "about", _about(plan, remark))
    return buffer.getvalue()


def decision_frame(plan: Plan) -> pl.DataFrame:
    """One row a purchase: what to buy, its cost, the runner-up; or why there is no answer."""
    rows = []
    currency = plan.scenario.currency
    for choice in view.choices(plan):
        case = plan.cases[choice.case_index]
        cell = {} if case.cheapest is None else plan.details[case.cheapest].cell
        month = cell.get("usd_per_month")
        rows.append(
            {
                "For": f"{choice.model}, {choice.what}",
                "Workload": choice.workload,
                "Buy": choice.configuration or words.OUTCOME_WORDS[choice.outcome],
                "Layout": choice.layout,
                "Offer": choice.offer,
                f"{currency} per hour": cell.get("usd_per_hour"),
                f"{currency} per month": month,
                f"{currency} per year": None if month is None else month * 12,
                "GiB of one GPU": cell.get("total_gib"),
                "Usable GiB": cell.get("usable_gib"),
                "Free share": _free(cell.get("utilization")),
                "Runner-up": choice.runner_up,
                "Surcharge": choice.surcharge,
                "Why": choice.cheaper if case.cheapest is not None else choice.sentence,
                "Case": choice.case_id,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None) if rows else _nothing("no purchase")


def _free(utilization: float | None) -> float | None:
    return None if utilization is None else round(1 - utilization, 4)


def matrix_frame(plan: Plan) -> pl.DataFrame:
    """Cases x configurations, each cell in the words of matrix.csv."""
    if not plan.cases or not plan.configurations:
        return _nothing("no case")
    texts = matrix_texts(plan).select("case", "configuration", "text")
    width = range(len(plan.configurations))
    wide = texts.pivot(on="configuration", index="case", values="text", on_columns=width)
    names: dict[str, str] = {}
    for place, configuration in enumerate(plan.configurations):
        label = configuration.label if configuration.label not in names.values() else ""
        names[str(place)] = label or configuration.configuration_id
    cases = pl.DataFrame(
        {
            "case": range(len(plan.cases)),
            "Case": [case.case_id for case in plan.cases],
            "Bought": ["yes" if case.is_bought else "" for case in plan.cases],
        },
        schema_overrides={"case": pl.Int64},
    )
    joined = cases.join(wide.rename(names), on="case", how="left", maintain_order="left")
    return joined.drop("case")


def _cells(cells: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The cells that a spreadsheet bears, and what was left out."""
    shown, remark = cells, f"cells holds all {cells.height:,} cells"
    if cells.height > CELLS_SHOWN:
        order = pl.col("is_bought").fill_null(False).not_()
        shown = cells.sort(order, maintain_order=True).head(CELLS_SHOWN)
        remark = (
            f"cells holds {CELLS_SHOWN:,} of {cells.height:,} cells, those of bought cases first; "
            "cells.csv and cells.parquet hold all"
        )
    kept = [name for name in shown.columns if shown[name].null_count() < shown.height]
    return shown.select(kept or shown.columns[:1]), remark


def _about(plan: Plan, remark: str) -> pl.DataFrame:
    facts = [("Headline", plan.headline), *sources_view.facts(plan), ("Sheets", remark)]
    return pl.DataFrame(
        {"Name": [name for name, _ in facts], "Value": [value for _, value in facts]}
    )


def _nothing(text: str) -> pl.DataFrame:
    return pl.DataFrame({"Plan": [f"There is {text} in this plan."]})


def _text(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """Values that a sheet can hold: finite numbers, lists as texts, no control characters."""
    column = pl.col(name)
    if dtype.is_float():
        return pl.when(column.is_finite()).then(column).alias(name)
    if isinstance(dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join(";").alias(name)
    if dtype == pl.Boolean:
        return column
    if dtype.is_numeric():
        return column
    return column.cast(pl.String).str.replace_all(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "").alias(name)


def _write(book: Any, name: str, frame: pl.DataFrame, *, tinted: bool = False) -> None:
    plain = frame.with_columns(_plain(column, dtype) for column, dtype in frame.schema.items())
    sheet = book.add_worksheet(name)
    numbers = [column for column, dtype in plain.schema.items() if dtype.is_numeric()]
    widths: dict[Any, Any] = {
        column: _NUMBER_WIDTH if column in numbers else _TEXT_WIDTH for column in plain.columns
    }
    widths[plain.columns[0]] = _FIRST_WIDTH
    plain.write_excel(
        workbook=book,
        worksheet=sheet,
        table_name=f"plan_{name}",
        table_style="Table Style Light 1",
        column_formats={column: _format(column) for column in numbers},
        column_widths=widths,
        freeze_panes=(1, 1),
        autofilter=True,
        autofit=False,
    )
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    if tinted:
        area = (1, 1, max(1, plain.height), max(1, plain.width - 1))
        for word, tint in _TINTS:
            rule = {"type": "text", "criteria": "begins with", "value": word}
            sheet.conditional_format(*area, {**rule, "format": book.add_format({"bg_color": tint})})


def _format(column: str) -> str:
    lower = column.lower()
    if "usd" in lower:
        return _MONEY
    if lower.endswith(("share", "utilization", "ratio")):
        return "0%"
    return "0.00" if lower.endswith(("gib", "gpu", "_ms", "second")) else "General"
