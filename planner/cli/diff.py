"""`planner diff`: what a change does to fit and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from planner.cli.review_options import (
    as_of,
    day_of,
    emit,
    further_files,
    project_of,
    shown_files,
    tell_github,
)
from planner.errors import EXIT_GATE

if TYPE_CHECKING:
    from datetime import date

    from planner.pipeline.sides import Side
    from planner.review.gates import RuleResult
    from planner.review.markdown import CommentOptions
    from planner.review.model import Diff
    from planner.review.project import Project

FORMATS: Final = ("text", "markdown", "json", "html", "github", "junit", "sarif")


@click.command()
@click.argument("base")
@click.argument("head", default=".")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True,
    help="What to print.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File.")
@click.option("--also", multiple=True, metavar="FORMAT=FILE", help="Write another format too.")
@click.option(
    "--comment-when", type=click.Choice(("changed", "failed", "always")), default="always",
    show_default=True, help="When a markdown comment is worth writing; otherwise it is empty.",
)  # fmt: skip
@click.option("--merge-base", is_flag=True, help="Compare with where BASE and HEAD parted.")
@click.option("--key", default="plan", show_default=True, help="Tells comments of two plans apart.")
@click.option("--run", default="", help="Number of the CI run, kept in the comment.")
@click.option("--head-sha", default="", help="Commit of the head, kept in the comment.")
@click.option("--report", default="", help="Where the full report is, named in the comment.")
@as_of
def diff(
    base: str,
    head: str,
    format_: str,
    output: Path | None,
    also: tuple[str, ...],
    comment_when: str,
    merge_base: bool,
    key: str,
    run: str,
    head_sha: str,
    report: str,
    day: str | None,
) -> None:
    """Compare two plans: which choices changed, why, and what it costs.

    BASE and HEAD are plan.json files, folders (with plans, or of a project), scenario files, or
    git revisions (REV or REV:path); HEAD is the working tree unless it is given. The rules of
    planner.yaml run on the head, and one that fails gives exit code 1.

    \b
    Examples:
      planner diff main
      planner diff origin/main HEAD --merge-base --format markdown -o comment.md
      planner diff old/plan.json new/plan.json
    """
    from planner.pipeline.sides import merge_base as find_merge_base
    from planner.pipeline.sides import open_side
    from planner.review.markdown import CommentOptions

    wanted = [(format_, output), *further_files(also, FORMATS)]
    today = day_of(day)
    here = Path()
    if merge_base:
        base = find_merge_base(here, base, "" if head == "." else head)
    with open_side(base, here) as old, open_side(head, here) as new:
        project = project_of(new.tree.folder if new.tree else here)
        compared, gates = _compare(old, new, project, today)
    options = CommentOptions(key=key, run=run, head=head_sha, report=report)
    failed = any(result.is_failure for result in gates)
    speaks = {"always": True, "changed": compared.is_changed or failed, "failed": failed}
    for name, file in wanted:
        text = render(name, compared, gates, new, options)
        if name == "markdown" and not speaks[comment_when]:
            text = ""
        emit(text, file)
    tell_github(
        {
            "changed": str(compared.is_changed).lower(),
            "usd-per-month": f"{compared.head_total.usd_per_month:.2f}",
            "usd-per-month-delta": f"{compared.delta_usd_per_month:.2f}",
            "gate": "failed" if failed else "passed" if gates else "none",
        }
    )
    if failed:
        click.get_current_context().exit(EXIT_GATE)


def _compare(
    old: Side, new: Side, project: Project, today: date
) -> tuple[Diff, tuple[RuleResult, ...]]:
    from planner.pipeline.attribution import attribute
    from planner.review.diff import diff_plans
    from planner.review.gates import all_budgets, run_gates

    compared = diff_plans(
        old.plans,
        new.plans,
        base_label=old.label,
        head_label="working tree" if new.label == "." else new.label,
        attribution=attribute(old, new),
        thresholds=project.thresholds,
        notes=_rule_changes(old, new, project),
    )
    files = shown_files(new.tree.scenario_files()) if new.tree and not new.is_revision else None
    budgets = all_budgets(project.budgets, new.plans, files)
    gates = run_gates(new.plans, budgets, project.waivers, today=today, base=old.plans)
    return compared, gates


def _rule_changes(old: Side, new: Side, project: Project) -> list[str]:
    """Changes of the rules, where both sides have a project file."""
    from planner.review.project import find_project, rule_changes

    if old.tree is None or new.tree is None:
        return []
    before = find_project(old.tree.folder)
    return rule_changes(before, project) if before.file and project.file else []


def render(
    name: str,
    compared: Diff,
    gates: tuple[RuleResult, ...],
    new: Side,
    options: CommentOptions,
) -> str:
    """The diff in one format."""
    from planner.review import formats
    from planner.review.html import render_html
    from planner.review.json import render_json
    from planner.review.markdown import render_markdown
    from planner.review.text import render_text

    if name == "text":
        return render_text(compared, gates)
    if name == "markdown":
        return render_markdown(compared, gates, options)
    if name == "json":
        return render_json(compared, gates)
    if name == "html":
        return render_html(compared, gates)
    if name == "github":
        return formats.render_github(gates)
    if name == "junit":
        return formats.render_junit(new.plans, gates)
    return formats.render_sarif(gates)
