"""Where a change of the total comes from, by estimating again step by step.

Starting from the base, the head's scenarios are swapped in, then its catalog, its prices, and last
its estimator (planner code and constants). Each step's change of the total is a row, so the rows
add up to the whole change. A step that can't be estimated (an old planner can't read a new
scenario) is joined with the next one and said to be not separable.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from planner.documents import load_document
from planner.errors import InputProblems, PlannerError
from planner.pipeline import open_text, plan_context
from planner.pipeline.sides import Side, Tree, plan_tree
from planner.plan import Plan
from planner.review.diff import diff_plans
from planner.review.model import SOURCES, AttributionRow
from planner.review.project import PROJECT_FILE, find_project
from planner.review.view import total

_DATA: Final = "planner/catalog/data/"
_ESTIMATOR_DATA: Final = ("engines/", "frameworks", "speed")
_STEPS: Final = tuple(SOURCES)
_CENT: Final = 0.005
_COST_KINDS: Final = frozenset(
    {"stopped-fitting", "lost-choice", "removed", "dearer", "cheaper", "now-fits", "new"}
)


def attribute(base: Side, head: Side) -> tuple[AttributionRow, ...]:
    """Rows that add up to the change of the total, in the order of SOURCES."""
    if base.tree and head.tree:
        return _by_trees(base, head, base.tree, head.tree)
    return _by_plans(base.plans, head.plans)


def _by_trees(base: Side, head: Side, old: Tree, new: Tree) -> tuple[AttributionRow, ...]:
    files = _Files(old, new)
    plans = base.plans
    rows: list[AttributionRow] = []
    pending: list[str] = []
    reason = ""
    for index, source in enumerate(_STEPS):
        if not files.differ(source):
            rows.append(AttributionRow((source,), 0.0, 0))
            continue
        pending.append(source)
        rest = _STEPS[index + 1 :]
        if any(files.differ(later) for later in rest):
            try:
                after = files.plan(_STEPS[: index + 1])
            except PlannerError as error:
                reason = reason or _first_line(error)
                continue
        else:
            after = dict(head.plans)
        rows.append(_row(tuple(pending), plans, after, reason))
        plans, pending, reason = after, [], ""
    return _whole(_ordered(rows), base.plans, head.plans)


def _ordered(rows: Sequence[AttributionRow]) -> tuple[AttributionRow, ...]:
    return tuple(sorted(rows, key=lambda row: _STEPS.index(row.sources[0])))


def _row(
    sources: tuple[str, ...], before: Mapping[str, Plan], after: Mapping[str, Plan], reason: str
) -> AttributionRow:
    changes = diff_plans(before, after).purchases
    note = f"not separable: {reason}" if len(sources) > 1 else ""
    return AttributionRow(
        sources,
        _delta(before, after),
        sum(change.kind in _COST_KINDS for change in changes),
        note,
    )


def _delta(before: Mapping[str, Plan], after: Mapping[str, Plan]) -> float:
    return round(total(after).usd_per_month - total(before).usd_per_month, 2)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


def _whole(
    rows: Sequence[AttributionRow], base: Mapping[str, Plan], head: Mapping[str, Plan]
) -> tuple[AttributionRow, ...]:
    """The rows as they are if they add up, which the steps guarantee; a check, not a repair."""
    whole = _delta(base, head)
    if rows and abs(sum(row.usd_per_month for row in rows) - whole) < _CENT:
        return tuple(rows)
    moved = "the plans hold other changes than the files"
    return (AttributionRow(_STEPS, whole, None, f"not separable: {moved}"),)


class _Files:
    """The files of both trees that a plan depends on, by what they are."""

    def __init__(self, old: Tree, new: Tree) -> None:
        self.old, self.new = old, new
        self.kinds: dict[str, str] = {}
        for tree in (old, new):
            self.kinds |= dict(_references(tree))
        if old.has_planner or _is_planner(new.root):
            for tree in (old, new):
                self.kinds |= dict(_planner_files(tree.root))

    def differ(self, source: str) -> bool:
        """Whether any file of this kind was added, removed or changed."""
        return any(
            not _same(self.old.root / name, self.new.root / name)
            for name, kind in self.kinds.items()
            if kind == source
        )

    def plan(self, swapped: Sequence[str]) -> dict[str, Plan]:
        """The plans of the base with the kinds in `swapped` taken from the head.

        Raises:
            PlannerError: the mixture can't be planned.
        """
        with tempfile.TemporaryDirectory(prefix="planner-") as folder:
            root = Path(folder).resolve() / "tree"
            for name, kind in self.kinds.items():
                source = self.new.root if kind in swapped else self.old.root
                if not (source / name).exists() and kind not in swapped and "/data/" not in name:
                    source = self.new.root  # a file that only the new scenario names
                if (source / name).exists():
                    _place(source / name, root / name)
            side = self.new if "scenario" in swapped else self.old
            project = root / side.folder.resolve().relative_to(side.root.resolve())
            project.mkdir(parents=True, exist_ok=True)
            files = tuple(root / f.resolve().relative_to(side.root.resolve()) for f in side.files)
            return plan_tree(Tree(root, project, files))


def _place(source: Path, target: Path) -> None:
    """A copy; a link for folders, which may hold whole checkpoints."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.symlink_to(source.resolve(), target_is_directory=True)
    else:
        shutil.copyfile(source, target)


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() and other.is_dir():
        names = {p.relative_to(one) for p in one.rglob("*") if p.is_file()}
        others = {p.relative_to(other) for p in other.rglob("*") if p.is_file()}
        return names == others and all(_same(one / name, other / name) for name in names)
    if not one.exists() or not other.exists():
        return one.exists() == other.exists()
    return filecmp.cmp(one, other, shallow=False)


def _is_planner(root: Path) -> bool:
    return (root / "planner" / "catalog" / "data").is_dir() and (root / "pyproject.toml").is_file()


def _planner_files(root: Path) -> Iterator[tuple[str, str]]:
    for top in ("planner", "schemas"):
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = path.relative_to(root).as_posix()
                yield name, _kind(name)
    yield "pyproject.toml", "estimator"


def _kind(name: str) -> str:
    if not name.startswith(_DATA):
        return "estimator"
    rest = name.removeprefix(_DATA)
    if rest.startswith("prices/"):
        return "prices"
    return "estimator" if rest.startswith(_ESTIMATOR_DATA) else "catalog"


def _references(tree: Tree) -> Iterator[tuple[str, str]]:
    """Files that the project and its scenarios name, relative to the tree's root."""
    root = tree.root.resolve()

    def inside(path: Path) -> str | None:
        full = Path(os.path.normpath(path.absolute()))
        return full.relative_to(root).as_posix() if full.is_relative_to(root) else None

    project = find_project(tree.folder)
    named = [(path, "prices") for path in (project.folder / name for name in project.prices)]
    if project.file:
        named.append((project.folder / PROJECT_FILE, "scenario"))
    for file in tree.scenario_files():
        named.append((file, "scenario"))
        named += [(file.parent / name, kind) for name, kind in _named_by(file)]
        named += [(file.with_suffix(".lock.yaml"), "catalog")]
        named += [(file.parent / "planner.lock.yaml", "catalog")]
    for path, kind in named:
        name = inside(path.parent.resolve() / path.name)
        if name is not None:
            yield name, kind


def _named_by(file: Path) -> Iterator[tuple[str, str]]:
    try:
        data: Any = load_document(file).data
    except InputProblems:
        return
    if not isinstance(data, dict):
        return
    catalog = data.get("catalog")
    for key, names in (catalog if isinstance(catalog, dict) else {}).items():
        kind = {"prices": "prices", "engines": "estimator"}.get(key, "catalog")
        yield from ((name, kind) for name in names or () if isinstance(name, str))
    workloads = data.get("workloads")
    holders = [data, *(workloads if isinstance(workloads, list) else [])]
    for holder in holders:
        models = holder.get("models") if isinstance(holder, dict) else None
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and isinstance(model.get("config"), str):
                yield model["config"], "catalog"


def _by_plans(base: Mapping[str, Plan], head: Mapping[str, Plan]) -> tuple[AttributionRow, ...]:
    """Attribution from plan files alone: by what their hashes say changed."""
    asked = {stem: p.inputs.resolved for stem, p in base.items()} != {
        stem: p.inputs.resolved for stem, p in head.items()
    }
    same_planner = _versions(base) == _versions(head) or not base or not head
    same_catalog = _catalogs(base) == _catalogs(head) or not base or not head
    whole = _delta(base, head)
    zero = [AttributionRow((source,), 0.0) for source in _STEPS]
    if same_planner and same_catalog:
        return (AttributionRow(("scenario",), whole), *zero[1:])
    rest = _STEPS[1:] if not same_catalog else ("estimator",)
    why = "the plans keep one hash over catalog, prices and the estimators' constants"
    note = f"not separable: {why}; give git revisions to separate them" if len(rest) > 1 else ""
    fixed = [row for row in zero if row.sources[0] not in (*rest, "scenario")]
    if not asked:
        return _ordered([zero[0], *fixed, AttributionRow(rest, whole, None, note)])
    again = _again(base, head)
    if again is None:
        both = (
            "scenario and planner or catalog changed at once, and the base can't be estimated again"
        )
        return (AttributionRow(_STEPS, whole, None, f"not separable: {both}; {why}"),)
    by_scenario = round(total(head).usd_per_month - again, 2)
    return _ordered([
        AttributionRow(("scenario",), by_scenario),
        *fixed,
        AttributionRow(rest, round(whole - by_scenario, 2), None, note),
    ])  # fmt: skip


def _versions(plans: Mapping[str, Plan]) -> set[str]:
    return {plan.planner_version for plan in plans.values()}


def _catalogs(plans: Mapping[str, Plan]) -> set[str]:
    return {plan.inputs.catalog_sha256 for plan in plans.values()}


def _again(base: Mapping[str, Plan], head: Mapping[str, Plan]) -> float | None:
    """The base's scenarios with this planner, where this planner made the head; else None."""
    try:
        if _total_of(head) != round(total(head).usd_per_month, 2):
            return None
        return _total_of(base)
    except PlannerError:
        return None


def _total_of(plans: Mapping[str, Plan]) -> float:
    amount = 0.0
    with tempfile.TemporaryDirectory(prefix="planner-") as folder:
        for stem, plan in plans.items():
            text = json.dumps(plan.inputs.resolved, ensure_ascii=False)
            context = open_text(text, plan.scenario.file, Path(folder))
            amount += total({stem: plan_context(context, command="").plan}).usd_per_month
    return round(amount, 2)
