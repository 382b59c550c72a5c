"""The report in a real browser: opens offline, answers by mouse and by keyboard, stays harmless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.page import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEWS = ("decision", "changed", "matrix", "compare", "limits", "cost", "sources")
SIZES = {"wide": (1440, 1000), "middle": (900, 1100), "narrow": (390, 844)}
CELL = "#grid-body td[tabindex='0']"


def first_answer(page: Page) -> str:
    """The address of the first configuration in the decision table."""
    return str(page.run("return document.querySelector('.choices td a').getAttribute('href')"))[1:]


def rows_shown(page: Page) -> int:
    return int(page.run("return document.querySelector('#grid').getAttribute('aria-rowcount')")) - 1


def columns_shown(page: Page) -> int:
    return int(page.run("return document.querySelector('#grid').getAttribute('aria-colcount')")) - 1


class TestOpening:
    @pytest.mark.parametrize("name", ["plain", "hostile"])
    @pytest.mark.parametrize("view", VIEWS)
    def test_no_error_no_request_and_only_the_view_asked_for(
        self, driver: Any, files: dict[str, Path], name: str, view: str
    ) -> None:
        page = Page(driver, files[name])
        page.size(1440, 1000)
        page.open(view)
        assert page.logs() == []
        assert page.requests() == []
        assert [v for v in VIEWS if page.shown(f"#view-{v}")] == [view]
        assert page.text(f"#view-{view} h2")

    def test_hostile_names_are_text(self, driver: Any, files: dict[str, Path]) -> None:
        page = Page(driver, files["hostile"])
        page.open(f"{first(page)}")
        assert page.run("return document.scripts.length") == 2
        assert page.run("return window.opened === undefined && document.title.includes('<script>')")
        page.open("matrix?q=%3Cscript%3E")
        assert rows_shown(page) > 0
        assert page.logs() == []

    def test_a_strange_address_shows_the_decision(self, page: Page) -> None:
        for address in ("nonsense", "matrix'><b", "decision?case=nobody&on=nothing", "%E0%A4%A"):
            page.open(address)
            assert page.logs() == []
            assert not page.shown("#explain")


def first(page: Page) -> str:
    page.open("decision")
    return first_answer(page)


class TestMatrix:
    def test_search_filter_hide_and_clear(self, page: Page) -> None:
        page.open("matrix")
        every = rows_shown(page)
        page.type("#q", "qwen fp8")
        assert 0 < rows_shown(page) < every
        page.choose("#show", "none")
        nothing = rows_shown(page)
        page.run("document.querySelector('#hide').click()")
        assert columns_shown(page) == 0
        assert nothing < every
        page.run("document.querySelector('#clear').click()")
        assert rows_shown(page) == every
        page.choose("#axis-method", "lora")
        assert 0 < rows_shown(page) < every
        assert "1 set" in page.text("#active")

    def test_filters_are_in_the_address_and_come_back(self, page: Page) -> None:
        page.open("matrix")
        page.type("#q", "70b")
        page.choose("#group", "workload")
        address, rows = page.run("return location.hash")[1:], rows_shown(page)
        page.open(address)
        assert rows_shown(page) == rows
        assert page.run("return document.querySelector('#q').value") == "70b"
        assert page.shown("#grid tr.group")

    def test_sorts_rows_by_price(self, page: Page) -> None:
        page.open("matrix?sort=price&show=some")
        first_row = page.text("#grid-body tr td.best")
        assert "fits" in first_row

    def test_the_cheapest_is_marked_with_a_star(self, page: Page) -> None:
        page.open("matrix?show=bought")
        mark = "return getComputedStyle(document.querySelector('td.best'), '::before').content"
        assert "★" in page.run(mark)

    def test_draws_only_what_is_in_sight_and_follows_scrolling(self, page: Page) -> None:
        page.open("matrix")
        assert page.run("return document.querySelectorAll('#grid td').length") < 1500
        before = page.text("#grid-body th")
        page.run("const f = document.querySelector('#grid-frame'); f.scrollTop = 3000")
        page.until("return document.querySelector('#grid-body tr[aria-hidden]') !== null")
        assert page.text("#grid-body tr:nth-child(2) th") != before

    def test_headers_stay_in_sight(self, page: Page) -> None:
        page.open("matrix")
        page.run(
            "const f = document.querySelector('#grid-frame'); f.scrollTop = f.scrollLeft = 800"
        )
        page.until("return document.querySelector('#grid-body tr[aria-hidden]') !== null")
        place = (
            "const f = document.querySelector('#grid-frame').getBoundingClientRect();"
            "const h = document.querySelector('#grid-head th').getBoundingClientRect();"
            "return Math.abs(h.top - f.top) < 3 && Math.abs(h.left - f.left) < 3"
        )
        assert page.run(place)


class TestExplaining:
    def test_by_mouse_from_the_decision(self, page: Page) -> None:
        page.click(".choices td a")
        page.until("return !document.querySelector('#explain').hidden")
        assert "the cheapest for this case" in page.text("#explain .verdict")
        assert page.shown("#explain svg.stack")
        page.click("#explain .close")
        assert not page.shown("#explain")

    def test_by_keyboard_alone(self, page: Page) -> None:
        from selenium.webdriver.common.keys import Keys

        page.press("/")
        page.until("return document.activeElement.id === 'q'")
        page.press("llama lora")
        page.run("document.querySelector(arguments[0]).focus()", CELL)
        page.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, "b")
        assert "best" in page.run("return document.activeElement.className")
        page.press(Keys.ENTER)
        page.until("return document.activeElement.id === 'explain'")
        assert "Fits" in page.text("#explain .verdict")
        page.press(Keys.ESCAPE)
        assert not page.shown("#explain")
        assert page.run("return document.activeElement.tagName") == "TD"
        page.press(Keys.CONTROL + Keys.END)

    def test_a_link_opens_the_same_cell(self, page: Page) -> None:
        address = first_answer(page).replace("decision?", "matrix?")
        page.open(address)
        assert page.shown("#explain")
        assert page.run("return document.querySelectorAll('td[aria-selected]').length") == 1
        page.run("history.back()")

    def test_parts_formulas_and_the_way_to_a_terminal(self, page: Page) -> None:
        page.open(first_answer(page))
        shown = page.text("#explain")
        for words in ("Weights", "Total", "Formulas with their numbers", "planner explain"):
            assert words in shown

    def test_says_what_would_make_it_fit(self, page: Page) -> None:
        page.open("matrix?q=70b")
        page.run("document.querySelector('#grid-body td.exceeds').click()")
        page.until("return !document.querySelector('#explain').hidden")
        assert "Does not fit" in page.text("#explain .verdict")
        assert page.run("return document.querySelectorAll('#explain .ways a').length") > 0

    def test_by_mouse_from_what_changed(self, page: Page) -> None:
        page.open("changed")
        page.click("#view-changed table a")
        page.until("return !document.querySelector('#explain').hidden")
        assert page.shown("#view-changed")
        assert page.text("#explain .verdict")

    def test_advice_comes_before_the_changes_that_the_page_knows(self, page: Page) -> None:
        page.open("matrix?q=lora+70b&show=bought")
        page.run("document.querySelector('#grid-body td.exceeds').click()")
        page.until("return !document.querySelector('#explain').hidden")
        titles = page.run(
            "return [...document.querySelectorAll('#explain h3')].map((h) => h.textContent)"
        )
        assert titles[0] == "What would make it fit"

    def test_back_closes_it(self, page: Page) -> None:
        page.click(".choices td a")
        page.until("return !document.querySelector('#explain').hidden")
        page.run("history.back()")
        page.until("return document.querySelector('#explain').hidden")


class TestLooks:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("view", [*VIEWS, "explain"])
    def test_no_sideways_scrolling_at_any_size(self, page: Page, view: str, size: str) -> None:
        page.size(*SIZES[size])
        address = first_answer(page).replace("decision?", "matrix?")
        for theme in ("light", "dark"):
            page.prefer(prefers_color_scheme=theme)
            page.open(address if view == "explain" else view)
            wide = (
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert page.run(wide) <= 0
            assert len(page.screenshot(f"{view}-{size}-{theme}")) > 10_000
        page.prefer()

    def test_theme_follows_the_system_and_the_button(self, page: Page) -> None:
        background = "return getComputedStyle(document.body).backgroundColor"
        page.prefer(prefers_color_scheme="light")
        light = page.run(background)
        page.prefer(prefers_color_scheme="dark")
        dark = page.run(background)
        assert light != dark
        page.click("#theme")
        assert page.run(background) == light
        page.run("localStorage.clear()")
        page.prefer()

    def test_prints_the_decision_on_a4(self, page: Page) -> None:
        printed = page.pdf()
        assert printed.startswith(b"%PDF")
        assert len(printed) > 20_000
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        try:
            assert page.shown("#view-decision")
            assert page.shown("#view-sources")
            assert not page.shown("#view-matrix")
            assert not page.shown("nav.views")
        finally:
            page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


class TestAccessibility:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    @pytest.mark.parametrize("view", [*VIEWS, "explain"])
    def test_axe_finds_nothing(self, page: Page, axe: str, view: str, theme: str) -> None:
        page.prefer(prefers_color_scheme=theme)
        address = first_answer(page).replace("decision?", "matrix?")
        page.open(address if view == "explain" else view)
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.run(axe)
        found = page.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations.map("
            "(v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200),"
            " v.nodes[0].any.map((a) => a.message)[0]])))"
        )
        page.prefer()
        assert found == []
