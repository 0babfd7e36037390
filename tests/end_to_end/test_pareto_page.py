"""The page in a real browser: Debian's and Ubuntu's package `chromium`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mbseg.analysis.pareto import Point, pareto_front
from mbseg.analysis.pareto_page import pareto_page
from tests.browser import Page, chromium, started_page

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium here; apt-get install chromium brings it")

MADDS, LATENCY = "multiply-adds [B]", "latency [ms]"
EVIL = "<img src=x onerror=\"console.error('in')\"></script>&'"


def row(label: str, group: str, madds: float, latency: float, miou: float, boundary: float) -> Point:
    scores = {"mIoU": miou, "Boundary IoU": boundary}
    return Point(label, {MADDS: madds, LATENCY: latency}, scores, group, details={"run": f"runs/{label}"})


POINTS = (
    row("fine", "stride 8", 10.0, 90.0, 0.66, 0.50),
    row("middle", "stride 16", 2.7, 30.0, 0.64, 0.44),
    row("no better", "stride 16", 3.0, 29.0, 0.63, 0.45),
    row("coarse", "stride 32", 1.6, 20.0, 0.58, 0.35),
    Point("printed", {MADDS: 2.75}, {"mIoU": 0.757}, "stride 16", published=True, details={"source": "a paper"}),
    Point("not trained", {MADDS: 5.0, LATENCY: 40.0}, {}, "stride 8"),
    replace(row(EVIL, EVIL, 4.0, 35.0, 0.50, 0.3), spread={"mIoU": (0.49, 0.52)}, details={EVIL: EVIL}),
)
INDEX = {point.label: index for index, point in enumerate(POINTS)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with started_page(tmp_path_factory.mktemp("chromium")) as page:
        page.show_as(1100, 1000, scheme="light")
        yield page


@pytest.fixture
def page(browser: Page, tmp_path: Path) -> Iterator[Page]:
    """The page of POINTS, freshly loaded; whatever a test does, it makes no complaint and asks for no other file."""
    file = tmp_path / "pareto.html"
    show(browser, file, POINTS)
    yield browser
    assert browser.complaints == []
    assert browser.requests == [file.as_uri()]


def show(browser: Page, file: Path, points: Sequence[Point]) -> None:
    file.write_bytes(pareto_page(points, costs=[MADDS, LATENCY], scores=["mIoU", "Boundary IoU"], title=EVIL))
    browser.move_mouse(0, 0)
    browser.open(file)


def mark(label: str) -> str:
    return f'#chart [data-index="{INDEX[label]}"]'


def drawn(page: Page) -> set[str]:
    indices = page.evaluate("[...document.querySelectorAll('#chart .point')].map(node => node.dataset.index)")
    return {POINTS[int(index)].label for index in indices}


def best(page: Page) -> set[str]:
    """The labels of the front, as the table stresses them."""
    indices = page.evaluate("[...document.querySelectorAll('tr.best')].map(node => node.id.split('-')[1])")
    return {POINTS[int(index)].label for index in indices}


def choose_next(page: Page, select: str) -> None:
    page.evaluate(f"document.querySelector('{select}').focus()")
    page.press("ArrowDown", 40)


def test_the_mouse_on_a_point_shows_its_row_and_leaving_it_hides_it(page):
    assert page.text("#tooltip") == ""
    page.move_mouse(*page.middle(mark("middle")))
    told = page.text("#tooltip").split("\n")
    assert told[:2] == ["middle", "stride 16"]
    assert dict(zip(told[2::2], told[3::2], strict=True)) == {
        "mIoU [%]": "64.00",
        "Boundary IoU [%]": "44.00",
        MADDS: "2.700",
        LATENCY: "30.00",
        "run": "runs/middle",
    }
    assert page.text("tr.active th") == "middle"
    page.move_mouse(0, 0)
    assert page.text("#tooltip") == ""


def test_a_row_of_the_table_lights_up_its_point(page):
    page.move_mouse(*page.middle(f"#row-{INDEX['coarse']}"))
    assert page.evaluate("document.querySelector('.point.active').dataset.index") == str(INDEX["coarse"])


def test_tab_walks_through_the_points_from_the_cheapest_on(page):
    page.evaluate("[...document.querySelectorAll('#legend button')].at(-1).focus()")
    shown = []
    for _ in range(3):
        page.press("Tab", 9)
        shown.append(page.text("#tooltip").split("\n")[0])
    assert shown == ["coarse", "middle", "printed"]
    page.press("Escape", 27)
    assert page.text("#tooltip") == ""


def test_the_front_of_every_pair_of_axes_is_pythons(page):
    for score in ("mIoU", "Boundary IoU"):
        for cost in (MADDS, LATENCY):
            assert best(page) == {point.label for point in pareto_front(POINTS, cost, score)}
            choose_next(page, "#cost")
        page.evaluate("document.querySelector('#cost').focus()")
        page.press("ArrowUp", 38)
        choose_next(page, "#score")


def test_a_point_is_drawn_where_both_figures_are_known(page):
    assert drawn(page) == set(INDEX) - {"not trained"}
    assert page.text("#note").startswith("1 of 7 rows lack mIoU or multiply-adds [B]")
    choose_next(page, "#cost")
    assert drawn(page) == set(INDEX) - {"not trained", "printed"}
    assert page.text("#chart .title") == LATENCY


def test_hiding_a_group_takes_its_points_and_their_part_of_the_front(page):
    assert best(page) == {"coarse", "middle", "fine"}
    page.click("#legend button:nth-child(2)")
    assert page.evaluate("document.querySelector('#legend button:nth-child(2)').ariaPressed") == "false"
    assert drawn(page) == {"fine", "coarse", EVIL}
    assert best(page) == {"coarse", "fine"}
    page.click("#legend button:nth-child(2)")
    assert best(page) == {"coarse", "middle", "fine"}


def test_the_axis_is_logarithmic_until_the_box_is_cleared(page):
    def ticks() -> list[str]:
        return page.evaluate(
            "[...document.querySelectorAll('#chart text[text-anchor=middle]')].map(t => t.textContent)"
        )

    assert ticks()[:3] == ["2", "5", "10"]
    page.click("#log")
    assert ticks()[:4] == ["2", "4", "6", "8"]


def test_texts_stay_texts(page):
    assert page.evaluate("document.querySelectorAll('img, #chart script').length") == 0
    assert page.text("h1") == EVIL
    page.move_mouse(*page.middle(mark(EVIL)))
    assert page.text("#tooltip").split("\n")[:4] == [EVIL, EVIL, "mIoU [%]", "50.00 (49.00 to 52.00)"]


def test_only_published_points_are_hollow(page):
    hollow = page.evaluate("[...document.querySelectorAll('.point:has(.published)')].map(p => p.dataset.index)")
    assert hollow == [str(INDEX["printed"])]
    assert page.text(f"#row-{INDEX['printed']} .badge") == "published"


def test_every_point_is_told_to_those_who_hear_the_page(page):
    spoken = page.evaluate(f"document.querySelector('{mark('middle')}').ariaLabel")
    assert spoken == "middle, stride 16: mIoU 64.00 %, multiply-adds [B] 2.700, on the Pareto front"


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_of_the_chart_is_cut_off_at_any_width(page, width):
    page.show_as(width, 1000, scheme="dark")
    for label in drawn(page):
        page.move_mouse(*page.middle(mark(label)))
        box = "document.querySelector('#tooltip').getBoundingClientRect()"
        left, right = page.evaluate(f"(box => [box.left, box.right])({box})")
        assert left >= 0
        assert right <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.show_as(1100, 1000, scheme="light")


def test_light_and_dark_differ(page):
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.show_as(1100, 1000, scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.show_as(1100, 1000, scheme="light")


@pytest.mark.parametrize(
    "points", [(), POINTS[5:6], POINTS[:1], (POINTS[0],) * 3], ids=["none", "bare", "one", "equal"]
)
def test_few_points_make_a_page_too(browser, tmp_path, points):
    show(browser, tmp_path / "few.html", points)
    assert browser.complaints == []
    bare = "No row has mIoU and multiply-adds [B] yet."
    assert (bare in browser.text("#plot")) == (not any(point.scores for point in points))
