"""Ledgers of single cells: formulas, the numbers put in, and their sources."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import polars as pl

from planner.estimate import estimate_cells, terms_of
from planner.estimate.ledger import BOUNDS, ITEMS, Term, item_column
from planner.estimate.ledger import COMPONENTS as ITEMS_BY_COMPONENT
from planner.pipeline.columns import CELL_COLUMNS, GIB_DIGITS, in_gib, rounded
from planner.pipeline.context import Context
from planner.pipeline.decide import placements
from planner.plan import CellDetail, LedgerLine
from planner.units import BYTES_PER_GIB

_COMPONENT_OF = {item: name for name, items in ITEMS_BY_COMPONENT.items() for item in items}


LEDGERS_SHOWN: Final = 2_000
"""Ledgers kept in a plan: those of the purchases first, then of the other choices in order."""


def cell_details(
    context: Context,
    finalists: pl.DataFrame,
    bought: Collection[int] = (),
    *,
    all_ledgers: bool = False,
) -> tuple[CellDetail, ...]:
    """Full cells in the order of `finalists`, with the ledgers of choices and purchases.

    `finalists` has `case_index` and `rank_cost_usd`; `bought` names the cases that are bought.
    """
    if not finalists.height:
        return ()
    is_bought = pl.col("case_index").is_in(list(bought))
    shown = rounded(in_gib(finalists)).with_columns(
        pl.col(pl.Float64).round(4), is_bought=is_bought & pl.col("is_cheapest")
    )
    wanted = (
        finalists.with_row_index("position")
        .with_columns(_later=~is_bought)
        .filter(is_bought | pl.col("is_cheapest") | all_ledgers)
        .sort("_later", "position")
        .head(LEDGERS_SHOWN)
    )
    ledgers = dict(zip(wanted["position"], explain_cells(context, wanted), strict=True))
    costs = finalists["rank_cost_usd"].to_list()
    details = []
    least: dict[int, float] = {}
    for position, (case, row) in enumerate(
        zip(
            finalists["case_index"].to_list(),
            shown.select(CELL_COLUMNS).iter_rows(named=True),
            strict=True,
        )
    ):
        cost = costs[position]
        first = least.setdefault(case, cost)
        surcharge = round(cost / first - 1, 4) if first and cost is not None else None
        details.append(CellDetail(row, ledgers.get(position, ()), surcharge))
    return tuple(details)


def explain_cells(context: Context, cells: pl.DataFrame) -> list[tuple[LedgerLine, ...]]:
    """The ledger of each cell, with its formulas and the numbers put in."""
    keys = ["case_index", "configuration_index", "method"]
    parts = [
        estimate_cells(frame, context.tables, context.settings, serves=serves)
        for serves, frames in placements(context, cells.select(keys).unique())
        for frame in frames
    ]
    full = pl.concat([part.collect(engine="in-memory") for part in parts], how="diagonal_relaxed")
    rows = {
        (row["case_index"], row["configuration_index"], row["method"]): row
        for row in full.iter_rows(named=True)
    }
    terms = {
        method: {term.name: term for term in terms_of(context.settings, method, engine)}
        for method, engine in cells.select("method", "engine").unique().iter_rows()
    }
    return [
        _ledger(rows[(row["case_index"], row["configuration_index"], row["method"])],
                terms[row["method"]])
        for row in cells.select(keys).iter_rows(named=True)
    ]  # fmt: skip


def _ledger(row: Mapping[str, Any], terms: Mapping[str, Term]) -> tuple[LedgerLine, ...]:
    lines = []
    for item in ITEMS:
        low, expected, high = (row.get(item_column(item, bound)) for bound in BOUNDS)
        if expected is None or not (expected or high):
            continue
        term = terms.get(item)
        lines.append(
            LedgerLine(
                item=item,
                component=_COMPONENT_OF[item],
                low_gib=round((expected if low is None else low) / BYTES_PER_GIB, GIB_DIGITS),
                expected_gib=round(expected / BYTES_PER_GIB, GIB_DIGITS),
                high_gib=round((expected if high is None else high) / BYTES_PER_GIB, GIB_DIGITS),
                formula=_applying(term, row) if term else "",
                substituted=_substituted(term, row) if term else "",
                source=term.source if term else "",
            )
        )
    return tuple(lines)


_OPTIONAL: Final = re.compile(r"\[([^\[\]]*)\]")
_OPERAND: Final = re.compile(r"\{(\w+)\}")


def _applying(term: Term, row: Mapping[str, Any]) -> str:
    """The formula with those of its optional parts that are something in this row."""

    def part(match: re.Match[str]) -> str:
        return match[1] if all(row.get(name) for name in _OPERAND.findall(match[1])) else ""

    return _OPTIONAL.sub(part, term.formula)


def _substituted(term: Term, row: Mapping[str, Any]) -> str:
    text = _applying(term, row)
    for operand in term.operands:
        text = text.replace(f"{{{operand}}}", _number(row.get(operand)))
    return text


_WHOLE_FROM: Final = 1e6
"""From here on a fraction means nothing, and six digits would need an exponent."""


def _number(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float):
        whole = abs(value) >= (1000 if value.is_integer() else _WHOLE_FROM)
        return f"{value:,.0f}" if whole else f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
