"""A real browser: Debian's chromium with its own driver, nothing downloaded.

The tests skip where chromium, chromedriver or selenium is missing. `PLANNER_SCREENSHOTS=folder`
keeps the screenshots; `AXE_CORE=path/to/axe.min.js` (or node_modules/axe-core beside the project)
adds the accessibility audit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.report.html import render_html
from tests.browser.page import Page
from tests.plan_factory import earlier, small

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    browser, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not chromedriver:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--window-size=1440,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports on disk: a plain one and one of which every name tries to break out."""
    folder = tmp_path_factory.mktemp("reports")
    found = {}
    for name, hostile in (("plain", False), ("hostile", True)):
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(render_html(small(hostile)[0], earlier(hostile)))
    return found


@pytest.fixture
def page(driver: Any, files: dict[str, Path]) -> Page:
    """The plain report, just opened on a wide screen."""
    page = Page(driver, files["plain"])
    page.size(1440, 1000)
    page.open("decision")
    return page


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, for tests only: it is not part of the report."""
    named = os.environ.get("AXE_CORE")
    path = Path(named) if named else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        pytest.skip("needs axe-core: npm install --no-save axe-core, or AXE_CORE=axe.min.js")
    return path.read_text("utf-8")
