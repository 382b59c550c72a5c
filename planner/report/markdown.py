"""The decision as GitHub-flavoured markdown, for a job summary or a wiki page."""

from __future__ import annotations

import re
from typing import Final

from planner.plan import BudgetState, Plan
from planner.report import sources_view, view, words

_SPECIAL: Final = re.compile(r"([\\`*_\[\]{}<>|~#$^!])")
_LINK_START: Final = re.compile(r"(?i)(https?:|www\.|ftp:|mailto:)")
_ROWS_SHOWN: Final = 200
_NOTHING: Final = "\u2013"


def render_markdown(plan: Plan) -> str:
    """Headline, what has no answer, what to buy, budgets and what the numbers rest on."""
    parts = [f"## {escape(plan.scenario.title)}", escape(plan.headline)]
    rows = view.choices(plan)
    problems = [choice for choice in rows if choice.outcome != "chosen"]
    if problems:
        parts.append(
            "\n".join(
                f"- **{escape(c.workload)}: {escape(c.model)}**, {escape(c.what)}: "
                f"{escape(c.sentence)}"
                for c in problems[:_ROWS_SHOWN]
            )
        )
    chosen = [choice for choice in rows if choice.outcome == "chosen"]
    if chosen:
        parts.append(_table(chosen[:_ROWS_SHOWN]))
    hidden = len(rows) - min(len(problems), _ROWS_SHOWN) - min(len(chosen), _ROWS_SHOWN)
    if hidden:
        parts.append(f"and {hidden} more purchases in `cheapest.csv`")
    if plan.budgets:
        parts.append("\n".join(_budget(plan, budget) for budget in plan.budgets))
    if plan.warnings:
        parts.append("\n".join(f"- {escape(text)}" for text in plan.warnings))
    parts.append(
        f"Prices {escape(sources_view.price_dates(plan))} · "
        f"estimator {escape(plan.scenario.estimator)} · "
        f"{words.count(plan.scenario.hours_per_month)} hours a month · "
        f"planner {escape(plan.planner_version)}"
    )
    return "\n\n".join(parts) + "\n"


def _table(chosen: list[view.Choice]) -> str:
    head = "| For | Cheapest that fits | Free | Hour | Month | Year | Runner-up |"
    rule = "| :-- | :-- | --: | --: | --: | --: | :-- |"
    lines = [
        "| " + " | ".join(
            (
                f"{escape(c.workload)}: **{escape(c.model)}**, {escape(c.what)}",
                f"{escape(c.configuration)}, {escape(c.offer)}",
                c.free,
                escape(c.hour),
                escape(c.month) or _NOTHING,
                escape(c.year) or _NOTHING,
                f"{escape(c.runner_up)} {c.surcharge}".strip() or _NOTHING,
            )
        ) + " |"
        for c in chosen
    ]  # fmt: skip
    return "\n".join([head, rule, *lines])


def _budget(plan: Plan, budget: BudgetState) -> str:
    currency = plan.scenario.currency
    limit = words.usd(budget.max_usd_per_month, currency)
    spent = words.usd(budget.usd_per_month, currency)
    of = f" of {escape(limit)}" if limit else ""
    return f"- Budget **{escape(budget.id)}**: {escape(spent)}{of} a month, {escape(budget.state)}"


def escape(text: str) -> str:
    """Text that renders as itself: no markup, links, mentions or table cells from a name."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;")
    flat = _SPECIAL.sub(r"\\\1", flat).replace("\\<", "&lt;").replace("\\>", "&gt;")
    flat = flat.replace("@", "@\u200b").replace("\\$", "$")
    return _LINK_START.sub(lambda match: match.group(0)[:-1] + "\u200b" + match.group(0)[-1], flat)
