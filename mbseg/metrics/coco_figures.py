"""COCO's twelve figures: their names, and what they are the means of."""

from typing import TypedDict

from mbseg.data.detection_samples import Doubles

NOTHING = -1.0  # no figure: what pycocotools gives where there is no object to find
ALL, SMALL, MEDIUM, LARGE = range(4)  # ranges of areas
AP50, AP75 = slice(0, 1), slice(5, 6)  # of the thresholds


class CocoFigures(TypedDict):
    """pycocotools' `stats`, in its order: fractions 0..1, or None for a size of which there is no object."""

    ap: float | None  # COCO AP@[.5:.95]
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None  # average recall, of the best 1, 10, 100 detections of each class in each picture
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


def figures(precision: Doubles, recall: Doubles) -> CocoFigures:
    """From precision [thresholds, recalls, classes, areas] and recall [thresholds, classes, areas, limits]."""
    return CocoFigures(
        ap=mean(precision[..., ALL]),
        ap50=mean(precision[AP50, ..., ALL]),
        ap75=mean(precision[AP75, ..., ALL]),
        ap_small=mean(precision[..., SMALL]),
        ap_medium=mean(precision[..., MEDIUM]),
        ap_large=mean(precision[..., LARGE]),
        ar1=mean(recall[:, :, ALL, 0]),
        ar10=mean(recall[:, :, ALL, 1]),
        ar100=mean(recall[:, :, ALL, 2]),
        ar_small=mean(recall[:, :, SMALL, 2]),
        ar_medium=mean(recall[:, :, MEDIUM, 2]),
        ar_large=mean(recall[:, :, LARGE, 2]),
    )


def mean(values: Doubles) -> float | None:
    """Over what there is something to find of; the order of the sum is pycocotools' too."""
    known = values[values != NOTHING]
    return float(known.mean()) if known.size else None
