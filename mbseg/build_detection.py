"""Detection from a config: model, data, task."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mbseg.boxes.postprocess import Selection
from mbseg.build_common import labels, start_from_model, variant
from mbseg.checks import check_compiler
from mbseg.config.schema import Experiment, ModelConfig
from mbseg.data.box_check import check_boxes, report_boxes
from mbseg.data.coco import MAX_SIDE
from mbseg.data.description import load_description
from mbseg.data.detection_dataset import DetectionDataset
from mbseg.data.detection_layouts import find_annotations
from mbseg.data.detection_resize import Resize
from mbseg.data.detection_samples import AnnotatedSplit, Annotation
from mbseg.data.reading import read_image
from mbseg.detectors import SSDLITE, create_detector
from mbseg.errors import ConfigError, DataError
from mbseg.models.detection import DetectionModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.detection import DetectionTask
from mbseg.tasks.detection_losses import DetectionLoss, DetectionLossOptions
from mbseg.video.boxes import draw_boxes
from mbseg.video.overlay import UInt8Array, side_by_side

if TYPE_CHECKING:
    from mbseg.data.detection_transforms import SeededDetectionTransform

logger = logging.getLogger(__name__)

LEAST_DRAWN = 192  # pixels of a side on which boxes are drawn
ANY_SIZE = (MAX_SIDE, MAX_SIDE)  # of a picture whose annotation does not say


def model(config: ModelConfig, num_classes: int, *, weights: bool = True) -> DetectionModel:
    """The model of a config, with the weights it starts from unless `weights` is False."""
    backbone, head = config.backbone, config.head
    made = create_detector(
        backbone.name,
        head=head.kind or SSDLITE,
        maps=head.maps,
        image_size=config.image_size,
        num_classes=num_classes,
        width_mult=backbone.width_mult,
        reduced_tail=backbone.reduced_tail,
        weights=backbone.weights if weights and config.weights is None else None,
        scores=head.scores,
        box_plan=head.box_plan,
        variant=variant(backbone),
    )
    if weights:
        maps = len(made.head.class_predictors)
        start_from_model(made, config, [f"head.class_predictors.{index}.pointwise" for index in range(maps)])
    return made


def dataset(experiment: Experiment, split: str, *, augment: bool) -> DetectionDataset:
    """A split, augmented for training or only resized. Raises DataError if there is no sound object in it."""
    config = experiment.data
    found = find_annotations(load_description(config.kind), config.root, split, labels(experiment).classes)
    check_objects(found, split, config.root)
    if augment:
        tell_faulty_boxes(split, found)
    transform = transform_of(experiment) if augment else Resize(experiment.model.image_size)
    return DetectionDataset(found, transform, seed=experiment.train.seed)


def check_objects(found: AnnotatedSplit, split: str, root: Path) -> None:
    if not any(has_object(annotation) for annotation in found.annotations):
        raise DataError(
            f"no picture of split {split!r} in {root} has an object that is neither faulty nor difficult nor a "
            "crowd; there is nothing to detect"
        )


def has_object(annotation: Annotation) -> bool:
    """One that is learned and scored."""
    sound = check_boxes(annotation.xyxy, annotation.size or ANY_SIZE).kept
    return bool((sound & ~annotation.crowd & ~annotation.difficult).any())


def tell_faulty_boxes(name: str, split: AnnotatedSplit) -> None:
    """What of a training split is left out or cut, as far as the annotations tell the pictures' sizes."""
    report = report_boxes(check_boxes(annotation.xyxy, annotation.size or ANY_SIZE) for annotation in split.annotations)
    if report.problems:
        logger.warning("split %r has %s; `mbseg check-data` names each", name, report)


def transform_of(experiment: Experiment) -> "SeededDetectionTransform":
    from mbseg.data.detection_transforms import detection_transform  # albumentations takes seconds to import

    augment = experiment.data.augment
    red, green, blue = (round(255 * value) for value in experiment.data.mean)
    return detection_transform(
        experiment.model.image_size,
        zoom_out=augment.zoom_out,
        crop=augment.iou_crop,
        flip=augment.flip,
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        fill=(red, green, blue),
    )


def task(experiment: Experiment, *, weights: bool = True) -> DetectionTask:
    """Model, preprocessing, loss, selection and metric; `weights` False: as initialised."""
    known = labels(experiment)
    torch.manual_seed(experiment.train.seed)  # the initial weights of what is not pretrained
    made = model(experiment.model, len(known.classes), weights=weights)
    return DetectionTask(
        made,
        Normalize(experiment.data.mean, experiment.data.std),
        loss(experiment),
        classes=known.classes,
        selection=selection(experiment),
        channels_last=experiment.train.channels_last,
    )


def loss(experiment: Experiment, _training: DetectionDataset | None = None, /) -> DetectionLoss:
    """The loss of an experiment; nothing of the training split has to be counted for it."""
    config = experiment.train.detection_loss
    options = DetectionLossOptions(
        classification=config.classification,
        box_weight=config.box_weight,
        iou_threshold=config.iou_threshold,
        negative_ratio=config.negative_ratio,
        least_negatives=config.least_negatives,
        focal_alpha=config.focal_alpha,
        focal_gamma=config.focal_gamma,
    )
    return DetectionLoss(options, scores=experiment.model.head.scores)


def selection(experiment: Experiment) -> Selection:
    config = experiment.evaluate.selection
    return Selection(config.score_threshold, config.iou_threshold, config.candidates, config.detections)


def check(experiment: Experiment) -> None:
    """Raises ConfigError for what cannot be trained."""
    check_compiler(experiment)
    if experiment.train.detection_loss.classification == "focal" and experiment.model.head.scores != "sigmoid":
        raise ConfigError(
            "train.detection_loss.classification=focal goes with model.head.scores=sigmoid, whose biases start where "
            "objects are rare; with softmax the many background boxes drown them"
        )


def sheet(experiment: Experiment, task: DetectionTask, split: DetectionDataset, index: int) -> tuple[str, UInt8Array]:
    """The name of a picture, and the picture with its objects and with what was found, beside one another."""
    annotation, known = split.annotations[index], labels(experiment)
    picture, enlarged = enlarge(read_image(annotation.image))
    sample = split[index]
    images = torch.from_numpy(sample.image).permute(2, 0, 1)[None].to(next(task.parameters()).device)
    (found,) = task.predictor(images, [(picture.shape[0], picture.shape[1])])
    boxes, kept, _ = check_boxes(annotation.xyxy, sample.size)
    truth = draw_boxes(picture, enlarged * boxes, annotation.labels[kept], None, known.classes, known.palette)
    found_boxes, found_labels, scores = (part.cpu().numpy() for part in (found.boxes, found.labels, found.scores))
    drawn = draw_boxes(picture, found_boxes, found_labels, scores, known.classes, known.palette)
    return annotation.image.stem, side_by_side(truth, drawn)


def enlarge(picture: UInt8Array) -> tuple[UInt8Array, int]:
    """A small picture, and how many times as large: the tags on it could not be read."""
    times = -(-LEAST_DRAWN // min(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1), times
