"""`class_map` equals interpolation and arg-max, up to ties; here on the CPU, where it takes its own way."""

import math
import multiprocessing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mbseg.errors import ConfigError
from mbseg.models import class_map as module
from mbseg.models.class_map import class_map

RELATIVE_TOLERANCE = 1e-5  # of the largest logit
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 9)
ALIGN = pytest.mark.parametrize("align_corners", [False, True])


def interpolated(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=align_corners)


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def like_trained(shape: tuple[int, int, int, int], seed: int = 0) -> Tensor:
    """Logits of broad regions with soft borders and some noise: a tenth to a fifth of the cells are mixed."""
    regions = noise((shape[0], shape[1], math.ceil(shape[2] / 12), math.ceil(shape[3] / 12)), seed)
    return 4 * functional.interpolate(regions, size=shape[2:], mode="bicubic") + 0.1 * noise(shape, seed + 1)


def worst_loss(mask: Tensor, logits: Tensor, align_corners: bool) -> float:
    """How far the classes of mask lie below the best ones, at the worst pixel, relative to the largest logit."""
    dense = interpolated(logits, (mask.shape[1], mask.shape[2]), align_corners)
    chosen = dense.gather(1, mask[:, None].long())
    return float((dense.amax(1, keepdim=True) - chosen).max() / logits.float().abs().max().clamp_min(1e-30))


@settings(deadline=None, max_examples=150)
@given(
    seed=SEEDS,
    batch=st.integers(1, 3),
    classes=st.integers(1, 12) | st.just(256),
    sides=st.tuples(SIDES, SIDES),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    align_corners=st.booleans(),
    make=st.sampled_from([noise, like_trained]),
)
def test_no_pixel_gets_a_class_below_the_best(seed, batch, classes, sides, size, align_corners, make):
    logits = make((batch, classes, *sides), seed)
    mask = class_map(logits, size, align_corners)
    assert mask.dtype == torch.uint8 and mask.shape == (batch, *size)
    assert worst_loss(mask, logits, align_corners) < RELATIVE_TOLERANCE


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, classes=st.integers(1, 6), sides=st.tuples(SIDES, SIDES), step=st.sampled_from([2, 4, 8]))
def test_of_equal_classes_the_first_wins_where_the_arithmetic_is_exact(seed, classes, sides, step):
    logits = torch.randint(-2, 3, (1, classes, *sides), generator=torch.Generator().manual_seed(seed)).float()
    for align_corners, size in (
        (False, (sides[0] * step, sides[1] * step)),
        (True, ((sides[0] - 1) * step + 1, (sides[1] - 1) * step + 1)),
    ):
        expected = interpolated(logits, size, align_corners).argmax(1)
        assert torch.equal(class_map(logits, size, align_corners).long(), expected)


@ALIGN
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 21, 33, 33), (513, 513)),
        ((1, 21, 65, 65), (513, 513)),
        ((2, 11, 23, 30), (360, 480)),
        ((1, 150, 20, 31), (307, 501)),
        ((1, 21, 1, 17), (200, 260)),
        ((1, 3, 1, 1), (40, 60)),
        ((1, 5, 60, 2), (7, 900)),  # one side smaller, the other larger
        ((1, 5, 40, 40), (13, 17)),
        ((1, 5, 17, 17), (17, 17)),
        ((3, 4, 6, 6), (1, 1)),
    ],
)
@pytest.mark.parametrize("make", [noise, like_trained])
def test_usual_and_odd_sizes(make, shape, size, align_corners):
    logits = make(shape)
    assert worst_loss(class_map(logits, size, align_corners), logits, align_corners) < RELATIVE_TOLERANCE


@ALIGN
def test_the_other_convention_gives_another_map(align_corners):
    logits = like_trained((1, 21, 33, 33))
    assert (
        worst_loss(class_map(logits, (513, 513), not align_corners), logits, align_corners) > 100 * RELATIVE_TOLERANCE
    )


@ALIGN
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(monkeypatch, threads, align_corners):
    logits = noise((3, 7, 9, 10))
    expected = class_map(logits, (70, 90), align_corners)
    monkeypatch.setattr(module, "PIXELS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(class_map(logits, (70, 90), align_corners), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cut out", "requires grad"])
def test_every_type_and_layout_of_logits(dtype, layout):
    logits = noise((2, 5, 7, 6)).to(dtype)
    expected = class_map(logits.float(), (50, 60))
    variants = {
        "contiguous": logits,
        "channels_last": logits.to(memory_format=torch.channels_last),
        "cut out": functional.pad(logits, (1, 2, 3, 4))[:, :, 3:-4, 1:-2],
        "requires grad": logits.clone().requires_grad_(),
    }
    assert torch.equal(class_map(variants[layout], (50, 60)), expected)


def test_constant_logits_give_the_first_class():
    assert not class_map(torch.full((2, 9, 4, 5), 0.1), (37, 41)).any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_decided_as_by_argmax(value):
    logits = noise((1, 4, 5, 5))
    logits[0, 2, 2, 2] = value
    assert torch.equal(class_map(logits, (40, 40)).long(), interpolated(logits, (40, 40), False).argmax(1))


def test_no_pictures_give_no_masks():
    assert class_map(torch.empty(0, 3, 4, 4), (20, 20)).shape == (0, 20, 20)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_forked_process_does_not_wait_for_its_parents_threads(monkeypatch):
    monkeypatch.setattr(module, "PIXELS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    logits = noise((1, 3, 4, 4))
    class_map(logits, (20, 20))
    child = multiprocessing.get_context("fork").Process(target=class_map, args=(logits, (20, 20)))
    child.start()
    child.join(timeout=60)
    alive = child.is_alive()
    child.kill()
    assert not alive and child.exitcode == 0


@pytest.mark.parametrize(
    ("shape", "size", "named"),
    [
        ((1, 257, 4, 4), (20, 20), "257 classes"),
        ((1, 0, 4, 4), (20, 20), r"\[1, 0, 4, 4\]"),
        ((3, 4, 4), (20, 20), r"\[3, 4, 4\]"),
        ((1, 3, 4, 4), (20, 0), r"\(20, 0\)"),
    ],
)
def test_what_cannot_be_mapped_is_named(shape, size, named):
    with pytest.raises(ConfigError, match=named):
        class_map(torch.zeros(shape), size)
