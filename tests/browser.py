"""Chromium without a window, told what to do through a pipe in the Chrome DevTools Protocol."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: How long a browser may take for anything, in seconds.
PATIENCE_S = 60
#: What Chromium says of a script whose page was left meanwhile.
NAVIGATED = ("Inspected target navigated or closed", "Execution context was destroyed.")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_browser() -> str:
    """The browser's command. Without one the test is skipped, or fails where CAPTIONQA_DEMAND wants one."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"no browser is there ({', '.join(BROWSERS)}); as root: apt-get install chromium"
        if "chromium" in os.environ.get("CAPTIONQA_DEMAND", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class NavigatedError(AssertionError):
    """The page was left while a script of ours ran in it."""


class Tab:
    """One page. It keeps the messages of the console with the errors of scripts, and the URLs that it asked for."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900, dark: bool = False):
        """`folder` is for the browser's own files; the size is in pixels."""
        to_browser, self._writing = os.pipe()
        self._reading, from_browser = os.pipe()
        # the browser reads from descriptor 3 and writes to 4
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", find_browser(), *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.console: list[str] = []
        self.requested: list[str] = []
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session: str | None = None
        self._session = self.call("Target.attachToTarget", targetId=self._first_page(), flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._writing)
        os.close(self._reading)

    def call(self, method: str, **parameters) -> dict:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            navigated = answer["error"]["message"] in NAVIGATED
            raise (NavigatedError if navigated else AssertionError)(method, answer["error"])
        return answer["result"]

    def _first_page(self) -> str:
        """The id of the page that the browser opens at its start, which it may do only after its first answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for target in self.call("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    return target["targetId"]
            assert time.monotonic() < deadline, "the browser opens no page"
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, url: str) -> None:
        """Open a page and wait until its scripts have shown what there is."""
        self.call("Page.navigate", url=url)
        self.wait(
            "document.readyState === 'complete' && "
            "document.querySelector('article, .message, .fault, .data-set') !== null"
        )

    def run(self, expression: str):
        """The value of an expression, of a promise what it resolves to."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, (expression, done["exceptionDetails"])
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a condition holds, on the next page where a click leads to one."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._holds(condition):
            assert time.monotonic() < deadline, f"waited in vain for {condition}; {self.console}"
            time.sleep(0.05)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.run(condition))
        except NavigatedError:
            return False

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a selector finds, as a person does."""
        found = json.dumps(selector)
        self.run(f"document.querySelector({found}).scrollIntoView({{block: 'center'}})")
        x, y = self.run(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"(document.querySelector({found}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key; one that stands for a letter also types it."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _message(self) -> dict:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            poll = select.poll()  # select takes no descriptor above 1,023, and a long test run has as many open
            poll.register(self._reading, select.POLLIN)
            assert poll.poll(1000 * max(0, deadline - time.monotonic())), "the browser does not answer"
            read = os.read(self._reading, 1 << 16)
            assert read, "the browser has ended"
            self._buffer += read
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _note(self, event: dict) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(parameters["exceptionDetails"]["exception"].get("description", "an exception"))
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.console.append(str(parameters["args"]))
        elif event.get("method") == "Log.entryAdded":
            self.console.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif event.get("method") == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
