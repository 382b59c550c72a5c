"""Size and speed of the report: bytes, seconds in Python, milliseconds in the browser.

Plans come from plain formulas over real-looking axes. Prints one table; `--check` exits 1 where a
target is missed. The browser columns are empty where chromium or selenium is missing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planner.report import render_report
from planner.report.html import render_html
from tests.plan_factory import sized

SIZES = {200: (150_000, 1.5, 500), 2_000: (1_000_000, 1.5, 1_000)}
FILTER_MS = 50
DEADLINE_SECONDS = 20
FILTER = """
const box = document.querySelector('#q'), times = [];
for (const text of ['llama', 'llama lora', 'fp8 8k', '70b', '', 'qwen', 'assistant-3', '']) {
  box.value = text;
  const start = performance.now();
  box.dispatchEvent(new Event('input', {bubbles: true}));
  document.querySelector('#grid').offsetHeight;
  times.push(performance.now() - start);
}
return times;
"""


def browser() -> Any:
    """Debian's chromium, or None."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        return None
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(driver))


def load_ms(driver: Any, file: Path) -> tuple[float, float]:
    """Milliseconds until the matrix can be used, and of the slowest filter; medians of five."""
    ready, filters = [], []
    for _ in range(5):
        driver.get("about:blank")
        driver.get(f"file://{file}#matrix")
        end = time.monotonic() + DEADLINE_SECONDS
        while not (shown := driver.execute_script("return document.documentElement.dataset.ready")):
            if time.monotonic() > end:
                raise SystemExit("the page never became ready")
            time.sleep(0.01)
        ready.append(float(shown))
        filters.append(max(driver.execute_script(FILTER)))
    return statistics.median(ready), statistics.median(filters)


def main() -> int:
    """Measure, print, and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    check = parser.parse_args().check
    driver, missed = browser(), False
    names = ("html kB", "html s", "all s", "load ms", "filter ms")
    print(f"{'cases x 60':>12}" + "".join(f"{name:>11}" for name in names))
    for cases, (size_limit, python_limit, load_limit) in SIZES.items():
        plan, cells = sized(cases)
        render_html(plan)
        start = time.perf_counter()
        page = render_html(plan)
        html_seconds = time.perf_counter() - start
        start = time.perf_counter()
        render_report(plan, cells)
        all_seconds = time.perf_counter() - start
        load = slowest = None
        if driver is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "report.html"
                file.write_bytes(page)
                load, slowest = load_ms(driver, file)
        missed |= len(page) > size_limit or html_seconds > python_limit
        missed |= (load or 0) > load_limit or (slowest or 0) > FILTER_MS
        shown = [f"{v:.0f}" if v is not None else "-" for v in (load, slowest)]
        cells_of = (f"{len(page) / 1000:.1f}", f"{html_seconds:.2f}", f"{all_seconds:.2f}", *shown)
        print(f"{cases:>12,}" + "".join(f"{text:>11}" for text in cells_of))
    if driver is not None:
        driver.quit()
    return int(check and missed)


if __name__ == "__main__":
    raise SystemExit(main())
