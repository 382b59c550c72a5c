"""Why the naive choice lost: what is cheaper by the hour than the answer, and what it lacks."""

from __future__ import annotations

import polars as pl

from planner.plan import Plan
from planner.report import words

_LOST: dict[str, str] = {
    "tight": "only tight",
    "impossible": "has no layout",
    "unsupported": "not supported",
}


def cheaper_losers(plan: Plan) -> dict[int, str]:
    """Case -> the cheaper configuration that came nearest, in a few words.

    Cheaper means a lower price by the hour than the chosen cell's. Nearest is the one that is
    least over its budget; one that fits and misses an objective, or can't be bought, is nearer;
    one that can't run the case at all is named only when all are such.
    """
    bought = [i for i, c in enumerate(plan.cases) if c.is_bought and c.cheapest is not None]
    names = (
        "case", "configuration", "verdict", "reason", "total_gib", "budget_gib", "usd_per_hour",
        "usd_per_month",
    )  # fmt: skip
    frame = pl.DataFrame(
        {name: plan.matrix[name] for name in names},
        schema_overrides={
            "case": pl.Int64,
            "configuration": pl.Int64,
            "verdict": pl.String,
            "reason": pl.Int64,
            **dict.fromkeys(names[4:], pl.Float64),
        },
        strict=False,
    ).filter(pl.col("case").is_in(bought))
    chosen = [
        (i, cell.get("usd_per_hour"), cell.get("usd_per_month"))
        for i in bought
        if (found := plan.cases[i].cheapest) is not None
        and (cell := plan.details[found].cell) is not None
    ]
    schema = {"case": pl.Int64, "paid": pl.Float64, "paid_month": pl.Float64}
    prices = pl.DataFrame(chosen, schema=schema, orient="row")
    told = _told(plan)
    fits = pl.col("verdict") == "fits"
    lost = pl.col("verdict").is_in(["exceeds", *_LOST]) | (fits & pl.col("said").is_not_null())
    month = fits & pl.col("usd_per_month").is_not_null() & pl.col("paid_month").is_not_null()
    cheaper = (
        pl.when(month)
        .then(pl.col("usd_per_month") < pl.col("paid_month"))
        .otherwise(pl.col("usd_per_hour") < pl.col("paid"))
    )
    losers = (
        frame.join(prices, on="case")
        .with_columns(
            said=pl.col("reason").replace_strict(told, default=None, return_dtype=pl.String)
        )
        .filter(cheaper & lost)
        .with_columns(
            shortfall=pl.when(~fits).then(pl.col("total_gib") / pl.col("budget_gib")).otherwise(0),
            cannot=pl.col("verdict").is_in(["impossible", "unsupported"]),
            needs=words.needs_factor_column(),
            cheaper=pl.len().over("case"),
        )
        .sort("case", "cannot", "shortfall", "usd_per_hour", "configuration", nulls_last=True)
        .unique("case", keep="first", maintain_order=True)
    )
    return {row["case"]: _sentence(plan, row) for row in losers.iter_rows(named=True)}


def _told(plan: Plan) -> dict[int, str]:
    """Reasons for which a cell that fits was not taken, other than its cost."""
    return {
        index: reason
        for index, reason in enumerate(plan.reasons)
        if not reason.startswith(("dearer by ", "same cost"))
    }


def _sentence(plan: Plan, row: dict[str, object]) -> str:
    configuration = plan.configurations[int(str(row["configuration"]))]
    label = words.times_sign(configuration.label)
    price = words.usd(float(str(row["usd_per_hour"])), plan.scenario.currency)
    verdict = str(row["verdict"])
    if verdict == "fits":
        return f"{label} at {price}: {row['said']}"
    lost = _LOST.get(verdict) or f"needs {str(row['needs']).replace('x', '×')} its budget"
    return f"{label} at {price}: {lost}"
