"""What the renderers print for a small plan, file by file; `make golden` rewrites the files."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from planner.report import render_report
from planner.report.markdown import render_markdown
from planner.report.text import summary
from tests.plan_factory import tiny

FOLDER = Path(__file__).parent / "report"


def static_text(page: str) -> str:
    """The words of the page as a browser without scripts shows them, one block a line."""
    body = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.S)
    body = re.sub(r"</(p|h\d|li|tr|dd|dt|div|th|td|summary)>", "\n", body)
    lines = (html.unescape(re.sub(r"<[^>]+>", " ", line)) for line in body.splitlines())
    return "\n".join(shown for line in lines if (shown := " ".join(line.split()))) + "\n"


def golden_files() -> dict[str, str]:
    plan, cells = tiny()
    files = {name: content.decode() for name, content in render_report(plan, cells).items()}
    return {
        "report.txt": static_text(files["report.html"]),
        "matrix.csv": files["matrix.csv"],
        "cheapest.csv": files["cheapest.csv"],
        "cells-head.csv": "\n".join(files["cells.csv"].splitlines()[:25]) + "\n",
        "summary.txt": summary(plan),
        "summary.md": render_markdown(plan),
    }


@pytest.mark.parametrize("name", sorted(golden_files()))
def test_output_is_as_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    printed = golden_files()[name]
    file = FOLDER / name
    if request.config.getoption("--refresh-golden"):
        file.write_text(printed, "utf-8")
    assert printed == file.read_text("utf-8"), f"{file} differs; `make golden` rewrites it"
