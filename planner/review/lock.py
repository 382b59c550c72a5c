"""The committed plan: what was decided, small enough to review in a plain git diff.

`reports/<name>/plan.lock.json` holds one line a purchase (the choice and its cost) and the hashes
of what it came from. `planner check` compares it with a plan made now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from planner.documents import Document, check_document
from planner.errors import InputProblems, OutsideFailure, Problem
from planner.plan import Plan
from planner.review.fields import changed_fields
from planner.review.view import purchases
from planner.review.words import usd

LOCK_FILE: Final = "plan.lock.json"
LOCK_VERSION: Final = 1
_CELL: Final = (
    "gpu", "gpu_count", "tensor_parallel_size", "pipeline_parallel_size", "expert_parallel_size",
    "data_parallel_size", "sharding", "replicas", "provider", "region", "instance_type",
    "purchase", "price_date", "usd_per_hour", "usd_per_month", "verdict", "total_gib",
    "budget_gib",
)  # fmt: skip
_WHERE: Final = _CELL[:12]
_MOVED_USD: Final = 0.005
_MOVED_GIB: Final = 0.01


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether a committed plan still holds.

    `state` is fresh, missing, stale (the choice or its cost is another) or outdated (the inputs
    moved, the choice did not); `reasons` say why, in whole sentences.
    """

    scenario: str
    file: str
    state: str
    reasons: tuple[str, ...]

    @property
    def is_failure(self) -> bool:
        """Whether a check fails by it."""
        return self.state in ("missing", "stale")


def lock_data(plan: Plan) -> dict[str, Any]:
    """What the lock file holds."""
    return {
        "schema_version": LOCK_VERSION,
        "scenario": plan.scenario.stem,
        "planner_version": plan.planner_version,
        "inputs": {
            "scenario_sha256": question_hash(plan.inputs.resolved),
            "catalog_sha256": plan.inputs.catalog_sha256,
            "oldest_price_date": plan.inputs.oldest_price_date,
            "newest_price_date": plan.inputs.newest_price_date,
        },
        "totals": {
            "usd_per_hour": plan.totals.usd_per_hour,
            "usd_per_month": plan.totals.usd_per_month,
            "incomplete": plan.totals.incomplete,
        },
        "scenario_as_planned": plan.inputs.resolved,
        "bought": [_bought(plan, key) for key in purchases(plan)],
    }


def _bought(plan: Plan, key: str) -> dict[str, Any]:
    case = purchases(plan)[key].case
    row: dict[str, Any] = {"key": key, "case_id": case.case_id, "outcome": case.outcome}
    if case.cheapest is None:
        return {**row, "sentence": case.sentence}
    cell = plan.details[case.cheapest].cell
    return {**row, **{name: cell.get(name) for name in _CELL}}


def question_hash(resolved: Mapping[str, Any]) -> str:
    """SHA-256 of what is asked, without regard to comments and layout of the file."""
    text = json.dumps(resolved, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_lock(plan: Plan) -> bytes:
    """The lock file: one line a purchase, so that a git diff shows which choice moved."""
    data = lock_data(plan)
    lines = ["{"]
    for name, value in data.items():
        end = "" if name == "bought" else ","
        if name == "bought" and value:
            inner = ",\n".join("  " + _json(row) for row in value)
            lines.append(f' "bought": [\n{inner}\n ]{end}')
        else:
            lines.append(f" {_json(name)}: {_json(value)}{end}")
    lines.append("}\n")
    return "\n".join(lines).encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)


def parse_lock(content: bytes, file: str) -> dict[str, Any]:
    """The lock in `content`.

    Raises:
        InputProblems: it is not a lock of this version.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputProblems([Problem(file, 0, 0, "not-json", "$", str(error))]) from error
    if isinstance(data, dict) and data.get("schema_version") != LOCK_VERSION:
        message = f"version {data.get('schema_version')!r} of the format is not {LOCK_VERSION}"
        hint = "write it again with 'planner report'"
        raise InputProblems([Problem(file, 0, 0, "unknown-version", "$", message, hint)])
    problems = check_document(Document(file, data), "plan-lock")
    if problems:
        raise InputProblems(problems)
    checked: dict[str, Any] = data
    return checked


def freshness(plan: Plan, path: Path, *, shown_as: str | None = None) -> Freshness:
    """Compare the committed plan at `path` with a plan made now.

    Raises:
        InputProblems: the file is not a lock.
        OutsideFailure: the system refuses to read it.
    """
    file, stem = shown_as or str(path), plan.scenario.stem
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        reason = f"there is no committed plan; 'planner report' writes {LOCK_FILE}"
        return Freshness(stem, file, "missing", (reason,))
    except OSError as error:
        raise OutsideFailure(f"can't read {path}: {error.strerror or error}") from error
    old, new = parse_lock(content, file), json.loads(write_lock(plan))
    moved = _moved(old, new)
    why = _why(old, new)
    if moved:
        return Freshness(stem, file, "stale", (*moved, *why))
    return Freshness(stem, file, "outdated" if why else "fresh", tuple(why))


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How the choices differ."""
    before = {row["key"]: row for row in old["bought"]}
    after = {row["key"]: row for row in new["bought"]}
    found = [f"'{key}' is no longer bought" for key in before if key not in after]
    for key, row in after.items():
        was = before.get(key)
        if was is None:
            found.append(f"'{key}' is new")
        elif difference := _difference(was, row):
            found.append(f"'{key}': {difference}")
    return found


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old["outcome"] != new["outcome"]:
        return f"was {old['outcome']}, is {new['outcome']}: {new.get('sentence') or _label(new)}"
    if new["outcome"] != "chosen":
        return ""
    if old["case_id"] != new["case_id"]:
        return f"chose {old['case_id']}, now {new['case_id']}"
    if any(old.get(name) != new.get(name) for name in _WHERE):
        return f"chose {_label(old)}, now {_label(new)}"
    for name in ("usd_per_month", "usd_per_hour"):
        if _far(old.get(name), new.get(name), _MOVED_USD):
            return f"{name} was {usd(old.get(name))}, is {usd(new.get(name))}"
    if old.get("verdict") != new.get("verdict"):
        return f"was {old.get('verdict')}, is {new.get('verdict')}"
    if _far(old.get("total_gib"), new.get("total_gib"), _MOVED_GIB):
        return f"needed {old['total_gib']:.2f} GiB per GPU, now {new['total_gib']:.2f}"
    return ""


def _far(old: float | None, new: float | None, limit: float) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) > limit


def _label(row: Mapping[str, Any]) -> str:
    names = ("provider", "region", "instance_type", "purchase")
    seller = " ".join(str(row[name]) for name in names if row.get(name))
    price = row.get("usd_per_hour")
    cost = f" at {usd(price)} per hour" if price is not None else ""
    times = f"{row['replicas']:g} × " if row.get("replicas") and row["replicas"] > 1 else ""
    return f"{times}{row.get('gpu_count')}× {row.get('gpu')} ({seller}){cost}"


def _why(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Which inputs differ."""
    found = []
    if old["inputs"]["scenario_sha256"] != new["inputs"]["scenario_sha256"]:
        fields = _scenario_fields(old["scenario_as_planned"], new["scenario_as_planned"])
        found.append(f"the scenario changed: {'; '.join(fields[:5]) or 'names or budgets'}")
    if old["planner_version"] != new["planner_version"]:
        versions = f"{old['planner_version']} → {new['planner_version']}"
        found.append(f"the planner changed: {versions}")
    if old["inputs"]["catalog_sha256"] != new["inputs"]["catalog_sha256"]:
        found.append("the catalog, the prices or the estimators' constants changed")
    return found


def _scenario_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = [
        str(entry.get("name"))
        for side in (old, new)
        for entry in side.get("workloads") or ()
        if isinstance(entry, Mapping)
    ]
    found: list[str] = []
    for name in dict.fromkeys(names):
        found += changed_fields(old, new, name, alternatives=True)
    return list(dict.fromkeys(found))


__all__ = ["LOCK_FILE", "Freshness", "freshness", "lock_data", "parse_lock", "write_lock"]
