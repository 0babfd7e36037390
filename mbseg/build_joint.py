"""Segmentation and detection of one network from a config: model, data, task."""

import torch

from mbseg import build_detection, build_segmentation
from mbseg.build_common import labels, start_from_model, variant
from mbseg.config.schema import Experiment, ModelConfig
from mbseg.data.box_check import check_boxes
from mbseg.data.description import load_description
from mbseg.data.detection_resize import Resize
from mbseg.data.joint_dataset import JointDataset, ResizePicture, Transform
from mbseg.data.joint_layouts import find_joint_split
from mbseg.data.reading import read_image
from mbseg.errors import DataError
from mbseg.joint import create_joint
from mbseg.models.joint import JointModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.joint import JointLoss, JointTask, JointWeights
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.video.boxes import draw_boxes
from mbseg.video.overlay import UInt8Array, overlay, side_by_side


def model(config: ModelConfig, num_classes: int, *, weights: bool = True) -> JointModel:
    """The model of a config, with the weights it starts from unless `weights` is False."""
    backbone, head = config.backbone, config.head
    made = create_joint(
        backbone.name,
        head=head.kind or "deeplabv3",
        aspp=head.aspp,
        head_at=head.at,
        low_at=head.low_at,
        maps=head.maps,
        output_stride=config.output_stride,
        image_size=config.image_size,
        width_mult=backbone.width_mult,
        reduced_tail=backbone.reduced_tail,
        head_channels=head.channels,
        num_classes=num_classes,
        weights=backbone.weights if weights and config.weights is None else None,
        rates=head.rates,
        refine=head.refine,
        dropout=head.dropout,
        align_corners=config.align_corners,
        scores=head.scores,
        box_plan=head.box_plan,
        variant=variant(backbone),
    )
    if weights:
        start_from_model(made, config, classifiers(made))
    return made


def classifiers(model: JointModel) -> list[str]:
    """What another number of classes starts afresh."""
    of_boxes = [f"class_predictors.{index}.pointwise" for index in range(len(model.detection_head.class_predictors))]
    of_pixels = [name.removeprefix("head.") for name in build_segmentation.CLASSIFIERS]
    return [*(f"segmentation_head.{name}" for name in of_pixels), *(f"detection_head.{name}" for name in of_boxes)]


def dataset(experiment: Experiment, split: str, *, augment: bool) -> JointDataset:
    """A split, augmented for training or only resized. Raises DataError if it has no sound object, or no mask."""
    config, classes = experiment.data, labels(experiment).classes
    description = load_description(config.kind)
    found = find_joint_split(description, config.root, split, classes[1:])
    build_detection.check_objects(found.objects, split, config.root)
    if not any(found.masks):
        raise DataError(f"no picture of split {split!r} in {config.root} has a mask; task=detection needs none")
    if augment:
        build_detection.tell_faulty_boxes(split, found.objects)
    transform = transform_of(experiment) if augment else ResizePicture(Resize(experiment.model.image_size))
    return JointDataset(found, classes, description.label_map(len(classes)), transform, seed=experiment.train.seed)


def transform_of(experiment: Experiment) -> Transform:
    from mbseg.data.joint_transforms import SeededJointTransform  # albumentations takes seconds to import

    return SeededJointTransform(build_detection.transform_of(experiment))


def task(experiment: Experiment, *, weights: bool = True) -> JointTask:
    """Model, preprocessing, selection, metric, and a loss of equal class weights; `weights` False: as initialised."""
    classes = labels(experiment).classes
    torch.manual_seed(experiment.train.seed)  # the initial weights of what is not pretrained
    made = model(experiment.model, len(classes), weights=weights)
    return JointTask(
        made,
        Normalize(experiment.data.mean, experiment.data.std),
        join(experiment, SegmentationLoss(LossWeights(), align_corners=made.align_corners)),
        classes=classes,
        selection=build_detection.selection(experiment),
        channels_last=experiment.train.channels_last,
    )


def loss(experiment: Experiment, training: JointDataset, /) -> JointLoss:
    """The loss of an experiment; class weights are counted over the masks of the training split."""
    return join(experiment, build_segmentation.loss(experiment, training.masked))


def join(experiment: Experiment, of_pixels: SegmentationLoss) -> JointLoss:
    weights = experiment.train.joint_weights
    return JointLoss(of_pixels, build_detection.loss(experiment), JointWeights(weights.segmentation, weights.detection))


def check(experiment: Experiment) -> None:
    """Raises ConfigError for what cannot be trained."""
    build_segmentation.check_pictures(experiment, experiment.model.image_size, "model.image_size")
    build_detection.check(experiment)


def sheet(experiment: Experiment, task: JointTask, split: JointDataset, index: int) -> tuple[str, UInt8Array]:
    """The name of a picture, and picture | truth | prediction beside one another, with masks and boxes."""
    annotation, sample, known = split.annotations[index], split[index], labels(experiment)
    picture, times = build_detection.enlarge(read_image(annotation.image))
    images = torch.from_numpy(sample.image).permute(2, 0, 1)[None].to(next(task.parameters()).device)
    ((found_mask, found),) = task.predictor(images, [(picture.shape[0], picture.shape[1])])
    boxes, kept, _ = check_boxes(annotation.xyxy, sample.seen.size)
    true_mask = sample.mask.repeat(times, axis=0).repeat(times, axis=1)
    coloured, classes, colours = overlay(picture, true_mask, known.palette), known.classes[1:], known.palette[1:]
    truth = draw_boxes(coloured, times * boxes, annotation.labels[kept], None, classes, colours)
    coloured = overlay(picture, found_mask.cpu().numpy(), known.palette)
    found_boxes, found_labels, scores = (part.cpu().numpy() for part in (found.boxes, found.labels, found.scores))
    prediction = draw_boxes(coloured, found_boxes, found_labels, scores, classes, colours)
    return annotation.image.stem, side_by_side(picture, truth, prediction)
