"""Sizes on a picture's way through a network, in arithmetic that torch can trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbseg.models.framing import Framing, Protocol, Size, rounded

SIDES = st.integers(1, 2000)


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_rounding_is_that_of_round(dividend: int, divisor: int) -> None:
    assert rounded(dividend, divisor) == round(dividend / divisor)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_halves_go_to_the_even_number(whole: int, divisor: int) -> None:
    assert rounded((2 * whole + 1) * divisor, 2 * divisor) == round(whole + 0.5)


@given(
    picture=st.tuples(SIDES, SIDES),
    longer_side=st.sampled_from([None, 33, 513]),
    pad_to=st.sampled_from([None, (513, 513), (65, 1025)]),
    align_corners=st.booleans(),
)
def test_the_frame_holds_the_picture_and_the_input_its_content(
    picture: Size, longer_side: int | None, pad_to: Size | None, align_corners: bool
) -> None:
    framing = Framing(Protocol(resize_longer_side=longer_side, pad_to=pad_to), 16, align_corners)
    content, seen, upsampling = framing.content(picture), framing.input_size(picture), framing.upsampling(picture)
    for own, part, whole, frame in zip(picture, content, seen, upsampling.frame, strict=True):
        assert part <= whole
        assert own <= frame
    assert upsampling.picture == picture
    assert longer_side is None or max(content) == longer_side


@pytest.mark.parametrize(
    ("protocol", "seen"),
    [
        (Protocol(), (369, 481)),
        (Protocol(pad_to=(513, 513)), (513, 513)),
        (Protocol(resize_longer_side=240), (193, 241)),
    ],
)
def test_what_the_network_sees_of_a_camvid_picture(protocol: Protocol, seen: Size) -> None:
    assert Framing(protocol, 16, align_corners=True).input_size((360, 480)) == seen


def test_a_protocol_counts_its_passes() -> None:
    assert Protocol().passes == 1
    assert Protocol((0.5, 1.0, 1.5), flip=True).passes == 6
