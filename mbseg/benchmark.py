"""mbseg beside torchvision on this machine: ratios of things measured in one run, taking turns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

from mbseg import build
from mbseg.analysis.latency import summarize, take_turns, torch_threads
from mbseg.create import create_segmenter
from mbseg.data.reading import read_image
from mbseg.data.samples import Batch
from mbseg.engine.device import uses_bf16
from mbseg.models.class_map import class_map
from mbseg.models.prediction import Protocol
from mbseg.nn.norm import Normalize
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationTask

CPU = torch.device("cpu")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 21
STRIDE = 16


@dataclass(frozen=True)
class Comparison:
    """Medians of things that took turns; the first is ours."""

    title: str
    milliseconds: dict[str, float]
    rounds: int
    pictures: int  # a turn

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long as the first the others take."""
        names = list(self.milliseconds)
        return {name: self.milliseconds[name] / self.milliseconds[names[0]] for name in names[1:]}


def compare(title: str, turns: dict[str, Callable[[], object]], *, seconds: float, pictures: int = 1) -> Comparison:
    """Runs every entry in turn for about `seconds`, and keeps the medians."""
    times = take_turns(turns, CPU, seconds)
    timings = {name: summarize(values) for name, values in times.items()}
    rounds = min(timing.runs for timing in timings.values())
    return Comparison(title, {name: timing.median_ms for name, timing in timings.items()}, rounds, pictures)


def training_speed(crop: int, batch_size: int, *, seconds: float, threads: int | None = None) -> Comparison:
    """Whole training steps (forward, loss at full size, backward, SGD) on one synthetic batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch_size, 3, crop, crop), dtype=torch.uint8, generator=generator)
    masks = torch.randint(0, CLASSES, (batch_size, crop, crop), dtype=torch.uint8, generator=generator)
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
    model = create_segmenter("mobilenet_v2", num_classes=CLASSES, align_corners=True)
    task = SegmentationTask(
        model,
        Normalize(IMAGENET_MEAN, IMAGENET_STD),
        SegmentationLoss(LossWeights(), align_corners=True),
        classes=[str(label) for label in range(CLASSES)],
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
    model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES).train()
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


def class_map_speed(logits: Tensor, size: tuple[int, int], what: str, *, seconds: float, threads: int) -> Comparison:
    """The class map of one picture's logits [1, C, h, w], and the plain way to the same map."""

    def plain() -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True).argmax(1)

    def plain_max() -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True).max(1).indices

    with torch.inference_mode(), torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {
            "mbseg class_map": lambda: class_map(logits, size, align_corners=True),
            "interpolate + argmax": plain,
            "interpolate + max": plain_max,
        }
        differing = (class_map(logits, size, align_corners=True) != plain()).sum().item()
        title = (
            f"class map of {what}, {list(logits.shape[1:])} to {size[0]} x {size[1]}, {used} threads, "
            f"{differing} pixels differ"
        )
        return compare(title, turns, seconds=seconds)


def trained_logits(weights: Path, picture: Path, size: tuple[int, int]) -> Tensor:
    """Logits [1, C, h, w] of a trained network on a picture that is resized to `size`."""
    model = build.load(weights)
    image = Image.fromarray(read_image(picture)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    images = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    card = model.card
    normalize = Normalize(card.mean, card.std) if card else Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.inference_mode():
        logits: Tensor = model(normalize(images))
    return logits.contiguous()


def noise_logits(size: tuple[int, int]) -> Tensor:
    """The worst case: every cell mixed, every class a candidate."""
    height, width = ((side - 1) // STRIDE + 1 for side in size)
    return torch.randn(1, CLASSES, height, width, generator=torch.Generator().manual_seed(0))


def comparisons_text(comparisons: Sequence[Comparison]) -> str:
    """One block a comparison: medians, pictures a second, and how many times as long as ours the others take."""
    return "\n\n".join(comparison_text(comparison) for comparison in comparisons)


def comparison_text(comparison: Comparison) -> str:
    width = max(len(name) for name in comparison.milliseconds)
    lines = [f"{comparison.title} (medians of {comparison.rounds} turns)"]
    for name, milliseconds in comparison.milliseconds.items():
        ratio = f"  {comparison.ratios[name]:.2f} x" if name in comparison.ratios else ""
        speed = 1000 * comparison.pictures / milliseconds
        lines.append(f"  {name:<{width}}  {milliseconds:9.2f} ms  {speed:8.2f} pictures/s{ratio}")
    return "\n".join(lines)
