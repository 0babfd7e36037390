"""The class maps of several passes are those of the mean of their probabilities, in both ways of finding them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mbseg.errors import ConfigError
from mbseg.models import mean_probabilities as module
from mbseg.models.mean_probabilities import FusedMean, MeanProbabilities, PlainMean, Upsampling

TOLERANCE = 1e-6  # of a probability
SIDES = st.integers(1, 9)
WAYS = pytest.mark.parametrize("way", [FusedMean, PlainMean])


def noise(shape: tuple[int, ...], seed: int, size: float = 3) -> Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def oracle(passes: list[Tensor], upsampling: Upsampling) -> Tensor:
    """Mean probabilities [N, C, height, width]; every second pass is of the mirror image."""
    total = torch.zeros(())
    height, width = upsampling.picture
    for index, logits in enumerate(passes):
        align_corners = upsampling.align_corners
        dense = functional.interpolate(logits, size=upsampling.frame, mode="bilinear", align_corners=align_corners)
        probabilities = dense.double().softmax(1)[..., :height, :width]
        total = total + (probabilities.flip(-1) if index % 2 else probabilities)
    return total / len(passes)


def decided(way: type[MeanProbabilities], passes: list[Tensor], upsampling: Upsampling, order: slice) -> Tensor:
    mean = way(upsampling, len(passes))
    for index, logits in list(enumerate(passes))[order]:
        mean.add(logits, mirrored=index % 2 == 1)
    return mean.class_map()


@WAYS
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    classes=st.integers(1, 12) | st.just(256),
    sides=st.lists(st.tuples(SIDES, SIDES), min_size=2, max_size=5),
    picture=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    padding=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    align_corners=st.booleans(),
    size=st.sampled_from([0.1, 3, 100]),
)
def test_no_pixel_gets_a_less_probable_class(
    way, seed, batch, classes, sides, picture, padding, align_corners, size
) -> None:
    frame = (picture[0] + padding[0], picture[1] + padding[1])
    upsampling = Upsampling(frame, picture, align_corners)
    passes = [noise((batch, classes, *side), seed + index, size) for index, side in enumerate(sides)]
    mask = decided(way, passes, upsampling, slice(None))
    assert mask.dtype == torch.uint8 and mask.shape == (batch, *picture)
    mean = oracle(passes, upsampling)
    assert (mean.amax(1, keepdim=True) - mean.gather(1, mask[:, None].long())).max() < TOLERANCE * max(1, size)
    assert torch.equal(mask, decided(way, passes, upsampling, slice(None, None, -1)))  # whole numbers: in any order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_and_summing_up_early_change_nothing(monkeypatch, threads) -> None:
    passes = [noise((2, 5, side, side), side) for side in (5, 9, 40, 13, 45, 7)]  # the larger ones do not wait
    upsampling = Upsampling((50, 60), (47, 53), True)
    expected = decided(PlainMean, passes, upsampling, slice(None))
    monkeypatch.setattr(module, "PIXELS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(decided(FusedMean, passes, upsampling, slice(None)), expected)


@WAYS
def test_of_equal_classes_the_first_wins(way) -> None:
    passes = [torch.full((1, 9, 4, 5), 0.1)] * 3
    assert not decided(way, passes, Upsampling((37, 41), (37, 41), False), slice(None)).any()


@WAYS
def test_probabilities_are_averaged_and_not_logits(way) -> None:
    """Logits say 0 by their mean (7 against 3); probabilities 1, by two votes against one."""
    passes = [torch.tensor([20.0, 0.0]), torch.tensor([0.0, 4.0]), torch.tensor([0.0, 4.0])]
    mask = decided(way, [one.view(1, 2, 1, 1) for one in passes], Upsampling((3, 3), (3, 3), True), slice(None))
    assert (mask == 1).all()


@WAYS
def test_more_classes_than_a_class_map_can_hold_are_refused(way) -> None:
    with pytest.raises(ConfigError, match="257 classes"):
        way(Upsampling((8, 8), (8, 8), True), 2).add(torch.zeros(1, 257, 4, 4), mirrored=False)
