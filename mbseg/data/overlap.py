"""How much boxes overlap, in numpy and doubles as files hold them; `boxes.geometry` is for tensors of a network."""

import numpy as np

from mbseg.data.detection_samples import Doubles


def iou(first: Doubles, second: Doubles) -> Doubles:
    """Intersection over union of every two boxes xyxy: [n, 4], [m, 4] -> [n, m]."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    union = area(first)[:, None] + area(second) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=common > 0))


def area(boxes: Doubles) -> Doubles:
    """Of boxes xyxy [n, 4]: [n]."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
