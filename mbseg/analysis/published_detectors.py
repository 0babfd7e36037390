"""What papers and torchvision print of SSDLite detectors that can be built here: facts, to stand beside our own."""

from collections.abc import Iterator
from typing import NamedTuple

from mbseg.boxes.default_boxes import DefaultBoxPlan

IMAGE_SIZE = (320, 320)


class DetectorNetwork(NamedTuple):
    """What makes two detectors the same, under the words of `create_detector`."""

    backbone: str
    width_mult: float = 1.0
    reduced_tail: bool = False
    num_classes: int = 90  # without the background
    box_plan: DefaultBoxPlan = "standard"


class PublishedDetector(NamedTuple):
    """One printed row; trained on COCO."""

    title: str
    split: str
    network: DetectorNetwork
    params_millions: float
    madds_billions: float
    ap_percent: float  # COCO AP@[.5:.95]


class V2Table6Row(NamedTuple):
    """A line of Table 6, arXiv:1801.04381, under the paper's column names; 80 classes, as the figures tell."""

    network: str
    map: float
    params: float
    madds: float


V2_TABLE_6 = (
    V2Table6Row("mobilenet_v1", map=22.2, params=5.1, madds=1.3),
    V2Table6Row("mobilenet_v2", map=22.1, params=4.3, madds=0.8),
)


class V3Table6Row(NamedTuple):
    """A line of Table 6, arXiv:1905.02244, under the paper's column names.

    COCO's ids reach to 90 and each has an output, as the figures tell; params leave batch norm's out. The paper repeats
    the lines of V2's, which are left out here.
    """

    backbone: str
    map: float
    params: float
    madds: float
    dagger: bool = False  # the tail reduced
    width: float = 1.0


V3_TABLE_6 = (
    V3Table6Row("mobilenet_v3_large", map=22.0, params=4.97, madds=0.62),
    V3Table6Row("mobilenet_v3_large", map=22.0, params=3.22, madds=0.51, dagger=True),
    V3Table6Row("mobilenet_v2", map=13.7, params=0.93, madds=0.16, width=0.35),
    V3Table6Row("mobilenet_v2", map=16.6, params=1.54, madds=0.27, width=0.5),
    V3Table6Row("mobilenet_v3_small", map=16.0, params=2.49, madds=0.21),
    V3Table6Row("mobilenet_v3_small", map=16.1, params=1.77, madds=0.16, dagger=True),
)

TORCHVISION = PublishedDetector(  # its metadata
    "torchvision",
    "COCO val2017",
    DetectorNetwork("mobilenet_v3_large", reduced_tail=True, box_plan="torchvision"),
    params_millions=3.440,
    madds_billions=0.583,
    ap_percent=21.3,
)


def rows_of_papers() -> Iterator[PublishedDetector]:
    split = "COCO test-dev"
    for v2 in V2_TABLE_6:
        network = DetectorNetwork(v2.network, num_classes=80)
        yield PublishedDetector("arXiv:1801.04381, Table 6", split, network, v2.params, v2.madds, v2.map)
    for v3 in V3_TABLE_6:
        network = DetectorNetwork(v3.backbone, v3.width, v3.dagger)
        yield PublishedDetector("arXiv:1905.02244, Table 6", split, network, v3.params, v3.madds, v3.map)


DETECTORS = (*rows_of_papers(), TORCHVISION)
