import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mbseg.boxes.detections import Detections
from mbseg.runtime.answers import Answer
from mbseg.video.names import Names
from mbseg.video.serve.messages import (
    LARGEST_FRAME,
    NUMBER,
    VisitorError,
    as_runs,
    encode,
    jpeg_size,
    legend,
    read_frame,
)
from tests.served import grey, jpeg

MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 20, 255]))
RED, BLUE = (250, 0, 0), (0, 0, 250)


def read_runs(runs: bytes, size: tuple[int, int]) -> np.ndarray:
    """As the module's table says it."""
    count = len(runs) // 5
    ends, classes = np.frombuffer(runs, "<u4", count), np.frombuffer(runs, np.uint8, offset=4 * count)
    return np.repeat(classes, np.diff(ends, prepend=0)).reshape(size)


def numbered(picture: bytes, number: int = 7) -> bytes:
    return NUMBER.pack(number) + picture


def forged(height: int, width: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(jpeg(grey(9)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(data)


@given(MASKS)
@settings(max_examples=50, deadline=None)
def test_runs_hold_the_class_map(mask):
    assert np.array_equal(read_runs(as_runs(mask), mask.shape), mask)
    assert len(as_runs(mask)) == 5 * (1 + np.count_nonzero(np.diff(mask.ravel())))


def test_a_message_is_its_head_its_picture_and_its_runs():
    mask = np.eye(3, dtype=np.uint8)
    found = Detections(torch.tensor([[1.04, 2, 3, 4]]), torch.tensor([0.75]), torch.tensor([5]))
    encoded = encode(Answer(mask, found), (3, 3), grey(100, height=3, width=3))
    message = encoded.message({"of": "source", "number": 4})
    (length,) = NUMBER.unpack_from(message)
    head = json.loads(message[4 : 4 + length])
    assert head == {
        "of": "source",
        "number": 4,
        "size": [3, 3],
        "picture": len(encoded.picture),
        "boxes": [[1.0, 2.0, 3.0, 4.0, 0.75, 5]],
    }
    rest = message[4 + length :]
    assert jpeg_size(rest[: head["picture"]]) == (3, 3)
    assert np.array_equal(read_runs(rest[head["picture"] :], (3, 3)), mask)


def test_what_a_model_does_not_look_for_is_not_sent():
    encoded = encode(Answer(), (3, 3))
    assert (encoded.picture, encoded.runs, encoded.boxes) == (b"", b"", None)


def test_a_name_of_both_kinds_is_one_line_of_the_legend():
    assert legend(Names(("background", "cat"), ((0, 0, 0), RED)), Names(("cat", "dog"), (RED, BLUE))) == [
        {"name": "background", "colour": (0, 0, 0), "mask": 0, "box": None},
        {"name": "cat", "colour": RED, "mask": 1, "box": 0},
        {"name": "dog", "colour": BLUE, "mask": None, "box": 1},
    ]


def test_a_frame_comes_with_its_number_and_as_rgb():
    pixels = grey(0)
    pixels[..., 0] = 200
    number, image = read_frame(numbered(jpeg(pixels, quality=95), 2**32 - 1))
    assert number == 2**32 - 1
    assert np.abs(image.astype(int) - pixels).max() < 4


@pytest.mark.parametrize("size", [(1, 1), (480, 640), (17, 3)])
def test_the_header_tells_the_size(size):
    assert jpeg_size(jpeg(grey(0, height=size[0], width=size[1]), exif=b"Exif\0\0" + bytes(50))) == size


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"", "a frame of 0 bytes"),
        (b"\0\0\0", "a frame of 3 bytes"),
        (numbered(b""), "no baseline JPEG"),
        (numbered(b"\xff\xd8" + b"\xff" * 20), "no baseline JPEG"),
        (numbered(b"\x89PNG\r\n\x1a\n" + bytes(40)), "no baseline JPEG"),
        (numbered(jpeg(grey(9), progressive=True)), "no baseline JPEG"),
        (numbered(jpeg(grey(9))[:30]), "no baseline JPEG"),
        (numbered(jpeg(grey(9))[:170]), "cut short"),
        (numbered(jpeg(grey(9))[:170] + b"\xff\xd9"), "cannot be decoded"),
        (numbered(forged(0, 64)), "a frame of 0 x 64"),
        (numbered(forged(65535, 65535)), f"1 to {LARGEST_FRAME} pixels"),
        (numbered(jpeg(grey(9))[:-1]), "cut short"),
    ],
)
def test_a_broken_or_hostile_frame_is_one_line(message, complaint):
    with pytest.raises(VisitorError, match=complaint) as raised:
        read_frame(message)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_bytes_bring_the_header_out_of_step(data):
    for message in (data, b"\xff\xd8\xff" + data):
        try:
            assert len(jpeg_size(message)) == 2
        except VisitorError:
            continue
