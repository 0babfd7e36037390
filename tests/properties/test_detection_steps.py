"""One training step of a detector, whatever the pictures' size and number and however many objects they hold."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mbseg
from mbseg.boxes.postprocess import Selection
from mbseg.data.detection_samples import DetectionBatch
from mbseg.nn.norm import Normalize
from mbseg.tasks.detection import DetectionTask
from mbseg.tasks.detection_losses import DetectionLoss, DetectionLossOptions

MODEL = mbseg.create_detector("mobilenet_v2", width_mult=0.35, num_classes=3)
SIDES = st.integers(128, 640)


def task(classification: str) -> DetectionTask:
    return DetectionTask(
        MODEL,
        Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        DetectionLoss(DetectionLossOptions(classification=classification)),  # type: ignore[arg-type]
        classes=["a", "b", "c"],
        selection=Selection(),
    ).train()


def objects(count: int, height: int, width: int) -> torch.Tensor:
    """xyxy [count, 4]: anywhere in the picture, from a pixel to all of it."""
    corners = torch.rand(count, 2, 2) * torch.tensor([width - 1.0, height - 1.0])
    low, high = corners.amin(1), corners.amax(1)
    return torch.cat([low, high + 1], dim=1)


def batch(height: int, width: int, counts: list[int]) -> DetectionBatch:
    boxes = [objects(count, height, width) for count in counts]
    return DetectionBatch(
        images=torch.randint(0, 256, (len(counts), 3, height, width), dtype=torch.uint8),
        boxes=boxes,
        labels=[torch.randint(0, 3, (count,)) for count in counts],
        sizes=[(height, width)] * len(counts),
        annotations=[],
    )


@settings(max_examples=25)
@given(SIDES, SIDES, st.lists(st.integers(0, 300), min_size=1, max_size=3), st.sampled_from(["cross_entropy", "focal"]))
def test_a_training_step_has_a_finite_loss_and_finite_gradients(
    height: int, width: int, counts: list[int], classification: str
) -> None:
    losses = task(classification)(batch(height, width, counts))
    total = torch.stack(list(losses.values())).sum()
    MODEL.zero_grad()
    torch.autograd.backward(total)
    assert torch.isfinite(total)
    assert all(torch.isfinite(weight.grad).all() for weight in MODEL.parameters() if weight.grad is not None)
    if any(counts):
        assert total > 0
