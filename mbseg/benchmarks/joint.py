"""One model with two heads beside a segmenter and a detector of the same backbone, with the same weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mbseg.analysis.timing import torch_threads
from mbseg.benchmarks.comparison import Comparison, calibrate, compare
from mbseg.create import create_segmenter
from mbseg.detectors import create_detector
from mbseg.joint import create_joint
from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.runtime.torch_backend import prepare


@dataclass(frozen=True)
class Network:
    """What all three have in common."""

    backbone: str
    head: str
    width_mult: float
    side: int  # pixels of the square pictures
    num_classes: int


NETWORKS = (
    Network("mobilenet_v2", "deeplabv3", 1.0, 513, 21),  # configs/voc/joint_mobilenet_v2_os16
    Network("mobilenet_v2", "lraspp", 0.35, 161, 7),  # configs/quickstart_joint
)


@dataclass(frozen=True)
class Trio:
    """Networks in eval mode; the last two have the weights of the first."""

    joint: JointModel
    segmenter: SegmentationModel
    detector: DetectionModel


def joint_speeds(*, seconds: float, threads: Sequence[int]) -> list[Comparison]:
    """Every network at each number of threads, about `seconds` for one."""
    return [joint_speed(network, seconds=seconds, threads=count) for network in NETWORKS for count in threads]


def joint_speed(network: Network, *, seconds: float, threads: int) -> Comparison:
    """From the networks' input to logits and raw detections of one picture, batch norm fused, fp32."""
    trio = random_trio(network)
    joint, segmenter, detector = (
        prepare(model, backend="fused") for model in (trio.joint, trio.segmenter, trio.detector)
    )
    images = torch.randn(1, 3, network.side, network.side).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch_threads(threads) as used:
        turns: dict[str, Callable[[], object]] = {
            "one model with two heads": lambda: joint(images),
            "a segmenter, then a detector": lambda: (segmenter(images), detector(images)),
            "the segmenter": lambda: segmenter(images),
            "the detector": lambda: detector(images),
        }
        logits, raw = joint(images)
        apart = max(difference(logits, segmenter(images)), difference(raw.class_logits, detector(images).class_logits))
        title = (
            f"{network.head} and SSDLite on {network.backbone} {network.width_mult:g} of random weights, "
            f"output stride 16, {network.side} x {network.side}, {used} threads, batch norm fused, fp32; "
            f"predictions differ by {apart:.0e} of their spread"
        )
        return compare(title, turns, seconds=seconds)


def random_trio(network: Network) -> Trio:
    name, width, classes = network.backbone, network.width_mult, network.num_classes
    joint = create_joint(name, head=network.head, width_mult=width, image_size=network.side, num_classes=classes)
    segmenter = create_segmenter(name, head=network.head, width_mult=width, num_classes=classes)
    detector = create_detector(name, width_mult=width, image_size=network.side, num_classes=classes - 1)
    calibrate(joint, torch.randn(2, 3, network.side, network.side))
    copy_weights(segmenter, joint, head="segmentation_head")
    copy_weights(detector, joint, head="detection_head")
    return Trio(joint.eval(), segmenter.eval(), detector.eval())


def copy_weights(model: nn.Module, joint: JointModel, *, head: str) -> None:
    """Those of the parts that both have; the model's `head` is called otherwise in the joint one."""
    state = joint.state_dict()
    state |= {key.replace(head, "head", 1): value for key, value in state.items() if key.startswith(head)}
    model.load_state_dict({key: state[key] for key in model.state_dict()})


def difference(predictions: Tensor, expected: Tensor) -> float:
    """Root mean square, in standard deviations of what is expected."""
    return float((predictions - expected).square().mean().sqrt() / expected.std())
