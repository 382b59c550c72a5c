"""A report opened in a browser, in the words of the tests."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

_DEADLINE_SECONDS = 10.0


class Page:
    """One report file in the driver's window."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver = driver
        self.file = file

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, **features: str) -> None:
        """Emulate media features, `prefers_color_scheme="dark"`; none resets them."""
        found = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": found})

    def open(self, address: str = "") -> None:
        """Load the file afresh at `#address` and wait until the matrix is unpacked."""
        self.driver.get("about:blank")
        self.logs()
        self.driver.get_log("performance")
        self.driver.get(f"file://{self.file}#{address}")
        self.until("return document.documentElement.dataset.ready")

    def until(self, script: str) -> Any:
        """The first true value of `script`."""
        end = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.02)
        raise AssertionError(f"never came true: {script}\n{self.logs()}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return str(
            self.run("return document.querySelector(arguments[0]).textContent", selector)
        ).strip()

    def shown(self, selector: str) -> bool:
        return bool(
            self.run(
                "const node = document.querySelector(arguments[0]);"
                "return !!node && node.checkVisibility()",
                selector,
            )
        )

    def logs(self) -> list[dict[str, Any]]:
        return list(self.driver.get_log("browser"))

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, the file itself left out."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith((f"file://{self.file}", "about:")):
                    found.append(url)
        return found

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def type(self, selector: str, text: str) -> None:
        node = self.driver.find_element("css selector", selector)
        node.clear()
        node.send_keys(text)

    def choose(self, selector: str, value: str) -> None:
        self.run(
            "const n = document.querySelector(arguments[0]); n.value = arguments[1];"
            "n.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            value,
        )

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def screenshot(self, name: str) -> bytes:
        picture = bytes(self.driver.get_screenshot_as_png())
        if folder := os.environ.get("PLANNER_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(picture)
        return picture

    def pdf(self) -> bytes:
        printed = self.driver.execute_cdp_cmd(
            "Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True}
        )
        return base64.b64decode(printed["data"])
