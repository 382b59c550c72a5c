"""What changed, what more speed costs and how well estimates do: the words of the later views."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import cli
from planner.errors import InputProblems
from planner.plan import Alternative, Plan
from planner.report.changes_view import changes
from planner.report.evidence_view import evidence, measured
from planner.report.front_view import HEIGHT, POINTS_SHOWN, WIDTH, fronts
from planner.report.html import render_html
from planner.report.plan_json import parse_plan, write_plan
from planner.report.sources_view import price_dates, turns
from planner.report.words import spoken
from tests.plan_factory import earlier, small, tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return small()[0]


class TestWhatChanged:
    def test_the_finding_says_how_much_and_in_which_direction(self, plan: Plan) -> None:
        before = earlier()
        rises = plan.totals.usd_per_month > before.totals.usd_per_month
        words = ("more", "less") if rises else ("less", "more")
        assert f" a month {words[0]} than before" in changes(plan, before).finding
        assert f" a month {words[1]} than before" in changes(before, plan).finding

    def test_equal_plans_have_nothing_to_show(self, plan: Plan) -> None:
        found = changes(plan, plan)
        assert found.finding.startswith("No change")
        assert (found.purchases, found.cases, found.inputs, found.counts) == ((), (), (), "")
        assert "The same planner, catalog, prices and scenario" in render_html(plan, plan).decode()

    def test_rows_name_gpus_and_lead_to_their_cell(self, plan: Plan) -> None:
        found = changes(plan, earlier())
        rows = [*found.purchases, *found.cases]
        assert rows
        assert not any(
            re.search(r"h100-sxm-80gb|l40s-48gb", row.before + row.after) for row in rows
        )
        for row in rows:
            if row.link:
                case, configuration = map(int, row.link.split("."))
                assert plan.cases[case]
                assert plan.configurations[configuration].label.split("x ")[1] in row.after

    def test_lists_what_differs_in_the_inputs(self, plan: Plan) -> None:
        found = {name: (before, now) for name, before, now in changes(plan, earlier()).inputs}
        assert found["Planner"] == ("0.0.9", "0.1.0")
        assert found["supply"][0] == "gpu_counts: 1, 2"
        assert "Scenario file" not in found

    def test_entries_with_names_are_compared_by_name(self, plan: Plan) -> None:
        def asking(*loads: tuple[str, int]) -> Plan:
            workloads = [{"name": name, "demand": load} for name, load in loads]
            inputs = dataclasses.replace(plan.inputs, resolved={"workloads": workloads})
            return dataclasses.replace(plan, inputs=inputs)

        before, now = asking(("a", 1), ("b", 2)), asking(("b", 3), ("a", 1))
        assert changes(now, before).inputs == (("workloads.b.demand", "2", "3"),)

    def test_only_a_page_with_a_base_has_the_view(self, plan: Plan) -> None:
        assert b'id="view-changed"' not in render_html(plan)
        assert b'id="view-changed"' in render_html(plan, earlier())

    def test_hostile_names_stay_text(self) -> None:
        page = render_html(small(hostile=True)[0], earlier(hostile=True)).decode()
        assert page.count("<script") == 2
        assert "<script>alert" not in page


class TestCommand:
    def test_a_base_is_a_folder_of_reports_or_a_plan(self, tmp_path: Path) -> None:
        scenario = str(ROOT / "scenarios" / "guide-llama3-8b.yaml")
        old, new = tmp_path / "old", tmp_path / "new"
        run = CliRunner()
        assert run.invoke(cli, ["report", scenario, "-o", str(old), "-q"]).exit_code == 0
        plan_file = old / "guide-llama3-8b" / "plan.json"
        for base in (old, plan_file):
            found = run.invoke(cli, ["report", scenario, "-o", str(new), "-q", "--base", str(base)])
            assert found.exit_code == 0, found.output
            page = (new / "guide-llama3-8b" / "report.html").read_text("utf-8")
            assert "No change" in page[page.index('id="view-changed"') :][:300]

    def test_a_base_without_the_scenarios_is_refused(self, tmp_path: Path) -> None:
        two = [str(ROOT / "scenarios" / f"{n}.yaml") for n in ("guide-llama3-8b", "quickstart")]
        base = tmp_path / "plan.json"
        base.write_bytes(write_plan(tiny()[0]))
        found = CliRunner().invoke(cli, ["report", *two, "-o", str(tmp_path), "--base", str(base)])
        assert isinstance(found.exception, InputProblems)
        assert "holds no plan of" in str(found.exception.problems[0])


class TestFront:
    def test_points_lie_in_the_chart_and_rise_in_cost(self, plan: Plan) -> None:
        found, hidden = fronts(plan)
        assert found
        assert hidden >= 0
        for front in found:
            assert 1 < len(front.points) <= POINTS_SHOWN
            assert all(0 < p.x < WIDTH and 0 < p.y < HEIGHT for p in front.points)
            assert [p.x for p in front.points] == sorted(p.x for p in front.points)
            assert front.points[0].extra == "cheapest"

    def test_many_small_steps_are_thinned_but_the_cheapest_stays(self, plan: Plan) -> None:
        steps = tuple(
            Alternative(f"{n}× t4-16gb from aws x, spot", 1.0 + n, 730.0 + n, 90 * 0.93**n, n / 10)
            for n in range(40)
        )
        choice = dataclasses.replace(plan.choices[0], front=steps)
        found, _ = fronts(dataclasses.replace(plan, choices=(choice,)))
        assert found[0].points[0].machine == "0× NVIDIA T4 16 GB"
        assert len(found[0].points) <= POINTS_SHOWN

    def test_half_the_time_is_priced(self, plan: Plan) -> None:
        assert all(front.finding.startswith("Half the time costs") for front in fronts(plan)[0])


class TestSentences:
    @pytest.mark.parametrize(
        ("plain", "said"),
        [
            ("1× l4-24gb from aws at 0.4 USD per hour", "1× L4 from aws at $0.40 an hour"),
            ("2× l4-24gb-x at $2.5 per hour", "2× l4-24gb-x at $2.50 an hour"),
            ("costs 1,234.5 USD per hour: needs 1.58x", "costs $1,234 an hour: needs 1.58×"),
            ("from vast 2x-L40S-32", "from vast 2x-L40S-32"),
        ],
    )
    def test_money_and_gpus_are_spoken(self, plain: str, said: str) -> None:
        assert spoken(plain, {"l4-24gb": "L4", "l4-24gb-y": "Y"}) == said

    def test_reasons_of_choices_are_spoken(self, plan: Plan) -> None:
        told = [text for turn in turns(plan) for text in turn.sentences]
        assert any("NVIDIA L4 24 GB from aws at $0.40 an hour" in text for text in told)
        assert not any("USD per hour" in text for text in told)


class TestSources:
    def test_prices_have_ages_where_the_scenario_has_a_date(self, plan: Plan) -> None:
        assert "17 to 34 days old on 2026-11-01" in price_dates(plan)
        undated = dataclasses.replace(plan.scenario, as_of=None)
        assert "days old" not in price_dates(dataclasses.replace(plan, scenario=undated))

    def test_accuracy_and_evidence_are_told(self, plan: Plan) -> None:
        kinds = [kind for kind, _ in measured(plan)]
        assert kinds == ["inference memory", "serving speed"]
        first = measured(plan)[0][1][0]
        assert (first.rows, first.median, first.high, first.inside) == (
            "71",
            "<0.1%",
            "2.4%",
            "96%",
        )
        assert ("Weights", "weights", "config.json of the model; format table") in evidence(plan)

    def test_a_plan_without_accuracy_is_read(self) -> None:
        written = write_plan(tiny()[0]).decode()
        old = re.sub(r',\n "accuracy_date".*?\n}', "\n}", written, flags=re.S)
        assert '"accuracy"' not in old
        assert parse_plan(old.encode(), "plan.json").inputs.accuracy == ()
