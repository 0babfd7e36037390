"""The losses of segmentation against torch's own, and on empty and border cases."""

import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss

from mbseg.tasks.losses import LossWeights, SegmentationLoss

LOGITS = torch.randn(2, 5, 9, 9, generator=torch.Generator().manual_seed(1))
MASKS = torch.randint(0, 5, (2, 33, 33), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def with_void(share: float) -> torch.Tensor:
    masks = MASKS.clone()
    masks[torch.rand(masks.shape, generator=torch.Generator().manual_seed(3)) < share] = 255
    return masks


@pytest.mark.parametrize("align_corners", [True, False])
def test_cross_entropy_is_torchs_mean_over_the_valid_pixels(align_corners: bool) -> None:
    loss = SegmentationLoss(LossWeights(), align_corners=align_corners)
    masks = with_void(0.3)
    dense = F.interpolate(LOGITS, size=(33, 33), mode="bilinear", align_corners=align_corners)
    expected = F.cross_entropy(dense, masks.long(), ignore_index=255)
    torch.testing.assert_close(loss(LOGITS, masks)["cross_entropy"], expected)


def test_gradients_taken_picture_by_picture_are_those_of_the_whole_batch() -> None:
    loss = SegmentationLoss(LossWeights(label_smoothing=0.1, classes=(1.0, 2.0, 3.0, 4.0, 5.0)), align_corners=True)
    masks = with_void(0.3)
    logits, reference = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    (3 * loss(logits, masks)["cross_entropy"]).backward()
    (3 * loss._cross_entropy(reference, masks.long()) / (masks != 255).sum()).backward()
    torch.testing.assert_close(logits.grad, reference.grad)


def test_a_mask_of_nothing_but_255_costs_nothing_and_leaves_finite_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = SegmentationLoss(LossWeights(dice=1, lovasz=1, focal=1), align_corners=True)
    total = torch.stack(list(loss(logits, torch.full_like(MASKS, 255)).values())).sum()
    total.backward()
    assert total.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_each_loss_counts_with_its_weight() -> None:
    once = SegmentationLoss(LossWeights(dice=1, lovasz=1, focal=1), align_corners=True)(LOGITS, MASKS)
    twice = SegmentationLoss(LossWeights(2, 2, 2, 2), align_corners=True)(LOGITS, MASKS)
    assert set(once) == {"cross_entropy", "dice", "lovasz", "focal"}
    for name, value in once.items():
        torch.testing.assert_close(twice[name], 2 * value)


def test_with_aligned_corners_a_loss_stride_takes_every_nth_pixel_of_the_full_loss() -> None:
    dense = F.interpolate(LOGITS, size=(33, 33), mode="bilinear", align_corners=True)
    expected = F.cross_entropy(dense[..., ::4, ::4], MASKS[:, ::4, ::4].long())
    loss = SegmentationLoss(LossWeights(stride=4), align_corners=True)
    torch.testing.assert_close(loss(LOGITS, MASKS)["cross_entropy"], expected, rtol=1e-5, atol=1e-5)


def test_class_weights_scale_the_pixels_of_their_class() -> None:
    weights = (1.0, 0.0, 0.0, 0.0, 0.0)
    loss = SegmentationLoss(LossWeights(classes=weights), align_corners=True)
    dense = F.interpolate(LOGITS, size=(33, 33), mode="bilinear", align_corners=True)
    per_pixel = F.cross_entropy(dense, MASKS.long(), reduction="none")
    expected = per_pixel[MASKS == 0].sum() / MASKS.numel()
    torch.testing.assert_close(loss(LOGITS, MASKS)["cross_entropy"], expected)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_dice_and_focal_are_those_of_segmentation_models_pytorch(share: float) -> None:
    masks = with_void(share)
    masks[masks == 3] = 2  # a class that is not there
    dense = F.interpolate(LOGITS, size=(33, 33), mode="bilinear", align_corners=True)
    loss = SegmentationLoss(LossWeights(dice=1, focal=1), align_corners=True)(LOGITS, masks)
    for name, theirs in (("dice", DiceLoss), ("focal", FocalLoss)):
        torch.testing.assert_close(loss[name], theirs("multiclass", ignore_index=255)(dense, masks.long()))
