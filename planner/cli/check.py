"""`planner check`: budgets, and whether the committed plans still hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from planner.cli.review_options import (
    as_of,
    day_of,
    emit,
    files_or_project,
    further_files,
    shown_files,
    tell_github,
)
from planner.errors import EXIT_GATE

if TYPE_CHECKING:
    from planner.plan import Plan
    from planner.review.gates import RuleResult
    from planner.review.lock import Freshness
    from planner.review.project import Project, Waiver

FORMATS: Final = ("text", "json", "github", "junit", "sarif")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True,
    help="What to print.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File.")
@click.option("--also", multiple=True, metavar="FORMAT=FILE", help="Write another format too.")
@click.option("--base", help="Plans, project or git revision that increases are measured against.")
@click.option(
    "--locks/--no-locks", default=True, show_default=True,
    help="Whether the committed plans (plan.lock.json) must be there and hold.",
)  # fmt: skip
@as_of
def check(
    files: tuple[Path, ...],
    format_: str,
    output: Path | None,
    also: tuple[str, ...],
    base: str | None,
    locks: bool,
    day: str | None,
) -> None:
    """Run the rules of planner.yaml and of the scenarios, and compare the committed plans.

    Without FILE every scenario of planner.yaml is checked. All rules run, and every file is
    written, even when one fails; exit code 1 then.

    \b
    Examples:
      planner check
      planner check scenarios/chat.yaml --base main --also junit=gate.xml
    """
    from planner.pipeline.project import plan_files
    from planner.pipeline.sides import open_side
    from planner.review.gates import all_budgets, run_gates

    wanted = [(format_, output), *further_files(also, FORMATS)]
    today = day_of(day)
    named, project = files_or_project(files)
    plans = plan_files(named, project)
    before: Mapping[str, Plan] | None = None
    if base is not None:
        with open_side(base, Path()) as side:
            before = {s: p for s, p in side.plans.items() if not files or s in plans}
    budgets = all_budgets(project.budgets, plans, shown_files(named))
    results = [*run_gates(plans, budgets, _waivers(project, files), today=today, base=before)]
    fresh = _freshness(plans, project) if locks else []
    results += [_as_rule(item) for item in fresh]
    for name, file in wanted:
        emit(_render(name, plans, results, fresh), file)
    failed = any(result.is_failure for result in results)
    tell_github({"gate": "failed" if failed else "passed"})
    if failed:
        click.get_current_context().exit(EXIT_GATE)


def _waivers(project: Project, files: tuple[Path, ...]) -> Sequence[Waiver]:
    """All waivers; of named files only those that speak of them, the others have no say."""
    if not files:
        return project.waivers
    stems = {file.stem for file in files}
    return [w for w in project.waivers if w.scenario.partition("/")[0] in stems]


def _freshness(plans: Mapping[str, Plan], project: Project) -> list[Freshness]:
    from planner.review.lock import LOCK_FILE, freshness

    found = []
    for stem, plan in plans.items():
        shown = f"{project.reports}/{stem}/{LOCK_FILE}"
        found.append(freshness(plan, project.folder / shown, shown_as=shown))
    return found


def _as_rule(item: Freshness) -> RuleResult:
    from planner.review.gates import Offender, RuleResult
    from planner.review.project import Place

    state = "passed" if item.state == "fresh" else "failed"
    return RuleResult(
        rule="committed-plan",
        check="freshness",
        scope=f"scenario {item.scenario}",
        level="error" if item.is_failure else "warn",
        state=state,
        limit="the committed plan is what the scenario gives now",
        now=item.state,
        offenders=tuple(Offender(item.scenario, item.file, reason) for reason in item.reasons),
        place=Place(item.file),
    )


def _render(
    name: str,
    plans: Mapping[str, Plan],
    results: Sequence[RuleResult],
    fresh: Sequence[Freshness],
) -> str:
    from planner.review import formats
    from planner.review.json import gate_word
    from planner.review.text import gate_lines
    from planner.review.words import usd

    if name == "github":
        return formats.render_github(results)
    if name == "junit":
        return formats.render_junit(plans, results)
    if name == "sarif":
        return formats.render_sarif(results)
    if name == "json":
        data = {
            "schema_version": 1,
            "gate": gate_word(results),
            "rules": [asdict(result) for result in results],
            "plans": [asdict(item) for item in fresh],
        }
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    totals = [
        f"{plan.scenario.stem}: {usd(plan.totals.usd_per_month)} per month"
        + (f", {plan.totals.incomplete} not counted" if plan.totals.incomplete else "")
        for plan in plans.values()
    ]
    return "\n".join([*totals, *gate_lines(results)]) + "\n"
