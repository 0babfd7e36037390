"""A window on the screen, where OpenCV was built with one and there is a screen."""

import os
import re
import sys
from typing import Self, final

from mbseg.errors import ConfigError
from mbseg.video.opencv import quiet_cv2
from mbseg.video.sinks import Shown, Sink

ENOUGH = (ord("q"), ord("Q"), 27)  # 27: Escape
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


@final
class Window(Sink):
    """Shows every frame; q, Escape or closing the window ends the stream. For the main thread only.

    Raises ConfigError where there can be no window.
    """

    def __init__(self, title: str) -> None:
        check_window()
        self.title = title
        self._wants_more = True

    def __enter__(self) -> Self:
        cv2 = quiet_cv2()
        cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        return self

    def write(self, shown: Shown) -> None:
        cv2 = quiet_cv2()
        cv2.imshow(self.title, shown.picture)
        key = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        self._wants_more = key not in ENOUGH and not closed

    @property
    def wants_more(self) -> bool:
        return self._wants_more

    def __exit__(self, _kind: type[BaseException] | None, /, *_error: object) -> None:
        quiet_cv2().destroyAllWindows()


def check_window() -> None:
    """Raises ConfigError where OpenCV has no window, or would end the process for want of a screen (on Linux)."""
    instead = "use --serve PORT for a page in the browser, or --output"
    gui = re.search(r"GUI:\s*(\S+)", quiet_cv2().getBuildInformation())
    if gui is None or gui[1] == "NONE":
        raise ConfigError(f"--window: this OpenCV was built without windows (opencv-python-headless); {instead}")
    if sys.platform == "linux" and not any(os.environ.get(screen) for screen in SCREENS):
        raise ConfigError(f"--window: there is no screen (neither {' nor '.join(SCREENS)} is set); {instead}")
