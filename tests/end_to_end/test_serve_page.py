"""The live page in a real browser: Debian's and Ubuntu's package `chromium`, with the camera that it plays itself."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mbseg.video.names import Names
from mbseg.video.serve.server import Server
from tests.browser import Page, chromium, first, started_page
from tests.served import BLACK, MASK, RED, TOKEN, grey, serving, shown

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here; apt-get install chromium brings it")
pytest.importorskip("aiohttp")

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PATIENCE = 30  # seconds; none of it is needed unless something hangs
EVIL = "<img src=x onerror=\"console.error('in')\"></script>&'"
LEFT, RIGHT, EDGE = (0.3, 0.7), (0.7, 0.7), (0.1, 0.25)  # x and y, of the picture: background, wall, the door's side
GREY, COVERED, BLUE = (200, 200, 200), (230, 80, 80), (0, 0, 250)  # 60 % of the wall's red over grey


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with started_page(tmp_path_factory.mktemp("chromium"), *FAKE_CAMERA) as page:
        page.show_as(1100, 1000, scheme="light")
        yield page


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def page(browser: Page, server: Server) -> Iterator[Page]:
    """The page with a grey picture in it; whatever a test does, it makes no complaint and asks for no other file."""
    server.sink.write(shown(server, grey(200, height=240, width=320)))
    browser.open_address(server.address)
    until(lambda: number(browser) == 1)
    yield browser
    assert browser.complaints == []
    assert browser.requests == [server.address]
    browser.open_address("about:blank")  # says goodbye before the server does


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def number(page: Page) -> int:
    """Of the frame on the stage."""
    return int(page.evaluate(f"{first('#stage')}.dataset.number ?? 0"))


def colour(page: Page, place: tuple[float, float]) -> tuple[int, ...]:
    """What is drawn there."""
    x, y = place
    moved = f"-Math.floor({x} * it.width), -Math.floor({y} * it.height)"
    pixel = f"(pen.drawImage(it, {moved}), [...pen.getImageData(0, 0, 1, 1).data])"
    pens = "new OffscreenCanvas(1, 1).getContext('2d')"
    return tuple(page.evaluate(f"((it, pen) => {pixel})({first('#stage')}, {pens})")[:3])


def alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Up to what JPEG changes."""
    return bool(np.abs(np.subtract(one, other)).max() <= 12)


def button(name: str) -> str:
    return f"#legend li:nth-child({('background', 'wall', 'door').index(name) + 1}) button"


def test_the_class_map_and_the_boxes_lie_over_the_source(page):
    assert alike(colour(page, LEFT), GREY)
    assert alike(colour(page, RIGHT), COVERED)
    assert alike(colour(page, EDGE), BLUE)
    assert page.text("#title") == "halves" and page.text("#description") == "by hand"
    assert page.text("#status").startswith("Connected")


def test_without_opacity_the_picture_is_bare_and_the_boxes_stay(page):
    page.evaluate(f"{first('#opacity')}.focus()")
    page.press("Home", 36)
    assert page.text("#opacity-value") == "0 %"
    assert alike(colour(page, RIGHT), GREY)
    assert alike(colour(page, EDGE), BLUE)
    page.press("End", 35)
    assert alike(colour(page, RIGHT), RED)


def test_the_page_begins_with_the_opacity_of_the_command_line(browser):
    with serving(opacity=0.25) as server:
        server.sink.write(shown(server, grey(200, height=240, width=320)))
        browser.open_address(server.address)
        until(lambda: number(browser) == 1)
        assert browser.text("#opacity-value") == "25 %"
        assert browser.evaluate(f"{first('#opacity')}.value") == "25"
        assert alike(colour(browser, RIGHT), (212, 150, 150))  # a quarter of red over grey
        browser.open_address("about:blank")


def test_a_class_that_is_switched_off_vanishes_until_it_is_switched_on(page):
    page.click(button("wall"))
    assert page.evaluate(f"{first(button('wall'))}.ariaPressed") == "false"
    assert alike(colour(page, RIGHT), GREY) and alike(colour(page, EDGE), BLUE)
    page.click(button("door"))
    assert alike(colour(page, EDGE), GREY)
    page.click("#all")
    assert alike(colour(page, RIGHT), COVERED) and alike(colour(page, EDGE), BLUE)
    page.click("#none")
    assert alike(colour(page, RIGHT), GREY) and alike(colour(page, EDGE), GREY)


def test_the_legend_counts_pixels_and_boxes(page):
    until(lambda: page.text(f"{button('wall')} small"))
    assert page.text(f"{button('background')} small") == "50.0 %"
    assert page.text(f"{button('wall')} small") == "50.0 %"
    assert page.text(f"{button('door')} small") == "1 ×"


def test_frames_go_on_unless_the_page_is_paused(page, server):
    def write(level: int) -> None:
        server.sink.write(shown(server, grey(level, height=120, width=160)))

    write(100)
    until(lambda: number(page) == 2)
    assert alike(colour(page, LEFT), (100, 100, 100))
    page.click("#pause")
    for level in range(5):
        write(level)
    until(lambda: page.evaluate("state.asked") == 0)  # those that were on their way have come
    assert number(page) == 2 and page.text("#pause") == "Go on"
    page.click("#pause")
    write(50)
    until(lambda: alike(colour(page, LEFT), (50, 50, 50)))
    assert number(page) == 8


def test_speed_and_times_are_shown(page, server):
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(0.02):
            server.sink.write(shown(server, grey(100)))

    player = threading.Thread(target=play)
    player.start()
    until(lambda: page.text("#fps").endswith("FPS") and page.text("#round-trip").endswith("ms"))
    stop.set()
    player.join()
    assert float(page.text("#fps").split()[0]) > 0
    assert page.text("#server").endswith("ms")
    assert page.text("#size") == "64 × 48"


def test_the_visitors_camera_is_answered_and_given_back(page, server):
    page.click("#camera")
    until(lambda: "not stored" in page.text("#status") and page.text("#network"))
    seen = number(page)
    until(lambda: number(page) > seen + 5)
    bare, covered = colour(page, LEFT), colour(page, RIGHT)
    assert bare[0] < 60 < bare[1]  # the camera's picture is green
    assert covered[0] > 120 > covered[1]
    assert page.text("#camera") == "Back to the source"
    page.click("#camera")
    server.sink.write(shown(server, grey(200)))
    until(lambda: alike(colour(page, RIGHT), COVERED))
    assert page.evaluate("video.srcObject") is None


def test_without_a_source_the_page_invites_to_use_the_camera(browser):
    with serving(has_source=False) as server:
        browser.open_address(server.address)
        until(lambda: "Use my camera" in browser.text("#hint"))
        browser.click("#camera")
        until(lambda: number(browser) > 3)
        assert browser.text("#hint") == ""
        browser.click("#camera")
        until(lambda: "Use my camera" in browser.text("#hint"))
        assert browser.complaints == []


def test_a_camera_that_is_refused_is_one_friendly_line(page):
    page.evaluate("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Permission denied') }")
    page.click("#camera")
    until(lambda: page.text("#status") == "The camera cannot be used: Permission denied")
    assert not page.evaluate(f"{first('#camera')}.disabled")


def test_the_page_comes_back_when_the_server_does(browser):
    with serving() as server:
        server.sink.write(shown(server, grey(100)))
        browser.open_address(server.address)
        until(lambda: number(browser) == 1)
    until(lambda: browser.text("#status").startswith("The demo has ended"))
    with serving(port=server.port) as again:
        until(lambda: browser.text("#status").startswith("Connected"))
        again.sink.write(shown(again, grey(50)))
        until(lambda: alike(colour(browser, LEFT), (50, 50, 50)))


def test_the_page_is_refused_without_its_token(browser, server):
    browser.open_address(server.address.replace(TOKEN, "another"))
    assert browser.text("body").startswith("This page needs the whole address")


def test_texts_stay_texts(browser):
    with serving(mask=Names(("background", EVIL), MASK.palette), boxes=None, title=EVIL) as server:
        browser.open_address(server.address)
        until(lambda: browser.text("#title") == EVIL)
        assert browser.text("#legend li:nth-child(2) span") == EVIL
        assert browser.evaluate("document.images.length") == 0
        assert browser.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_window(page, scheme):
    page.show_as(360, 800, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(f"{first('#stage')}.clientWidth") > 250
    page.show_as(1100, 1000, scheme="light")


def test_everything_can_be_reached_and_used_by_keyboard(page):
    names = []
    for _ in range(8):
        page.press("Tab", 9)
        names.append(page.evaluate("(it => it.labels?.[0]?.innerText ?? it.innerText)(document.activeElement)"))
    assert [name.split("\n")[0].strip() for name in names] == [
        "Use my camera",
        "Pause",
        "Opacity",
        "Show all",
        "Hide all",
        "background",
        "wall",
        "door",
    ]


def test_a_black_class_leaves_the_picture_bare_like_every_overlay_here(browser):
    with serving(mask=Names(("one", "two"), (BLACK, BLACK)), boxes=None) as server:
        server.sink.write(shown(server, grey(200)))
        browser.open_address(server.address)
        until(lambda: number(browser) == 1)
        assert alike(colour(browser, LEFT), GREY) and alike(colour(browser, RIGHT), GREY)
