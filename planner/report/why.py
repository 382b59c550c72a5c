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
    least over its budget; one that can't run the case at all is named only when all are such.
    """
    bought = [i for i, c in enumerate(plan.cases) if c.is_bought and c.cheapest is not None]
    names = ("case", "configuration", "verdict", "total_gib", "budget_gib", "usd_per_hour")
    frame = pl.DataFrame(
        {name: plan.matrix[name] for name in names},
        schema_overrides={
            "case": pl.Int64,
            "configuration": pl.Int64,
            "verdict": pl.String,
            **dict.fromkeys(names[3:], pl.Float64),
        },
        strict=False,
    ).filter(pl.col("case").is_in(bought))
    chosen = {
        i: plan.details[found].cell.get("usd_per_hour")
        for i in bought
        if (found := plan.cases[i].cheapest) is not None
    }
    prices = pl.DataFrame(
        {"case": list(chosen), "paid": list(chosen.values())},
        schema={"case": pl.Int64, "paid": pl.Float64},
    )
    losers = (
        frame.join(prices, on="case")
        .filter(
            (pl.col("usd_per_hour") < pl.col("paid")) & pl.col("verdict").is_in(["exceeds", *_LOST])
        )
        .with_columns(
            shortfall=pl.col("total_gib") / pl.col("budget_gib"),
            cannot=pl.col("verdict").is_in(["impossible", "unsupported"]),
            needs=words.needs_factor_column(),
            cheaper=pl.len().over("case"),
        )
        .sort("case", "cannot", "shortfall", "usd_per_hour", "configuration", nulls_last=True)
        .unique("case", keep="first", maintain_order=True)
    )
    return {row["case"]: _sentence(plan, row) for row in losers.iter_rows(named=True)}


def _sentence(plan: Plan, row: dict[str, object]) -> str:
    configuration = plan.configurations[int(str(row["configuration"]))]
    label = words.times_sign(configuration.label)
    price = words.usd(float(str(row["usd_per_hour"])), plan.scenario.currency)
    verdict = str(row["verdict"])
    lost = _LOST.get(verdict) or f"needs {str(row['needs']).replace('x', '×')} its budget"
    return f"{label} at {price}: {lost}"
