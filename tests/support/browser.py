"""A real headless Chromium for the tests, and axe-core's rules in it."""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.support.parts import missing_part, require_program

ROOT = Path(__file__).parents[2]
AXE = Path(__file__).parents[1] / "axe" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / "build" / "screenshots"
WIDTHS = {"desktop": 1100, "phone": 390}
ARGUMENTS = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    # Nothing but this machine can be reached, whatever the browser would like to fetch.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

SYMBOL_ALONE = ("shortTextContent", "nonBmp")


class Browser:
    """One browser with one page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    def look(self, *, width="desktop", scheme="light", script=True):
        """Be a screen of that width, in that colour scheme, with or without JavaScript, from the next page on."""
        size = {"width": WIDTHS[width], "height": 844, "deviceScaleFactor": 1, "mobile": width == "phone"}
        self._cdp("Emulation.setDeviceMetricsOverride", **size)
        self._cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._cdp("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, url):
        self._driver.get(url)

    def run(self, script, *arguments):
        """The value of a function's body."""
        return self._driver.execute_script(script, *arguments)

    def text(self, selector="body"):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def complaints(self):
        """What the console got since the last question: errors of scripts, and violations of the page's policy."""
        return [entry["message"] for entry in self._driver.get_log("browser") if entry["level"] == "SEVERE"]

    def violations(self):
        """Every rule of axe-core that the page breaks or may break, best practices among them, and where.

        What axe-core cannot decide is among them, except the contrast of single symbols: each repeats a word beside it.
        """
        if not AXE.exists():
            missing_part("axe-core is not there (npm ci --prefix tests/axe)")
        assert self.complaints() == [], "before axe-core itself does what the page's policy forbids"
        if not self.run("return 'axe' in window"):
            self._cdp("Runtime.evaluate", expression=AXE.read_text())
        found = self._driver.execute_async_script("const done = arguments[0]; axe.run().then(done)")
        self.complaints()
        assert len(found["passes"]) > 20
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"] + found["incomplete"]
            for node in rule["nodes"]
            if not any((check["data"] or {}).get("messageKey") in SYMBOL_ALONE for check in node["any"])
        ]

    def roles(self, *wanted):
        """(role, name) of everything with a role of ``wanted`` that a screen reader is told, in order."""
        nodes = self._cdp("Accessibility.getFullAXTree")["nodes"]
        told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
        return [pair for pair in told if pair[0] in wanted]

    def screenshot(self, name):
        """The whole page as ``build/screenshots/NAME.png``, which CI keeps."""
        shot = self._cdp("Page.captureScreenshot", captureBeyondViewport=True)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def _cdp(self, method, **arguments):
        return self._driver.execute_cdp_cmd(method, arguments)


@contextlib.contextmanager
def browser(profile: Path):
    """A browser for a block, with its profile in an empty folder."""
    options = Options()
    options.binary_location = require_program("chromium", "chromium")
    arguments = [*ARGUMENTS, f"--user-data-dir={profile}"]
    for argument in arguments if os.geteuid() else [*arguments, "--no-sandbox"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(executable_path=require_program("chromedriver", "chromium-driver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
