"""Renderers over a Plan. None of them computes more than words from it."""

from __future__ import annotations

import polars as pl

from planner.plan import Plan

REPORT_FILES = ("report.html", "cells.csv", "matrix.csv", "cheapest.csv", "plan.json")
"""What a report consists of, in the order it is listed to people."""


def render_report(plan: Plan, cells: pl.DataFrame) -> dict[str, bytes]:
    """Every file of a report by name; equal inputs give equal bytes.

    `cells` is the full table, one row a cell, beginning with the columns of cells.csv in order.
    Nothing is written: see `planner.report.files.write_folder`.
    """
    from planner.report.csv import cells_csv, cheapest_csv, matrix_csv
    from planner.report.html import render_html
    from planner.report.plan_json import write_plan

    return {
        "report.html": render_html(plan),
        "cells.csv": cells_csv(cells),
        "matrix.csv": matrix_csv(plan),
        "cheapest.csv": cheapest_csv(plan),
        "plan.json": write_plan(plan),
    }
