"""COCO's twelve figures for boxes, and AP by class: to the last bit those of pycocotools, in a fraction of its time.

pycocotools walks through every picture, class and range of areas in Python. Here one compiled pass over the whole split
finds the objects (`coco_matching`), and each class's curves are drawn at once (`coco_curves`).
"""

from collections.abc import Sequence

from mbseg.errors import DataError
from mbseg.metrics.box_records import Picture
from mbseg.metrics.coco_figures import ALL, CocoFigures, figures, mean


class CocoScores(CocoFigures):
    """The twelve figures and what lies behind them."""

    per_class: dict[str, float]  # COCO AP@[.5:.95] of the classes that occur in the split
    absent: list[str]  # those that do not, or in crowds alone


def coco_ap(pictures: Sequence[Picture], classes: Sequence[str]) -> CocoScores:
    """The scores of a split, its pictures in any order. Raises DataError if there was no object to find."""
    from mbseg.metrics.coco_curves import draw_curves, find_all  # they import numba

    if not any((~objects.crowd).any() for objects, _ in pictures):
        raise DataError("no object in the split, or only crowds: there is nothing to detect")
    ordered = sorted(pictures, key=lambda picture: picture[0].image_id)
    precision, recall = draw_curves(find_all(ordered), len(classes))
    per_class = {name: mean(precision[:, :, label, ALL]) for label, name in enumerate(classes)}
    return CocoScores(
        **figures(precision, recall),
        per_class={name: ap for name, ap in per_class.items() if ap is not None},
        absent=[name for name, ap in per_class.items() if ap is None],
    )
