"""Segmentation from a config: model, data, task."""

import torch

from mbseg.build_common import labels, start_from_model, variant
from mbseg.checks import check_compiler
from mbseg.config.schema import DataConfig, Experiment, LossConfig, ModelConfig
from mbseg.create import create_segmenter
from mbseg.data.dataset import PairDataset, Transform
from mbseg.data.description import load_description
from mbseg.data.frequencies import inverse_log_weights
from mbseg.data.layouts import find_pairs
from mbseg.errors import ConfigError
from mbseg.models.framing import Protocol
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationTask
from mbseg.video.overlay import UInt8Array, overlay, side_by_side

CLASSIFIERS = ("head.classifier", "head.low_classifier")  # what another number of classes starts afresh


def model(config: ModelConfig, num_classes: int, *, weights: bool = True) -> SegmentationModel:
    """The model of a config, with the weights it starts from unless `weights` is False."""
    backbone, head = config.backbone, config.head
    made = create_segmenter(
        backbone.name,
        head=head.kind or "deeplabv3",
        aspp=head.aspp,
        head_at=head.at,
        low_at=head.low_at,
        output_stride=config.output_stride,
        width_mult=backbone.width_mult,
        reduced_tail=backbone.reduced_tail,
        head_channels=head.channels,
        num_classes=num_classes,
        weights=backbone.weights if weights and config.weights is None else None,
        rates=head.rates,
        refine=head.refine,
        dropout=head.dropout,
        align_corners=config.align_corners,
        variant=variant(backbone),
    )
    if weights:
        start_from_model(made, config, CLASSIFIERS)
    return made


def dataset(experiment: Experiment, split: str, *, augment: bool) -> PairDataset:
    """A split, augmented for training or as it is."""
    config, classes = experiment.data, labels(experiment).classes
    description = load_description(config.kind)
    pairs = find_pairs(description, config.root, split)
    transform = transform_of(config) if augment else None
    return PairDataset(pairs, classes, description.label_map(len(classes)), transform, seed=experiment.train.seed)


def transform_of(config: DataConfig) -> Transform:
    from mbseg.data.transforms import training_transform  # albumentations takes seconds to import

    augment = config.augment
    red, green, blue = (round(255 * value) for value in config.mean)
    return training_transform(
        config.crop_size,
        scale=augment.scale,
        flip=augment.flip,
        rotate=augment.rotate,
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        fill=(red, green, blue),
    )


def task(experiment: Experiment, *, weights: bool = True) -> SegmentationTask:
    """Model, preprocessing, protocol and metric, with a plain loss; `weights` False: as initialised."""
    known = labels(experiment)
    torch.manual_seed(experiment.train.seed)  # the initial weights of what is not pretrained
    made = model(experiment.model, len(known.classes), weights=weights)
    return SegmentationTask(
        made,
        Normalize(experiment.data.mean, experiment.data.std),
        SegmentationLoss(LossWeights(), align_corners=made.align_corners),
        classes=known.classes,
        protocol=protocol(experiment),
        channels_last=experiment.train.channels_last,
    )


def loss(experiment: Experiment, training: PairDataset, /) -> SegmentationLoss:
    """The loss of an experiment; class weights are counted over the masks of the training split."""
    config = experiment.train.loss
    weights = LossWeights(
        cross_entropy=config.cross_entropy,
        dice=config.dice,
        lovasz=config.lovasz,
        focal=config.focal,
        label_smoothing=config.label_smoothing,
        stride=config.stride,
        classes=class_weights(config, training),
    )
    return SegmentationLoss(weights, align_corners=experiment.model.align_corners)


def class_weights(config: LossConfig, training: PairDataset) -> tuple[float, ...] | None:
    if config.class_weights == "inverse_log":
        return inverse_log_weights(training)
    if config.class_weights is not None and len(config.class_weights) != len(training.classes):
        raise ConfigError(
            f"train.loss.class_weights has {len(config.class_weights)} values for {len(training.classes)} classes"
        )
    return config.class_weights


def protocol(experiment: Experiment) -> Protocol:
    config = experiment.evaluate
    return Protocol(config.scales, config.flip, config.resize_longer_side, config.pad_to, config.pad_value)


def check(experiment: Experiment) -> None:
    """Raises ConfigError for a crop that the network cannot take."""
    crop, stride = experiment.data.crop_size, experiment.model.output_stride
    if min(crop) < stride:
        raise ConfigError(f"data.crop_size {list(crop)} is smaller than the output stride {stride}; make it larger")
    check_pictures(experiment, crop, "data.crop_size")


def check_pictures(experiment: Experiment, size: tuple[int, int], key: str) -> None:
    """Raises ConfigError for batches of pictures, whose size stands under `key`, that a head cannot be trained on."""
    if experiment.train.batch_size == 1:
        raise ConfigError(
            "train.batch_size is 1: the batch norm behind the image pooling needs two pictures or more; "
            f"use 2, and halve {key} if memory is short"
        )
    check_compiler(experiment)
    step = experiment.train.loss.stride
    if step > 1 and (not experiment.model.align_corners or any((side - 1) % step for side in size)):
        raise ConfigError(
            f"loss.stride {step} needs model.align_corners and a {key} of {step} * k + 1, not {list(size)}"
        )


def sheet(experiment: Experiment, task: SegmentationTask, split: PairDataset, index: int) -> tuple[str, UInt8Array]:
    """The name of a picture, and picture | truth | prediction beside one another."""
    sample, palette = split[index], labels(experiment).palette
    images = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
    predicted = task.predictor(images.to(next(task.parameters()).device))[0].cpu().numpy()
    drawn = (overlay(sample.image, mask, palette) for mask in (sample.mask, predicted))
    return sample.name, side_by_side(sample.image, *drawn)
