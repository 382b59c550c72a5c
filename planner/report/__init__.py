"""Renderers over a Plan. None of them computes more than words from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from planner.plan import Plan

REPORT_FILES = ("report.html", "cells.csv", "matrix.csv", "cheapest.csv", "plan.json")
"""What a report consists of, in the order it is listed to people."""

ALSO_FILES: Final[Mapping[str, str]] = {
    "xlsx": "plan.xlsx",
    "parquet": "cells.parquet",
    "markdown": "summary.md",
    "text": "summary.txt",
}
"""Further formats that a report can hold, and the file of each."""


def render_report(
    plan: Plan, cells: pl.DataFrame, *, base: Plan | None = None, also: Iterable[str] = ()
) -> dict[str, bytes]:
    """Every file of a report by name; equal inputs give equal bytes.

    Args:
        cells: the full table, one row a cell, beginning with the columns of cells.csv in order.
        base: an earlier plan of the scenario; the page then has a view of what changed since.
        also: names of ALSO_FILES to add.

    Nothing is written: see `planner.report.files.write_folder`.

    Raises:
        OutsideFailure: a format needs a library that isn't installed.
    """
    from planner.report.csv import cells_csv, cheapest_csv, matrix_csv
    from planner.report.html import render_html
    from planner.report.plan_json import write_plan

    return {
        "report.html": render_html(plan, base),
        "cells.csv": cells_csv(cells),
        "matrix.csv": matrix_csv(plan),
        "cheapest.csv": cheapest_csv(plan),
        "plan.json": write_plan(plan),
        **{ALSO_FILES[name]: _render_also(name, plan, cells) for name in dict.fromkeys(also)},
    }


def _render_also(name: str, plan: Plan, cells: pl.DataFrame) -> bytes:
    if name == "xlsx":
        from planner.report.xlsx import render_xlsx

        return render_xlsx(plan, cells)
    if name == "parquet":
        from planner.report.parquet import cells_parquet

        return cells_parquet(cells)
    if name == "markdown":
        from planner.report.markdown import render_markdown

        return render_markdown(plan).encode()
    from planner.report.text import summary

    return summary(plan).encode()
