"""A headless Chromium, driven over its DevTools pipe: messages of JSON, each ended by a zero byte."""

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
)
ON_FD_3_AND_4 = 'exec "$0" "$@" 3<&0 4>&0'  # where Chromium reads and writes
PATIENCE = 60  # seconds for an answer


def chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def started_page(profile: Path, *more: str) -> Iterator["Page"]:
    """An empty page in a browser of its own, which keeps its files in the folder `profile`; `more` flags."""
    ours, theirs = socket.socketpair()
    program = chromium()
    assert program is not None, "callers check it"
    flags = [*FLAGS, *more, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (
        ours,
        subprocess.Popen(
            ["sh", "-c", ON_FD_3_AND_4, program, *flags],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        theirs.close()
        ours.settimeout(PATIENCE)
        try:
            page = Page(ours)
            yield page
            page.close()
            process.wait(PATIENCE)
        finally:
            process.kill()


class Page:
    """One tab: what it is told, what it shows, and what it complained about or asked for."""

    def __init__(self, pipe: socket.socket):
        self.pipe, self.received, self.sent = pipe, b"", 0
        self.session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.events: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a DevTools command; events that come in between are noted."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.pipe.sendall(json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.sent:
            self.note(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.received:
            data = self.pipe.recv(1 << 16)
            assert data, "the browser ended"
            self.received += data
        message, _, self.received = self.received.partition(b"\0")
        return json.loads(message)

    def note(self, event: dict[str, Any]) -> None:
        method, params = event["method"], event["params"]
        self.events.append(method)
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, file: Path) -> None:
        """Loads the file; what was noted before is forgotten."""
        self.open_address(file.as_uri())

    def open_address(self, address: str) -> None:
        """Loads the page; what was noted before is forgotten."""
        self.complaints, self.requests, self.events = [], [], []
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self.events:
            self.note(self.receive())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What a reader sees of the first such element; "" when it is hidden."""
        return self.evaluate(f"(it => it.checkVisibility() ? it.innerText ?? it.textContent : '')({first(selector)})")

    def middle(self, selector: str) -> tuple[float, float]:
        """Of the first such element, scrolled into view: x and y in the window."""
        self.evaluate(f"{first(selector)}.scrollIntoView({{block: 'nearest'}})")
        box = f"{first(selector)}.getBoundingClientRect()"
        x, y = self.evaluate(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
        return x, y

    def move_mouse(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def show_as(self, width: int, height: int, *, scheme: str) -> None:
        """In a window of that size, "light" or "dark"."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        self.session = None
        self.call("Browser.close")


def first(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"
