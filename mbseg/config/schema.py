"""The config of one experiment: every key, its default and what it may be. Imports no torch.

Sections are frozen: an override makes a new Experiment through the same validation (`config.load`).
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mbseg.naming import MOST_CLASSES, is_one_line

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e30)]  # what fp32 can hold
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
AtrousRate = Annotated[int, Field(gt=0, le=1024)]
Side = Annotated[int, Field(gt=0, le=16384)]  # pixels
Size = tuple[Side, Side]  # (height, width)
InputSide = Annotated[int, Field(ge=64, le=4096)]  # of pictures that a detector sees
Scale = Annotated[float, Field(ge=0.01, le=100)]


class Section(BaseModel):
    """A frozen group of keys; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BackboneConfig(Section):
    name: str = "mobilenet_v2"
    width_mult: Annotated[float, Field(ge=0.1, le=4)] = 1.0
    reduced_tail: bool = False
    weights: str | None = None  # "imagenet" (downloaded once) or a file of torchvision, timm or mbseg
    bottleneck: Literal["linear", "activated"] = "linear"  # ablation of the V2 paper: ReLU6 behind the projection
    shortcut: Literal["bottleneck", "expansion", "none"] = "bottleneck"  # the same: what is added to what
    padding: Literal["symmetric", "tensorflow"] = "symmetric"  # the last three: for weights of other libraries
    channel_divisor: Literal[1, 8] = 8  # channels of a width are rounded to multiples of it
    dilation_plan: Literal["standard", "torchvision"] = "standard"


class HeadConfig(Section):
    kind: str | None = None  # deeplabv3 (null), lraspp, deeplabv3plus, smp:<decoder>; of detection alone ssdlite (null)
    aspp: Literal["dense", "separable", "none"] | None = None  # null: "none", for deeplabv3plus "separable"
    at: str | None = None  # the tap the head reads; null: c5, or last_conv of MobileNetV3
    low_at: str | None = None  # the finer tap of lraspp (null: c3_expansion, or c3) and deeplabv3plus (null: c2)
    channels: Annotated[int, Field(gt=0, le=8192)] | None = None  # null: 256, for lraspp 128
    rates: tuple[AtrousRate, AtrousRate, AtrousRate] | None = (
        None  # of ASPP; null: 6, 12, 18 at stride 16, in proportion
    )
    refine: bool = False  # deeplabv3: a 3x3 convolution before the classifier, as torchvision has
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = (
        None  # behind the projection; null: 0.1; lraspp and smp have none
    )
    maps: tuple[str, ...] | None = None  # ssdlite: the taps it reads, fine to coarse; null: c4_expansion and last_conv
    scores: Literal["softmax", "sigmoid"] = "softmax"  # ssdlite: how its logits become probabilities
    box_plan: Literal["standard", "torchvision"] = "standard"  # ssdlite: its default boxes


class ModelConfig(Section):
    backbone: BackboneConfig = BackboneConfig()
    output_stride: int = 16
    image_size: tuple[InputSide, InputSide] = (320, 320)  # of detection and joint: every picture is resized to it
    head: HeadConfig = HeadConfig()
    align_corners: bool = True  # with picture sizes of stride * k + 1, feature i lies exactly on pixel stride * i
    weights: str | None = None  # start from a whole model
    new_classifier: bool = False  # allow another number of classes than the file has

    @field_validator("image_size", mode="before")
    @classmethod
    def one_number_is_a_square(cls, size: object) -> object:
        return (size, size) if isinstance(size, int) else size


class AugmentConfig(Section):
    scale: tuple[Scale, Scale] = (0.5, 2.0)
    flip: Fraction = 0.5
    rotate: NonNegative = 0.0  # degrees, either way
    zoom_out: Annotated[float, Field(ge=1, le=16)] = 4.0  # detection: up to so many times the picture's sides; 1: none
    iou_crop: bool = True  # detection: crops that overlap an object by a drawn IoU
    brightness: NonNegative = 0.2
    contrast: NonNegative = 0.2
    saturation: NonNegative = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0

    @model_validator(mode="after")
    def scale_is_a_range(self) -> "AugmentConfig":
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {list(self.scale)} runs backwards; write [smallest, largest]")
        return self


class DataConfig(Section):
    kind: str  # names datasets/<kind>.yaml: classes, palette and layout
    root: Path
    train: str = "train"
    val: str = "val"
    crop_size: Size = (513, 513)
    augment: AugmentConfig = AugmentConfig()
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_CLASSES)] | None = (
        None  # null: those of datasets/<kind>.yaml, or of the file that describes the objects
    )
    mean: tuple[Fraction, Fraction, Fraction] = (0.485, 0.456, 0.406)  # RGB, of values in [0, 1]
    std: tuple[Rate, Rate, Rate] = (0.229, 0.224, 0.225)
    workers: Annotated[int, Field(ge=0, le=256)] | None = None  # loader processes; null: one for each core, at most 8

    @model_validator(mode="after")
    def classes_are_told_apart(self) -> "DataConfig":
        twice = [name for name, count in Counter(self.classes or ()).items() if count > 1]
        if twice:
            raise ValueError(f"classes names {twice[0]!r} twice")
        if broken := [name for name in self.classes or () if not is_one_line(name)]:
            raise ValueError(f"classes names {broken[0]!r}, which is not one line of text")
        return self


class OptimizerConfig(Section):
    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Rate = 0.007
    head_learning_rate: Rate | None = None  # null: ten times learning_rate for sgd, the same for adamw
    weight_decay: NonNegative = 4e-5  # not on biases and batch norm
    momentum: Fraction = 0.9  # sgd


class ScheduleConfig(Section):
    name: Literal["poly", "cosine"] = "poly"
    power: Rate = 0.9  # poly
    warmup_steps: Annotated[int, Field(ge=0)] = 0


class LossConfig(Section):
    """Weights of the summed losses; 0 leaves one out."""

    cross_entropy: NonNegative = 1.0
    dice: NonNegative = 0.0
    lovasz: NonNegative = 0.0
    focal: NonNegative = 0.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["inverse_log"] | tuple[Rate, ...] | None = None  # inverse_log: 1 / ln(1.1 + share of pixels)
    stride: Positive = 1  # compute the losses on every stride-th pixel of the masks

    @model_validator(mode="after")
    def something_is_minimised(self) -> "LossConfig":
        if not self.cross_entropy + self.dice + self.lovasz + self.focal:
            raise ValueError("every loss has weight 0; give one of cross_entropy, dice, lovasz, focal a weight")
        return self


class DetectionLossConfig(Section):
    """SSD's matching and losses."""

    classification: Literal["cross_entropy", "focal"] = "cross_entropy"
    box_weight: NonNegative = 1.0  # of the boxes' loss beside the classes'
    iou_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # from which on a default box stands for an object
    negative_ratio: NonNegative = 3.0  # background boxes that count for one that stands for an object; not with focal
    least_negatives: Annotated[int, Field(ge=0)] = 0  # of every picture, so that one without objects teaches something
    focal_alpha: Fraction = 0.25
    focal_gamma: NonNegative = 2.0


class JointWeightsConfig(Section):
    """How much the losses of each head count. A pixel's cross entropy is a small part of what a matched box costs."""

    segmentation: Rate = 8.0
    detection: Rate = 1.0


class TrainConfig(Section):
    steps: Positive | None = None  # give steps or epochs
    epochs: Positive | None = None
    batch_size: Positive = 16
    accumulate: Positive = 1  # batches summed before one step
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()  # of segmentation
    detection_loss: DetectionLossConfig = DetectionLossConfig()
    joint_weights: JointWeightsConfig = JointWeightsConfig()
    clip_norm: Rate | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    freeze_norm: bool = False  # keep the backbone's batch-norm statistics
    max_nonfinite_steps: Positive = 10  # a NaN or Inf in loss or gradient skips the step; so many in a row end it all
    quantization_aware: bool = False  # round weights and maps to 8 bits on the way; a fine-tuning of `model.weights`
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the device computes it natively
    channels_last: bool = True
    compile: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    deterministic: bool = False  # only operations that give the same bits again; on the CPU nearly all do anyway
    log_every: Positive = 20  # steps
    evaluate_every: Positive | None = None  # steps; null: every epoch
    checkpoint_every: Positive | None = None  # steps; null: every evaluation
    samples: Annotated[int, Field(ge=0)] = 4  # validation pictures drawn at every evaluation

    @model_validator(mode="after")
    def one_length(self) -> "TrainConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of train.steps and train.epochs (set the other to null)")
        return self


class SelectionConfig(Section):
    """Which predictions of a detector become detections."""

    score_threshold: Fraction = 0.001  # a score must be above it
    iou_threshold: Fraction = 0.55  # a box that overlaps a more probable one of its class by more is dropped
    candidates: Positive = 300  # most of one class before that
    detections: Positive = 300  # most of a picture


class EvaluateConfig(Section):
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    flip: bool = False
    resize_longer_side: Side | None = None  # null: every picture at its own size
    pad_to: Size | None = None
    pad_value: Annotated[float, Field(ge=0, le=255)] = 127.5
    selection: SelectionConfig = SelectionConfig()  # of detection
    # fused: batch norm folded into the convolutions; onnxruntime, openvino: converted for every size that comes up
    backend: Literal["eager", "fused", "compiled", "onnxruntime", "openvino"] = "eager"
    precision: Literal["fp32", "bf16"] = "fp32"  # of weights and activations; during a training its own
    ema: bool = True  # of a checkpoint that has both, the averaged weights


Task = Literal["segmentation", "detection", "joint"]
OF_SOME_TASKS: dict[tuple[Task, ...], tuple[str, ...]] = {
    ("segmentation",): (
        *("data.crop_size", "data.augment.scale", "data.augment.rotate"),
        *(f"evaluate.{key}" for key in ("scales", "flip", "resize_longer_side", "pad_to", "pad_value")),
    ),
    ("segmentation", "joint"): (
        *("model.output_stride", "model.align_corners", "train.loss"),
        *(f"model.head.{key}" for key in ("aspp", "at", "low_at", "channels", "rates", "refine", "dropout")),
    ),
    ("detection", "joint"): (
        *("model.image_size", "model.head.maps", "model.head.scores", "model.head.box_plan"),
        *("data.augment.zoom_out", "data.augment.iou_crop", "train.detection_loss", "evaluate.selection"),
    ),
    ("joint",): ("train.joint_weights",),
}


class Experiment(Section):
    """Everything that decides a training and its evaluation."""

    task: Task = "segmentation"
    device: str = "auto"  # cuda, mps, cpu
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None  # CPU threads; null: torch's own choice
    model: ModelConfig = ModelConfig()
    data: DataConfig
    train: TrainConfig = TrainConfig(steps=30000)
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def no_key_of_another_task(self) -> "Experiment":
        """A key that nothing reads would mislead."""
        usual = Experiment.model_construct(data=DataConfig.model_construct(kind="", root=Path()))
        for key, tasks in keys_of_other_tasks(self.task).items():
            if value_at(self, key) != value_at(usual, key):
                raise ValueError(f"{key} belongs to {tasks[0]}, and task is {self.task}; leave it away")
        return self


def keys_of_other_tasks(task: Task) -> dict[str, tuple[Task, ...]]:
    """The keys that nothing of this task reads, and the tasks that do."""
    return {key: tasks for tasks, keys in OF_SOME_TASKS.items() if task not in tasks for key in keys}


def value_at(section: Section, key: str) -> object:
    """The value of a key such as `train.batch_size`."""
    value: object = section
    for name in key.split("."):
        value = getattr(value, name)
    return value
