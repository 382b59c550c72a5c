"""Diffs of plans as values: classes, pairing, sizes, safety."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.documents import Document, check_document
from planner.errors import InputProblems
from planner.plan import Plan
from planner.report.plan_json import write_plan
from planner.review.diff import diff_plans
from planner.review.json import diff_data
from planner.review.markdown import MAX_CHARACTERS, CommentOptions, marker, render_markdown
from planner.review.pairing import Item, paired
from planner.review.read import parse_any_plan, read_plans
from planner.review.words import code, markdown, plain
from tests.plan_factory import sized, small


def with_cell(plan: Plan, **columns: Any) -> Plan:
    """The plan with every bought case's cell changed."""
    chosen = {c.cheapest for c in plan.cases if c.is_bought and c.cheapest is not None}
    details = tuple(
        replace(d, cell={**d.cell, **columns}) if i in chosen else d
        for i, d in enumerate(plan.details)
    )
    return replace(plan, details=details)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return small()[0]


def test_equal_plans_have_no_change(plan: Plan) -> None:
    diff = diff_plans({"a": plan}, {"a": plan})
    assert not diff.is_changed
    assert diff.delta_usd_per_month == 0
    assert diff.unchanged_purchases > 0


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"usd_per_month": 9e6}, "dearer"),
        ({"usd_per_month": 0.5}, "cheaper"),
        ({"verdict": "tight"}, "became-tight"),
        ({"region": "elsewhere"}, "other-choice"),
        ({"utilization": 0.0}, "memory-moved"),
    ],
)
def test_each_class(plan: Plan, columns: dict[str, Any], kind: str) -> None:
    diff = diff_plans({"a": plan}, {"a": with_cell(plan, **columns)})
    assert {change.kind for change in diff.purchases} == {kind}


def test_added_and_removed_scenarios(plan: Plan) -> None:
    other = replace(plan, cases=tuple(replace(c, case_id=f"x{c.case_id}") for c in plan.cases),
                    inputs=replace(plan.inputs, resolved={"other": 1}))  # fmt: skip
    diff = diff_plans({"a": plan}, {"b": other})
    assert {change.kind for change in diff.purchases} == {"new", "removed"}
    kinds = [change.kind for change in diff.purchases]
    assert kinds == sorted(kinds, key=lambda kind: kind != "removed")


def test_the_rows_add_up_to_the_total(plan: Plan) -> None:
    diff = diff_plans({"a": plan}, {"a": with_cell(plan, usd_per_month=123.0)})
    assert sum(row.usd_per_month for row in diff.attribution) == diff.delta_usd_per_month
    rows = sum(change.delta_usd_per_month or 0.0 for change in diff.purchases)
    assert rows == pytest.approx(diff.delta_usd_per_month, abs=0.05)


def test_json_keeps_its_schema(plan: Plan) -> None:
    data = diff_data(diff_plans({"a": plan}, {"a": with_cell(plan, usd_per_month=1.0)}))
    document = Document("diff.json", json.loads(json.dumps(data)))
    assert check_document(document, "diff") == []


def test_a_huge_comment_keeps_sentence_gate_and_exclusions() -> None:
    plan = sized(4000, 4)[0]
    head = replace(with_cell(plan, usd_per_month=1e6), offers_left_out=("8x Z",) * 1)
    cases = tuple(replace(c, case_id=c.case_id + "y" * 400) for c in head.cases)
    diff = diff_plans({"a": plan}, {"a": replace(head, cases=cases)})
    text = render_markdown(diff)
    assert len(text) <= MAX_CHARACTERS
    assert "### Capacity plan: **" in text
    assert "no budget rules" in text
    assert "8x Z" in text


def test_the_marker_cannot_be_ended_early() -> None:
    line = marker(CommentOptions(key="a--><script>", run="1", head="x\ny"))
    assert line.count("-->") == 1
    assert "\n" not in line
    assert "script>" not in line


@given(st.text(max_size=60))
def test_no_text_becomes_markup(text: str) -> None:
    for shown in (markdown(text), code(text).removeprefix("<code>").removesuffix("</code>")):
        assert not set(shown) & set("<>|`*[]@\n\r\\~")
        assert not re.search(r"(^|[^\w])_|_([^\w]|$)", shown)
        assert "://" not in shown
    assert "\u202e" not in plain(text)
    assert "\x1b" not in plain(text)


def test_one_swapped_value_pairs_and_two_do_not() -> None:
    def items(*contexts: int) -> list[Item]:
        return [Item(f"c{n}", "chat", {"context_tokens": n, "model": "m"}) for n in contexts]

    pairs = paired(items(8, 16), items(8, 32))
    assert [(a and a.id, b and b.id) for a, b in pairs] == [("c8", "c8"), ("c16", "c32")]
    pairs = paired(items(8, 16), items(32, 64))
    assert all(a is None or b is None for a, b in pairs)


def test_a_plan_of_this_version_that_lacks_later_fields_is_read(plan: Plan) -> None:
    data = json.loads(write_plan(plan))
    del data["notes"], data["offers_left_out"]
    assert parse_any_plan(json.dumps(data).encode(), "old").notes == ()


def test_an_older_version_goes_through_its_upgrade(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade(data: dict[str, Any]) -> dict[str, Any]:
        data["headline"] = data.pop("title")
        return data

    monkeypatch.setitem(__import__("planner.review.read", fromlist=["x"]).UPGRADES, 0, upgrade)
    data = json.loads(write_plan(plan))
    data["schema_version"] = 0
    data["title"] = data.pop("headline")
    assert parse_any_plan(json.dumps(data).encode(), "old") == plan


def test_a_newer_version_is_refused_with_a_way_out() -> None:
    with pytest.raises(InputProblems, match="upgrade it"):
        parse_any_plan(b'{"schema_version": 99}', "new.json")


def test_a_folder_without_plans_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputProblems, match=r"no plan\.json"):
        read_plans(tmp_path)
