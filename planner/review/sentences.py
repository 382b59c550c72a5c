"""The sentences of a review, the same in every format. Plain text: renderers escape."""

from __future__ import annotations

from collections.abc import Sequence

from planner.review.gates import RuleResult
from planner.review.model import KINDS, SOURCES, AttributionRow, Change, Choice, Diff
from planner.review.words import DASH, count_of, plain, signed_percent, signed_usd, usd


def total_sentence(diff: Diff) -> str:
    """`+$2,409 per month (+18 %, $13,140 → $15,549)`."""
    before, after = diff.base_total.usd_per_month, diff.head_total.usd_per_month
    percent = signed_percent(diff.ratio)
    moved = f"{percent}, " if percent else ""
    return f"{signed_usd(diff.delta_usd_per_month)} per month ({moved}{usd(before)} → {usd(after)})"


def missing_sentences(diff: Diff) -> list[str]:
    """What the total doesn't hold, so that a lost answer is never read as a saving."""
    found = []
    gone = [c for c in diff.purchases if c.kind in ("stopped-fitting", "lost-choice")]
    cost = sum((c.before.usd_per_month or 0.0) for c in gone if c.before)
    if gone:
        found.append(
            f"{count_of(len(gone), 'purchase')} lost the answer: "
            f"{usd(cost)} of the old total is missing from the new one, not saved"
        )
    unanswered = diff.head_total.unanswered - len(gone)
    if unanswered > 0:
        found.append(f"{count_of(unanswered, 'further purchase')} without an answer, not counted")
    if diff.head_total.without_month:
        number = count_of(diff.head_total.without_month, "purchase")
        hours = f"{usd(diff.base_total.usd_per_hour)} → {usd(diff.head_total.usd_per_hour)}"
        found.append(
            f"{number} without a monthly cost (no demand is given), not counted; "
            f"all purchases together: {hours} per hour"
        )
    return found


def gate_sentence(results: Sequence[RuleResult]) -> str:
    """`1 rule failed, 1 warning, 3 passed`."""
    failed = sum(r.is_failure for r in results)
    warned = sum(r.state == "failed" and not r.is_failure for r in results)
    waived = sum(r.state == "waived" for r in results)
    passed = sum(r.state == "passed" for r in results)
    parts = []
    if failed:
        parts.append(f"{count_of(failed, 'budget rule')} failed")
    if warned:
        parts.append(count_of(warned, "warning"))
    if waived:
        parts.append(f"{waived} waived")
    parts.append(f"{passed} passed")
    return ", ".join(parts)


def counts_sentence(diff: Diff) -> str:
    """`6 of 48 purchases changed · 1 stopped fitting · 1 new`."""
    every = len(diff.purchases) + diff.unchanged_purchases
    parts = [f"{len(diff.purchases)} of {count_of(every, 'purchase')} changed"]
    for kind, (_, words) in KINDS.items():
        if diff.count(kind):
            parts.append(f"{diff.count(kind)} {words}")
    if diff.cases:
        parts.append(f"{len(diff.cases)} of the cases not bought changed")
    return " · ".join(parts)


def unchanged_sentence(diff: Diff) -> str:
    """One line for a change of nothing."""
    every = count_of(diff.unchanged_purchases, "purchase")
    cases = count_of(diff.unchanged_purchases + diff.unchanged_cases, "case")
    total = usd(diff.head_total.usd_per_month)
    return f"no change: {every} and {cases} as before, {total} per month"


def source_words(row: AttributionRow, diff: Diff) -> str:
    """`Estimator (planner 0.7.1 → 0.7.2)`."""
    words = " + ".join(SOURCES[source] for source in row.sources)
    old, new = diff.base.planner_versions, diff.head.planner_versions
    if row.sources == ("estimator",) and old and new and old != new:
        words += f" (planner {', '.join(old)} → {', '.join(new)})"
    return words


def cost_cell(change: Change) -> str:
    """The change of cost in a row."""
    if change.kind in ("stopped-fitting", "lost-choice"):
        return f"{usd(change.before.usd_per_month) if change.before else DASH} → {DASH}"
    if change.delta_usd_per_month is None:
        return f"{signed_usd(change.delta_usd_per_hour)} per hour"
    percent = signed_percent(change.ratio) if change.ratio else ""
    return signed_usd(change.delta_usd_per_month) + (f" ({percent})" if percent else "")


def choice_cell(side: Choice | None) -> str:
    """What one side is answered with."""
    if side is None:
        return DASH
    if not side.is_answered:
        words = {"nothing-fits": "nothing fits", "no-price": "no price for what fits"}
        return words.get(side.outcome, side.outcome.replace("-", " "))
    return f"{side.label} (tight)" if side.verdict == "tight" else side.label


def free_cell(change: Change) -> str:
    """Free memory before and now, rounded down."""

    def free(side: Choice | None) -> str:
        if side is None or side.utilization is None:
            return DASH
        return f"{int((1 - side.utilization) * 100 + 1e-9)} %"

    before, after = free(change.before), free(change.after)
    return after if before in (after, DASH) else f"{before} → {after}"


def cause_cell(change: Change) -> str:
    """All causes in one line."""
    renamed = f"was {change.was}" if change.was else ""
    parts = [*change.causes, renamed]
    return "; ".join(dict.fromkeys(plain(part) for part in parts if part))


def provenance(diff: Diff) -> list[str]:
    """Where both sides come from."""
    lines = []
    for name, side in (("base", diff.base), ("head", diff.head)):
        catalogs = ", ".join(c[:8] for c in side.catalogs[:2])
        prices = ""
        if side.newest_price_date:
            prices = f", prices {side.oldest_price_date} to {side.newest_price_date}"
        versions = ", ".join(side.planner_versions)
        lines.append(f"{name}: {side.label}, planner {versions}, catalog {catalogs}{prices}")
    return lines


def left_out_sentence(diff: Diff, shown: int = 8) -> str:
    """Configurations without a price, which are never taken for free."""
    if not diff.left_out:
        return "every configuration has a price"
    names = ", ".join(diff.left_out[:shown])
    more = f" and {len(diff.left_out) - shown} more" if len(diff.left_out) > shown else ""
    number = count_of(len(diff.left_out), "GPU configuration")
    verb = "has" if len(diff.left_out) == 1 else "have"
    return (
        f"{number} {verb} no price and {'was' if verb == 'has' else 'were'} left out of "
        f'"cheapest" (not treated as free): {names}{more}'
    )


def flips_sentence(diff: Diff) -> str:
    """How many cells of the fit matrix changed their verdict."""
    if not diff.flips:
        return ""
    parts = [f"{flip.cells} {flip.before} → {flip.after}" for flip in diff.flips]
    return f"cells of the fit matrix: {', '.join(parts)}"
