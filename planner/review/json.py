"""A diff and its rules as JSON (schemas/diff.schema.json), for tools of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from planner.review.gates import RuleResult
from planner.review.model import DIFF_VERSION, Diff


def diff_data(diff: Diff, gates: Sequence[RuleResult] = ()) -> dict[str, Any]:
    """The diff as plain data, with the figures that are properties of it."""
    fields = asdict(diff)
    return {
        "schema_version": DIFF_VERSION,
        "is_changed": diff.is_changed,
        "usd_per_month": diff.head_total.usd_per_month,
        "delta_usd_per_month": diff.delta_usd_per_month,
        "delta_ratio": diff.ratio,
        "gate": gate_word(gates),
        **fields,
        "rules": [asdict(result) for result in gates],
    }


def gate_word(gates: Sequence[RuleResult]) -> str:
    """`failed`, `passed`, or `none` without rules."""
    if not gates:
        return "none"
    return "failed" if any(result.is_failure for result in gates) else "passed"


def render_json(diff: Diff, gates: Sequence[RuleResult] = ()) -> str:
    """The same as text; equal diffs give equal bytes."""
    return json.dumps(diff_data(diff, gates), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
