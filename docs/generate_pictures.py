"""Take the pictures of docs/img anew from the plans of scenarios/, in Debian's Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from planner.pipeline import open_scenario, plan_context  # noqa: E402
from planner.plan import Plan  # noqa: E402
from planner.report.html import render_html  # noqa: E402
from tests.browser.page import Page  # noqa: E402

EXPLAINED = urlencode(
    {
        "case": "serve/llama-3.1-8b-instruct/method=inference/weight_format=bf16"
        "/context_tokens=8192/concurrent_sequences=16",
        "on": "1x a10g-24gb",
    }
)
PICTURES = (
    ("decision", "quickstart", "decision", 860, 0),
    ("matrix", "quickstart", f"matrix?{EXPLAINED}", 860, 0),
    ("compare", "quickstart", "compare", 860, 0),
    ("limits", "support-chat", "limits", 760, 0),
    ("cost", "support-chat", "cost", 860, 320),
    ("changed", "support-chat", "changed", 760, 0),
)
WIDTH = 1280
BEFORE = (("H100, H200]", "H100]"), ("nebius, ", ""))
"""What is taken out of the supply of support-chat for the plan that it is compared with."""


def plan_of(file: Path) -> Plan:
    return plan_context(open_scenario(file), command=f"planner report {file.name}").plan


def reports(folder: Path) -> dict[str, Path]:
    """The page of each scenario in the pictures, support-chat's with a base."""
    text = (ROOT / "scenarios" / "support-chat.yaml").read_text("utf-8")
    for now, before in BEFORE:
        if now not in text:
            raise SystemExit(f"support-chat.yaml has no {now!r}")
        text = text.replace(now, before)
    old = folder / "support-chat.yaml"
    old.write_text(text, "utf-8")
    bases = {"support-chat": plan_of(old)}
    found = {}
    for name in dict.fromkeys(scenario for _, scenario, *_ in PICTURES):
        plan = plan_of(ROOT / "scenarios" / f"{name}.yaml")
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(render_html(plan, bases.get(name)))
    return found


def browser() -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        raise SystemExit("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def main() -> None:
    """Write every picture; with ImageMagick at hand they get a palette, which is a third."""
    driver, convert = browser(), shutil.which("convert")
    with tempfile.TemporaryDirectory() as folder:
        files = reports(Path(folder))
        for name, scenario, address, height, scrolled in PICTURES:
            page = Page(driver, files[scenario])
            page.size(WIDTH, height)
            page.prefer(prefers_color_scheme="light")
            page.open(address)
            page.run("scrollTo({top: arguments[0], behavior: 'instant'})", scrolled)
            target = ROOT / "docs" / "img" / f"{name}.png"
            target.write_bytes(page.screenshot(name))
            if convert:
                options = ["-strip", "-dither", "None", "-colors", "255"]
                subprocess.run([convert, target, *options, f"PNG8:{target}"], check=True)  # noqa: S603
    driver.quit()


if __name__ == "__main__":
    main()
