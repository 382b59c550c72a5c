"""report.html: one file without network, under a content-security policy of hashes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from planner.plan import COMPONENTS, CellDetail, Plan
from planner.report import evidence_view, front_view, sources_view, view, words
from planner.report.cells_view import matrix_columns, matrix_frame
from planner.report.changes_view import changes as changes_of
from planner.report.pack import pack

_SCRIPTS: Final = ("data", "matrix", "explain", "compare", "limits", "main")
_QUOTED: Final = re.compile(r"""("(?:[^"\\\n]|\\.)*"|`[^`]*`)|([^"`]+)""")
_CSS_SPACE: Final = re.compile(r"[ \n]*([{};,>])[ \n]*|(:) ")
_JS_SPACE: Final = re.compile(r"[ \n]*([{};,])[ \n]*| ?([=?:&|<>*()!]+) ?| ([-+/%]=?) ")
_DETAILS_IN_PAGE: Final = 30
"""Ledgers with formulas that the page carries; the rest is in plan.json and `planner explain`."""


def render_html(plan: Plan, base: Plan | None = None) -> bytes:
    """The whole report, with what changed since `base`; equal plans give equal bytes."""
    style, script = _style(), _script()
    has_limits = any(v is not None for v in plan.matrix.get("max_context_tokens", ()))
    columns = matrix_columns(matrix_frame(plan), plan)
    packed = pack(_head(plan), columns, len(plan.configurations))
    page = _template().render(
        plan=plan,
        style=style,
        script=script,
        policy=_policy(style, script),
        packed=packed,
        choices=view.choices(plan),
        figures=view.figures(plan),
        cost_groups=sources_view.cost_groups(plan),
        fronts=front_view.fronts(plan),
        front_size=(front_view.WIDTH, front_view.HEIGHT),
        changes=None if base is None else changes_of(plan, base),
        evidence=evidence_view.evidence(plan),
        measured=evidence_view.measured(plan),
        fallbacks=sources_view.fallbacks(plan),
        turns=sources_view.turns(plan),
        facts=sources_view.facts(plan),
        price_dates=sources_view.price_dates(plan),
        workload_lines=sources_view.workload_lines(plan),
        others=len(plan.cases) - sum(case.is_bought for case in plan.cases),
        has_limits=has_limits,
        words=words,
        by_workload=view.by_workload,
    )
    return str(page).encode()


def _read(name: str) -> str:
    return resources.files("planner.report").joinpath("templates", name).read_text("utf-8")


def _compact(source: str, space: re.Pattern[str]) -> str:
    """Without indentation, comment lines and needless spaces; quoted texts stay as they are.

    The sources keep to what this needs: semicolons everywhere, comments on lines of their own,
    double quotes, and no space in a regular expression.
    """
    lines = (line.strip() for line in source.splitlines())
    joined = "\n".join(line for line in lines if line and not line.startswith("//"))
    return _QUOTED.sub(lambda found: found[1] or space.sub(_kept, found[2]), joined) + "\n"


def _kept(found: re.Match[str]) -> str:
    return str(found[found.lastindex or 0])


@cache
def _style() -> str:
    return _compact(_read("report.css"), _CSS_SPACE).replace(";}", "}")


@cache
def _script() -> str:
    """The page's scripts in one strict function: they share names, the page sees none."""
    parts = [_read(f"js/{name}.js") for name in _SCRIPTS]
    whole = '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"
    return _compact(whole, _JS_SPACE)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("planner.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _head(plan: Plan) -> dict[str, Any]:
    """What the page's scripts need beside the cells: cases, configurations and ledgers."""
    index = view.configuration_index(plan)
    varying = view.varying_axes(plan)
    axes = _axes(plan, varying)
    return {
        "rows": len(plan.cases),
        "width": len(plan.configurations),
        "scenario": plan.scenario.file,
        "axes": [
            [axis, words.AXIS_WORDS.get(axis, axis), texts, [_shown(axis, text) for text in texts]]
            for axis, texts in axes.items()
        ],
        "cases": {
            "id": [case.case_id for case in plan.cases],
            "model": [words.model_name(case.model) for case in plan.cases],
            "what": [view.case_what(case, varying) for case in plan.cases],
            "sentence": [case.sentence for case in plan.cases],
            "bought": [int(case.is_bought) for case in plan.cases],
            "outcome": [case.outcome for case in plan.cases],
            "axes": [_codes(plan, axis, texts) for axis, texts in axes.items()],
            "runner": [_runner_words(plan, case.runners_up, index) for case in plan.cases],
        },
        "configurations": _configurations(plan),
        "parts": [[part, words.COMPONENT_WORDS[part]] for part in COMPONENTS],
        "outcomes": words.OUTCOME_WORDS,
        "details": _details(plan, index),
    }


def _axes(plan: Plan, varying: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Axes that a reader can filter by -> their values in declared order, as texts."""
    texts: dict[str, dict[str, None]] = {"workload": {}, "model": {}, "method": {}}
    for case in plan.cases:
        texts["workload"][case.workload] = None
        texts["model"][case.model] = None
        texts["method"][case.method] = None
        for axis, value in case.values.items():
            if axis in varying[case.workload] and axis not in ("model", "method", "workload"):
                texts.setdefault(axis, {})[_axis_text(value)] = None
    return {axis: list(values) for axis, values in texts.items()}


def _shown(axis: str, text: str) -> str:
    """A value of an axis as the page shows it, where a reader needs no more than a name."""
    if axis == "method":
        return words.METHOD_WORDS.get(text, text)
    return words.model_name(text) if axis == "model" else text


def _axis_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _codes(plan: Plan, axis: str, texts: list[str]) -> list[int]:
    """Per case the position of its value among `texts`, -1 where the axis does not apply."""
    positions = {text: position for position, text in enumerate(texts)}
    if axis in ("workload", "model", "method"):
        return [positions[getattr(case, axis)] for case in plan.cases]
    return [
        positions.get(_axis_text(case.values[axis]), -1) if axis in case.values else -1
        for case in plan.cases
    ]


def _configurations(plan: Plan) -> dict[str, Any]:
    found = plan.configurations
    infinity = float("inf")
    by_price = sorted(
        range(len(found)),
        key=lambda i: (found[i].usd_per_hour or infinity, found[i].gpu_count, i),
    )
    by_memory = sorted(
        range(len(found)),
        key=lambda i: (found[i].usable_gib * found[i].gpu_count, found[i].gpu_count, i),
    )
    by_name = sorted(range(len(found)), key=lambda i: (found[i].gpu_name, found[i].gpu_count, i))
    return {
        "id": [c.configuration_id for c in found],
        "label": [words.times_sign(c.label) for c in found],
        "gpu": [c.gpu_name for c in found],
        "gpuId": [c.gpu for c in found],
        "count": [c.gpu_count for c in found],
        "usable": [words.gib(c.usable_gib) for c in found],
        "hour": [words.usd(c.usd_per_hour, plan.scenario.currency) for c in found],
        "offer": [c.offer for c in found],
        "order": {"price": by_price, "memory": by_memory, "name": by_name},
    }


def _runner_words(
    plan: Plan, positions: tuple[int, ...], index: Mapping[tuple[str, int], Any]
) -> str:
    for position in positions:
        detail = plan.details[position]
        configuration = view.configuration_of(index, detail.cell)
        if configuration is not None:
            extra = words.surcharge(detail.surcharge_ratio)
            return f"{words.times_sign(configuration.label)} {extra}".strip()
    return ""


def _details(plan: Plan, index: Mapping[tuple[str, int], Any]) -> list[Any]:
    """Ledgers of bought cases first, then of others, up to the page's limit."""
    order: list[tuple[int, int]] = []
    for bought in (True, False):
        for position, case in enumerate(plan.cases):
            if case.is_bought is bought:
                first = [] if case.cheapest is None else [case.cheapest]
                rest = case.runners_up[:1] if bought else ()
                order.extend((position, number) for number in (*first, *rest))
    positions = {c.configuration_id: i for i, c in enumerate(plan.configurations)}
    found = []
    for case_position, number in order[:_DETAILS_IN_PAGE]:
        detail = plan.details[number]
        configuration = view.configuration_of(index, detail.cell)
        if configuration is not None:
            found.append(
                [case_position, positions[configuration.configuration_id], *_ledger(detail)]
            )
    return found


def _ledger(detail: CellDetail) -> list[Any]:
    lines = [
        [
            line.item.replace("_", " "),
            line.component,
            words.gib(line.low_gib, 2),
            words.gib(line.expected_gib, 2),
            words.gib(line.high_gib, 2),
            line.formula,
            line.substituted,
            line.source,
        ]
        for line in detail.ledger
    ]
    return [str(detail.cell.get("peak_phase") or ""), lines]
