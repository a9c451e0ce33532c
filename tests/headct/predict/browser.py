"""Chromium as a fixture: pages opened from the disk, with nothing that leaves them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "use-gl=angle", "use-angle=swiftshader",
    "enable-unsafe-swiftshader", "host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


class Browser:
    """A page in Chromium, and what it asked the network for."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, ready: bool = True) -> None:
        """Load a file; with `ready`, wait until its script has drawn."""
        self.driver.get(path.as_uri())
        if ready:
            self.wait("return document.documentElement.dataset.ready === 'yes'")

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 60) -> None:
        """Until a script returns something true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"waited {seconds} s for {script}; {self.complaints()}"
            time.sleep(0.05)

    def drawn(self) -> None:
        """Until what was asked for is on the screen."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def press(self, key: str) -> None:
        """A key, wherever the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35}
            code = codes.get(key, ord(key[0].upper()))
            event: dict[str, Any] = {"type": kind, "key": key, "windowsVirtualKeyCode": code, "code": key}
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)
        self.drawn()

    def pixels(self, canvas: str) -> list[list[list[int]]]:
        """RGB of a canvas, made 64 pixels wide and high."""
        flat = self.run(
            "const c = document.createElement('canvas'); c.width = c.height = 64;"
            "const x = c.getContext('2d'); x.drawImage(document.getElementById(arguments[0]), 0, 0, 64, 64);"
            "return [...x.getImageData(0, 0, 64, 64).data]",
            canvas,
        )
        rows = [flat[i : i + 256] for i in range(0, len(flat), 256)]
        return [[row[i : i + 3] for i in range(0, 256, 4)] for row in rows]

    def found(self, canvas: str, colour: Sequence[int]) -> list[float]:
        """How many pixels of a canvas have a colour; its first and last column as shares of its width."""
        return self.run(
            "const c = document.getElementById(arguments[0]), [r, g, b] = arguments[1];"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let n = 0, first = 1, last = 0;"
            "for (let i = 0; i < d.length; i += 4) {"
            "  const away = [d[i] - r, d[i + 1] - g, d[i + 2] - b].map(Math.abs);"
            "  if (Math.max(...away) > 40) continue;"
            "  const x = (i / 4 % c.width) / c.width;"
            "  n++; first = Math.min(first, x); last = Math.max(last, x);"
            "} return [n, first, last]",
            canvas,
            list(colour),
        )

    def requests(self) -> list[str]:
        """Addresses that pages asked for since the last call, without data within them."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        """Lines of the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def pdf(self) -> bytes:
        """The page as it is printed."""
        settings = {"preferCSSPageSize": True, "printBackground": False}
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", settings)["data"])


def pages_of(pdf: bytes) -> int:
    """Number of pages of a PDF by Chromium."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def start(folder: Path) -> Iterator[Browser]:
    """Chromium with a new profile in a folder; skips where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    control = shutil.which("chromedriver")
    if not chromium or not control:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.common import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"user-data-dir={folder / 'profile'}", "window-size=1280,900"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        service = webdriver.ChromeService(control, log_output=subprocess.DEVNULL)
        driver = webdriver.Chrome(options=options, service=service)
    except WebDriverException as error:
        pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
    try:
        yield Browser(driver)
    finally:
        driver.quit()
