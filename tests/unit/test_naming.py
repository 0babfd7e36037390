"""What is said of a name that nobody knows."""

import pytest

from mbseg.naming import MOST_NAMES, hint

CONFIGS = ["quickstart", *(f"voc/row{number}" for number in range(MOST_NAMES)), "camvid/first", "camvid/second"]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("quikstart", CONFIGS, "did you mean quickstart?"),
        ("qqqq", ["b", "a"], "there are b, a"),
        ("qqqq", CONFIGS, "there are quickstart, voc/..., camvid/..."),
        ("camvid/qqqqqq", CONFIGS, "there are camvid/first, camvid/second"),
        ("qqqq", map(str, range(MOST_NAMES + 3)), f"there are {', '.join(map(str, range(MOST_NAMES)))}, 3 more"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_what_there_is_in_a_line(name: str, known: list[str], said: str) -> None:
    assert hint(name, known) == said
