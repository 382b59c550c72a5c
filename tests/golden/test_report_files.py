"""The five files of a report: complete, equal every time, harmless, and readable again."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from planner.documents import load_schema
from planner.errors import InputProblems, OutsideFailure
from planner.plan import Plan
from planner.report import REPORT_FILES, render_report
from planner.report.csv import cells_csv
from planner.report.files import write_folder
from planner.report.markdown import escape, render_markdown
from planner.report.pack import number_column, pack, text_column, unpack
from planner.report.plan_json import parse_plan, read_plan, write_plan
from planner.report.text import summary
from tests.plan_factory import CELL_COLUMNS, empty, small, tiny


@pytest.fixture(scope="module")
def hostile() -> tuple[Plan, dict[str, bytes]]:
    plan, cells = small(hostile=True)
    return plan, render_report(plan, cells)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_report_is_the_five_files_and_the_same_bytes_every_time() -> None:
    first, second = render_report(*tiny()), render_report(*tiny())
    assert tuple(first) == REPORT_FILES
    assert first == second


def test_an_empty_plan_renders() -> None:
    plan, cells = empty()
    files = render_report(plan, cells)
    assert rows(files["matrix.csv"]) == []
    assert files["cheapest.csv"].startswith(b"case_id,workload,")
    assert summary(plan)


class TestCsv:
    def test_cells_begin_with_the_agreed_columns_in_order(self) -> None:
        header = render_report(*tiny())["cells.csv"].decode().splitlines()[0]
        assert header.split(",")[: len(CELL_COLUMNS)] == list(CELL_COLUMNS)

    def test_no_field_starts_a_formula(self, hostile: tuple[Plan, dict[str, bytes]]) -> None:
        for name in ("cells.csv", "matrix.csv", "cheapest.csv"):
            for row in csv.reader(io.StringIO(hostile[1][name].decode(), newline="")):
                for field in row:
                    if field[:1] in tuple("=+-@\t\r"):
                        float(field)

    def test_numbers_stay_numbers_and_formulas_get_an_apostrophe(self) -> None:
        frame = pl.DataFrame(
            {"a": ["-1.5", "=1+1", "+cmd", "-x", "@A1", "\tx", "1e5", None], "b_gib": [-0.5] * 8}
        )
        found = rows(cells_csv(frame))
        texts = [row["a"] for row in found]
        assert texts == ["-1.5", "'=1+1", "'+cmd", "'-x", "'@A1", "'\tx", "1e5", ""]
        assert found[0]["b_gib"] == "-0.5"

    def test_not_a_number_is_empty(self) -> None:
        frame = pl.DataFrame({"x": [float("nan"), float("inf"), 1.0]})
        assert cells_csv(frame) == b"x\n\n\n1.0\n"

    def test_quotes_commas_and_line_breaks_survive(self) -> None:
        text = 'a "b", c\nd'
        assert rows(cells_csv(pl.DataFrame({"x": [text], "y": [1]})))[0]["x"] == text

    def test_a_matrix_row_per_case_and_a_column_per_configuration(self) -> None:
        plan, cells = tiny()
        found = rows(render_report(plan, cells)["matrix.csv"])
        assert [row["case_id"] for row in found] == [case.case_id for case in plan.cases]
        names = [configuration.configuration_id for configuration in plan.configurations]
        assert list(found[0])[4:] == names
        form = re.compile(
            r"(fits|tight) \d+% free(, (no price|no-offer|over-limit))?(, cheapest)?"
            r"|needs \d+\.\dx|impossible|unsupported"
        )
        assert all(form.fullmatch(row[name]) for row in found for name in names)

    def test_cheapest_lists_every_case_and_marks_what_is_bought(self) -> None:
        plan, cells = tiny()
        found = rows(render_report(plan, cells)["cheapest.csv"])
        assert len(found) == len(plan.cases)
        month = sum(float(r["usd_per_month"] or 0) for r in found if r["is_bought"] == "true")
        assert month == pytest.approx(plan.totals.usd_per_month, abs=0.05 * len(found))


class TestPlanJson:
    def test_reads_back_as_the_same_plan(self) -> None:
        for plan, _ in (tiny(), small(hostile=True)):
            assert parse_plan(write_plan(plan), "plan.json") == plan

    def test_is_valid_against_its_schema(self) -> None:
        schema = load_schema("plan")
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(json.loads(write_plan(tiny()[0])))

    def test_schema_knows_every_field_and_describes_it(self) -> None:
        schema = load_schema("plan")
        assert list(schema["properties"]) == [field.name for field in dataclasses.fields(Plan)]
        assert list(schema["properties"]["matrix"]["properties"]) == list(tiny()[0].matrix)
        for place in (schema, *schema["$defs"].values(), schema["properties"]["matrix"]):
            for name, field in place["properties"].items():
                assert field.get("description") or "$ref" in field, name

    @pytest.mark.parametrize(
        ("spoil", "where"),
        [
            (lambda data: data.pop("totals"), "$"),
            (lambda data: data["matrix"]["verdict"].__setitem__(-1, "maybe"), "$.matrix.verdict"),
            (lambda data: data["matrix"]["total_gib"].__setitem__(-1, "9"), "$.matrix.total_gib"),
            (lambda data: data["matrix"]["case"].pop(), "$.matrix"),
            (lambda data: data["matrix"]["case"].__setitem__(0, 9999), "$.matrix.case"),
            (lambda data: data["cases"][0].update(cheapest=10**6), "$.cases[0]"),
            (lambda data: data["cases"][0].update(surprise=1), "$.cases[0]"),
            (lambda data: data.update(schema_version=2), "$"),
        ],
    )
    def test_names_the_place_of_what_is_wrong(self, spoil: object, where: str) -> None:
        data = json.loads(write_plan(tiny()[0]))
        spoil(data)  # type: ignore[operator]
        with pytest.raises(InputProblems) as caught:
            parse_plan(json.dumps(data).encode(), "plan.json")
        assert where in [problem.path for problem in caught.value.problems]

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"a": NaN}', b"[" * 99999])
    def test_refuses_what_is_no_plan(self, content: bytes) -> None:
        with pytest.raises(InputProblems):
            parse_plan(content, "plan.json")

    def test_a_missing_file_is_an_outside_failure(self, tmp_path: Path) -> None:
        with pytest.raises(OutsideFailure):
            read_plan(tmp_path / "none.json")

    def test_no_plan_holds_what_is_not_a_number(self) -> None:
        plan, _ = tiny()
        spoiled = dataclasses.replace(
            plan, totals=dataclasses.replace(plan.totals, usd_per_hour=float("nan"))
        )
        with pytest.raises(ValueError, match="JSON"):
            write_plan(spoiled)


class TestHostileNames:
    def test_html_has_one_script_that_runs_and_no_markup_from_names(
        self, hostile: tuple[Plan, dict[str, bytes]]
    ) -> None:
        page = hostile[1]["report.html"].decode()
        assert page.count("<script") == 2
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert not re.search(r"<(img|link|iframe|object|embed|base)\b", page)
        assert not re.search(r"\son\w+=|\sstyle=|javascript:|https?://(?!www\.w3\.org)", page)

    def test_policy_allows_only_what_is_in_the_file(
        self, hostile: tuple[Plan, dict[str, bytes]]
    ) -> None:
        page = hostile[1]["report.html"].decode()
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
        assert policy is not None
        assert "default-src &#39;none&#39;" in policy[1]
        assert "unsafe" not in policy[1]

    def test_terminal_text_has_no_control_characters_and_keeps_its_width(self) -> None:
        plan, _ = small(hostile=True)
        scenario = dataclasses.replace(plan.scenario, title="a\x1b[31mb\u202ec\nd")
        for width in (60, 100, 140):
            printed = summary(dataclasses.replace(plan, scenario=scenario), width)
            assert "\x1b" not in printed
            assert "\u202e" not in printed
            assert max(map(len, printed.splitlines())) <= width

    def test_colour_only_when_asked_for(self) -> None:
        assert "\x1b[" in summary(tiny()[0], color=True)
        assert "\x1b[" not in summary(tiny()[0])

    @pytest.mark.parametrize(
        "name", ["a|b", "<b>x</b>", "`x`", "[x](y)", "@team", "**x**", "x\n| y |", "https://x.y"]
    )
    def test_markdown_shows_names_as_they_are(self, name: str) -> None:
        escaped = escape(name)
        assert "\n" not in escaped
        for markup in ("<b>", "](", "@team", "**", "https:"):
            assert markup not in re.sub(r"\\.", "", escaped)
        assert not re.search(r"(?<!\\)\|", escaped)

    def test_every_markdown_table_row_has_as_many_cells_as_its_head(self) -> None:
        printed = render_markdown(small(hostile=True)[0])
        table = [line for line in printed.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}


class TestPacking:
    def test_unpacks_to_what_was_packed(self) -> None:
        texts = pl.Series([f"t{i % 300}" if i % 7 else None for i in range(1200)])
        numbers = pl.Series([i % 5 for i in range(1200)])
        columns = [text_column("t", texts), number_column("n", numbers, str)]
        head, found = unpack(pack({"rows": 40, "width": 30}, columns, 30))
        assert head["rows"] == 40
        assert found["t"] == texts.to_list()
        assert found["n"] == [str(number) for number in numbers]


class TestWriting:
    def test_writes_exactly_the_files(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "a" / "b", {"x.csv": b"1", "y.csv": b"2"})
        assert {p.name: p.read_bytes() for p in (tmp_path / "a" / "b").iterdir()} == {
            "x.csv": b"1",
            "y.csv": b"2",
        }
        assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]

    def test_replaces_old_files_and_keeps_what_others_put_there(self, tmp_path: Path) -> None:
        folder = tmp_path / "r"
        write_folder(folder, {"x.csv": b"old"})
        (folder / "notes.md").write_text("mine")
        write_folder(folder, {"x.csv": b"new"})
        assert (folder / "x.csv").read_bytes() == b"new"
        assert (folder / "notes.md").read_text() == "mine"

    def test_a_failure_leaves_the_old_report_whole_and_no_litter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "r"
        write_folder(folder, {"x.csv": b"old"})
        real = Path.rename

        def broken(self: Path, target: Path) -> Path:
            if Path(target) == folder and self.name != "old":
                raise OSError(28, "No space left on device")
            return real(self, target)

        monkeypatch.setattr(Path, "rename", broken)
        with pytest.raises(OutsideFailure, match="No space left"):
            write_folder(folder, {"x.csv": b"new"})
        assert (folder / "x.csv").read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["r"]

    def test_a_file_in_the_way_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "r").write_text("mine")
        with pytest.raises(OutsideFailure):
            write_folder(tmp_path / "r", {"x.csv": b"new"})
        assert (tmp_path / "r").read_text() == "mine"

    @pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "/etc/x"])
    def test_names_stay_inside_the_folder(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match="plain file name"):
            write_folder(tmp_path / "r", {name: b""})
