"""Further formats of a report: the workbook, the typed table, and what is said without them."""

from __future__ import annotations

import io
import re
import sys
import time
import zipfile

import polars as pl
import pytest
from click.testing import CliRunner

from planner.cli import cli
from planner.errors import OutsideFailure
from planner.report import ALSO_FILES, REPORT_FILES, render_report
from planner.report.parquet import cells_parquet
from planner.report.xlsx import CELLS_SHOWN, decision_frame, matrix_frame, render_xlsx
from tests.plan_factory import empty, sized, small, tiny


def sheets(content: bytes) -> dict[str, str]:
    """Name of each sheet -> its XML."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        listed = re.findall(r'<sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
        return {
            name: book.read(f"xl/worksheets/sheet{place}.xml").decode()
            for place, name in enumerate(listed, 1)
        }


def test_further_files_come_only_when_asked_for() -> None:
    assert tuple(render_report(*tiny())) == REPORT_FILES
    both = render_report(*tiny(), also=["parquet", "markdown", "parquet"])
    assert tuple(both) == (*REPORT_FILES, "cells.parquet", "summary.md")
    assert set(render_report(*tiny(), also=ALSO_FILES)) == {*REPORT_FILES, *ALSO_FILES.values()}


def test_unknown_formats_are_refused() -> None:
    result = CliRunner().invoke(cli, ["report", "--also", "xlsx,docx", "x.yaml"])
    assert result.exit_code == 2
    assert "'docx' is none of xlsx, parquet" in result.output


class TestWorkbook:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")

    def test_has_the_sheets_and_equal_bytes_every_time(self) -> None:
        first = render_xlsx(*tiny())
        time.sleep(1.1)
        assert render_xlsx(*tiny()) == first
        assert list(sheets(first)) == ["decision", "matrix", "cells", "about"]

    def test_no_text_becomes_a_formula_or_a_link(self) -> None:
        for xml in sheets(render_xlsx(*small(hostile=True))).values():
            assert "<f>" not in xml
            assert "<hyperlink" not in xml

    def test_an_empty_plan_makes_a_workbook(self) -> None:
        assert len(sheets(render_xlsx(*empty()))) == 4

    def test_says_what_it_leaves_out(self) -> None:
        plan, cells = sized(200)
        assert cells.height > CELLS_SHOWN
        found = sheets(render_xlsx(plan, cells))
        assert found["cells"].count("<row ") == CELLS_SHOWN + 1

    def test_decision_has_a_row_a_purchase_and_the_matrix_a_row_a_case(self) -> None:
        plan, _ = small()
        assert decision_frame(plan).height == sum(case.is_bought for case in plan.cases)
        assert matrix_frame(plan).height == len(plan.cases)
        assert matrix_frame(plan).width == 2 + len(plan.configurations)

    def test_without_the_library_the_message_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "xlsxwriter", None)
        with pytest.raises(OutsideFailure, match=r"llm-capacity-planner\[xlsx\]"):
            render_xlsx(*tiny())


class TestParquet:
    def test_reads_back_with_types_and_equal_bytes(self) -> None:
        _, cells = tiny()
        content = cells_parquet(cells)
        assert content == cells_parquet(cells)
        back = pl.read_parquet(io.BytesIO(content))
        assert back.columns == cells.columns
        assert back.height == cells.height
        assert back.schema["total_gib"] == pl.Float64
