"""A browser without a window, driven by its DevTools protocol: what a user of the viewer would see."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=800,500",
)  # fmt: skip


def chromium() -> str:
    """The browser's program; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"there is no {' or '.join(NAMES)} here (Debian/Ubuntu: apt-get install chromium)")
    return found


class RefusedError(Exception):
    """The browser could not do what it was told."""


class Browser:
    """One page.

    Args:
        folder: an empty one, for the browser's own files.
        flags: instead of those of a small window.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        from websockets.sync.client import connect

        command = [chromium(), *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = folder / "DevToolsActivePort"
        within(60.0, lambda: port_file.exists() and len(port_file.read_text().split()) == 2)
        port, path = port_file.read_text().split()
        self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        self._last = 0
        self._session: str | None = None
        target = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **parameters: object) -> dict:
        """A command's result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=60.0))
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RefusedError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address, and wait until its page has a slider."""
        self.call("Page.navigate", url=url)

        def there() -> bool:
            try:
                return bool(self.value(f"location.href.startsWith('{url}') && !!document.querySelector('[role=slider]')"))
            except RefusedError:  # between two pages there is none
                return False

        within(60.0, there)

    def value(self, expression: str) -> Any:
        """Of an expression in the page's language."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """Press and release at a point of the page."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self) -> np.ndarray:
        """The page as it is now, sRGB uint8 (H, W, 3)."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(20.0)


def within(seconds: float, condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.5)
