"""Training steps of mbseg and torchvision."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from mbseg.analysis.timing import torch_threads
from mbseg.benchmarks.comparison import CPU, VOC_CLASSES, Comparison, compare
from mbseg.create import create_segmenter
from mbseg.data.samples import Batch
from mbseg.engine.device import uses_bf16
from mbseg.models.framing import Protocol
from mbseg.nn.norm import Normalize
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.weights.foreign import IMAGENET_MEAN, IMAGENET_STD


def training_speed(crop: int, batch_size: int, *, seconds: float, threads: int | None = None) -> Comparison:
    """Whole training steps (forward, loss at full size, backward, SGD) on one synthetic batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch_size, 3, crop, crop), dtype=torch.uint8, generator=generator)
    masks = torch.randint(0, VOC_CLASSES, (batch_size, crop, crop), dtype=torch.uint8, generator=generator)
    batch = Batch([""] * batch_size, images, masks)
    with torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {
            "mbseg": our_step(batch, fast=True),
            "mbseg, plain (fp32, contiguous)": our_step(batch, fast=False),
            "torchvision deeplabv3_mobilenet_v3_large, plain": torchvision_step(batch),
        }
        title = f"training step, crop {crop}, batch {batch_size}, {used} threads, CPU"
        return compare(title, turns, seconds=seconds, pictures=batch_size)


def our_step(batch: Batch, *, fast: bool) -> Callable[[], object]:
    """A step of MobileNetV2, output stride 16, no ASPP, as `mbseg train` takes it (`fast`) or in plain PyTorch."""
    model = create_segmenter("mobilenet_v2", num_classes=VOC_CLASSES, align_corners=True)
    task = SegmentationTask(
        model,
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
        SegmentationLoss(LossWeights(), align_corners=True),
        classes=[str(label) for label in range(VOC_CLASSES)],
        protocol=Protocol(),
        channels_last=fast,
    ).train()

    def forward() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast and uses_bf16("auto", CPU)):
            losses: dict[str, Tensor] = task(batch)
        return losses["cross_entropy"]

    return stepper(task, forward, checked=True)


def torchvision_step(batch: Batch) -> Callable[[], object]:
    """A step of torchvision's model in eager fp32, the way its reference script trains it."""
    model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=VOC_CLASSES).train()
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    target = batch.masks.long()

    def forward() -> Tensor:
        return F.cross_entropy(model(normalize(batch.images))["out"], target, ignore_index=255)

    return stepper(model, forward)


def stepper(model: nn.Module, forward: Callable[[], Tensor], *, checked: bool = False) -> Callable[[], object]:
    """`checked`: with the test for finite gradients that every step of `mbseg train` pays for."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(forward())
        if checked and not torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)):
            raise RuntimeError("a synthetic batch gave a gradient that is not finite")
        optimizer.step()

    return step
