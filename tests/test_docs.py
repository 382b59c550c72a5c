"""What the README and the docs say is true of the program."""

import re
from pathlib import Path

import pytest

from planner.cli import cli
from planner.pipeline import open_text
from planner.scenario.axes import AXES

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def yaml_blocks(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_the_scenario_in_the_readme_is_valid() -> None:
    (scenario,) = [block for block in yaml_blocks(PROJECT / "README.md") if "workloads:" in block]
    assert open_text(scenario, "README.md", PROJECT).scenario.workloads[0].name == "chat"


def test_every_axis_is_documented() -> None:
    text = (PROJECT / "docs" / "scenario.md").read_text("utf-8")
    assert [axis for axis in AXES if f"`{axis}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(page: Path) -> None:
    code = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    said = set(re.findall(r"^\s*planner ([a-z]+)\b", code, re.MULTILINE))
    assert said <= set(cli.list_commands(None))  # type: ignore[attr-defined,arg-type]


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    said = re.findall(r"\bmake ([a-z-]+)", (PROJECT / "README.md").read_text("utf-8"))
    assert set(said) <= set(targets)


def test_the_formulas_page_is_what_the_docstrings_say() -> None:
    from docs.generate_formulas import PAGE, page

    assert PAGE.read_text("utf-8") == page(), "run: make docs"
