"""Several sinks at once, and the window, which only some machines have."""

from types import SimpleNamespace

import numpy as np
import pytest

from mbseg.errors import ConfigError
from mbseg.runtime.answers import Answer
from mbseg.video import window
from mbseg.video.frames import Frame
from mbseg.video.opencv import quiet_cv2
from mbseg.video.sinks import Nowhere, Shown, Sink, Together
from mbseg.video.window import Window
from tests.streams import Memory

PIXELS = np.zeros((4, 6, 3), np.uint8)
SHOWN = Shown(Frame("a.png", PIXELS), Answer(), PIXELS)


class Undrawn(Memory):
    draws = False


class Recorder(Sink):
    """Notes when it is opened and with which error it is closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.notes: list[object] = []

    def __enter__(self) -> "Recorder":
        if self.error:
            raise self.error
        self.notes.append("open")
        return self

    def write(self, shown: Shown) -> None:
        self.notes.append(shown.frame.name)

    def __exit__(self, kind: type[BaseException] | None, /, *_error: object) -> None:
        self.notes.append(kind)


def test_sinks_together_all_get_every_frame() -> None:
    sinks = Recorder(), Recorder()
    with Together(sinks) as together:
        together.write(SHOWN)
    assert [sink.notes for sink in sinks] == [["open", "a.png", None]] * 2


def test_the_frame_is_drawn_if_one_of_them_wants_it() -> None:
    assert not Together([Undrawn(), Undrawn()]).draws
    assert Together([Undrawn(), Memory()]).draws
    assert Nowhere().draws  # what is measured is the whole way


def test_the_first_that_has_had_enough_ends_all() -> None:
    together = Together([Memory(), Memory(limit=1)])
    assert together.wants_more
    together.write(SHOWN)
    assert not together.wants_more


def test_an_error_is_told_to_all_of_them() -> None:
    sinks = Recorder(), Recorder()
    with pytest.raises(ZeroDivisionError), Together(sinks):
        raise ZeroDivisionError
    assert [sink.notes[-1] for sink in sinks] == [ZeroDivisionError] * 2


def test_if_one_cannot_be_opened_those_before_it_are_closed() -> None:
    first = Recorder()
    with pytest.raises(OSError, match="no room"), Together([first, Recorder(OSError("no room"))]):
        pass
    assert first.notes == ["open", OSError]


def test_a_build_of_opencv_without_windows_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_cv2(), "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(ConfigError, match=r"without windows.*use --serve PORT"):
        Window("a")


def test_a_machine_without_a_screen_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_cv2(), "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setattr(window.sys, "platform", "linux")
    for name in window.SCREENS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="there is no screen"):
        Window("a")


@pytest.mark.parametrize(("key", "visible", "wants_more"), [(-1, 1.0, True), (ord("q"), 1.0, False), (-1, 0.0, False)])
def test_a_window_shows_the_drawn_frame_until_q_or_until_it_is_closed(
    key: int, visible: float, wants_more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    screen = SimpleNamespace(
        WINDOW_NORMAL=0,
        WINDOW_KEEPRATIO=0,
        WND_PROP_VISIBLE=0,
        getBuildInformation=lambda: "GUI: COCOA",
        namedWindow=lambda _title, _flags: None,
        imshow=lambda _title, picture: shown.append(picture),
        waitKey=lambda _milliseconds: key,
        getWindowProperty=lambda _title, _property: visible,
        destroyAllWindows=lambda: shown.append("closed"),
    )
    monkeypatch.setattr(window, "quiet_cv2", lambda: screen)
    monkeypatch.setattr(window.sys, "platform", "darwin")
    with Window("a") as sink:
        sink.write(SHOWN)
        assert sink.wants_more is wants_more
    assert shown[0] is PIXELS and shown[1:] == ["closed"]
