"""A headless Chromium at the other end of a pipe: load a page, hear its console and its requests, ask it things.

Speaks the DevTools protocol over descriptors 3 and 4 (``--remote-debugging-pipe``): JSON with a zero byte after each.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0
_PASS_ON = "import os, sys; r, w = int(sys.argv[1]), int(sys.argv[2]); os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"  # noqa: E501


def chromium() -> str | None:
    """Return where Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab. `problems` are console errors and exceptions, `requests` every URL asked for beside the page itself."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.problems: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer of one protocol call. Raises AssertionError for a refusal."""
        return self._browser.call(method, params, self._session, self)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Take one event."""
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(params["args"])[:600])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def size(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str, medium: str = "") -> None:
        """Prefer ``light`` or ``dark``; `medium` may be ``print``."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)

    def open(self, path: Path, *, scripts: bool = True) -> None:
        """Load a file and wait until it is loaded."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._browser.loaded.discard(self._session)
        self.call("Page.navigate", url=path.as_uri())
        self._browser.wait_for(lambda: self._session in self._browser.loaded, self)
        self.requests = [url for url in self.requests if url != path.as_uri()]

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key such as ``Tab`` or ``ArrowRight``."""
        codes = {"Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        more = {"windowsVirtualKeyCode": codes[key]} if key in codes else {"text": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, from_x: float, to_x: float, y: float) -> None:
        """Press the mouse at (from_x, y), move to (to_x, y) and release."""
        for kind, x in (
            ("mouseMoved", from_x),
            ("mousePressed", from_x),
            ("mouseMoved", to_x),
            ("mouseReleased", to_x),
        ):
            buttons = {} if kind == "mouseMoved" and x == from_x else {"button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)

    def picture(self, path: Path) -> None:
        """Write a PNG of what is in the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


class Browser:
    """The process and its pipe."""

    def __init__(self, process: subprocess.Popen[bytes], to_browser: int, from_browser: int) -> None:
        self._process = process
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._heard = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self.loaded: set[str] = set()
        """Sessions whose page has loaded."""

    def page(self) -> Page:
        """Return a new tab."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session)

    def call(
        self, method: str, params: dict[str, Any], session: str | None = None, page: Page | None = None
    ) -> dict[str, Any]:
        """Return the answer of one protocol call. Raises AssertionError for a refusal or none in time."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        self.wait_for(lambda: number in self._answers, page)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, fact: Any, page: Page | None) -> None:
        """Take messages until `fact()` holds; fail after DEADLINE_S."""
        end = time.monotonic() + DEADLINE_S
        while not fact():
            ready, _, _ = select.select([self._from], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser did not answer in time"
            chunk = os.read(self._from, 1 << 20)
            assert chunk, f"the browser ended with status {self._process.wait(10)}"
            *messages, self._heard = (self._heard + chunk).split(b"\0")
            for text in messages:
                self._take(json.loads(text), page)

    def _take(self, message: dict[str, Any], page: Page | None) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self.loaded.add(message["sessionId"])
        elif page is not None:
            page.hear(message["method"], message["params"])


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium with an empty profile and no way out but files; end it and all its processes afterwards."""
    program = chromium()
    assert program is not None
    to_child, to_browser = os.pipe()
    from_browser, from_child = os.pipe()
    flags = (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        "--disable-dev-shm-usage", "--remote-debugging-pipe",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [sys.executable, "-c", _PASS_ON, str(to_child), str(from_child), program, *flags,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_child, from_child), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        try:
            yield Browser(process, to_browser, from_browser)
        finally:
            os.close(to_browser)
            os.close(from_browser)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
