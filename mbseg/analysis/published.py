"""What papers and libraries print of segmentation networks that can be built here: facts, to stand beside our own."""

from collections.abc import Iterator
from typing import NamedTuple

from mbseg.analysis.complexity import Accounting
from mbseg.heads.aspp import Aspp


class Network(NamedTuple):
    """What makes two networks the same, under the config's words, with nothing left to be filled in."""

    backbone: str
    head: str
    at: str
    channels: int
    aspp: Aspp | None = None  # deeplabv3 and deeplabv3plus
    width_mult: float = 1.0
    reduced_tail: bool = False
    output_stride: int = 16


class Source(NamedTuple):
    """Where rows are printed, and what holds for all of them."""

    title: str
    data: str  # data.kind of a config
    split: str
    pretraining: str  # before the training on `data`
    image_size: tuple[int, int]  # of the madds
    accounting: Accounting  # of the madds


VOC = Source("arXiv:1801.04381, Table 7", "voc", "VOC 2012 val", "ImageNet, COCO", (513, 513), "tf")
ZOO = VOC._replace(title="TensorFlow DeepLab, model zoo")
CITYSCAPES = Source("arXiv:1905.02244, Table 7", "cityscapes", "Cityscapes val", "none", (1025, 2049), "tf")
CITYSCAPES_TEST = CITYSCAPES._replace(title="arXiv:1905.02244, Table 8", split="Cityscapes test")
TORCHVISION = Source("torchvision", "coco_voc_labels", "COCO val2017, VOC's classes", "ImageNet", (520, 520), "native")


class PublishedRow(NamedTuple):
    """One printed row. None: not printed."""

    source: Source
    network: Network
    mf: bool  # scored, and charged, over six scales and their mirror images
    params_millions: float | None
    madds_billions: float  # of one picture, summed over the passes
    miou_percent: float | None
    note: str = ""


class V2Table7Row(NamedTuple):
    """A line of Table 7, arXiv:1801.04381, under the paper's own column names; no ASPP: 1x1 conv + image pooling."""

    network: str
    os: int
    aspp: bool
    mf: bool
    miou: float
    params: float
    madds: float
    note: str = ""


ONE_SHORT = "48.9 B less than the network costs: a rate-36 convolution of one pass seems to be missing"
V2_TABLE_7 = (
    V2Table7Row("mobilenet_v1", 16, True, False, miou=75.29, params=11.15, madds=14.25),
    V2Table7Row("mobilenet_v1", 8, True, True, miou=78.56, params=11.15, madds=941.9, note=ONE_SHORT),
    V2Table7Row("mobilenet_v2", 16, True, False, miou=75.70, params=4.52, madds=5.8),
    V2Table7Row("mobilenet_v2", 8, True, True, miou=78.42, params=4.52, madds=387),
    V2Table7Row("mobilenet_v2", 16, False, False, miou=75.32, params=2.11, madds=2.75),
    V2Table7Row("mobilenet_v2", 8, False, True, miou=77.33, params=2.11, madds=152.6),
    V2Table7Row("resnet101_beta", 16, True, False, miou=80.49, params=58.16, madds=81.0),
    V2Table7Row("resnet101_beta", 8, True, True, miou=82.70, params=58.16, madds=4870.6),
)


class ZooRow(NamedTuple):
    """A MobileNetV2 of TensorFlow DeepLab's model_zoo.md; the 8-bit scores are from its quantize.md."""

    depth_multiplier: float
    os: int
    mf: bool
    miou: float
    madds: float
    note: str = ""


MODEL_ZOO = (
    ZooRow(0.5, 16, False, miou=70.19, madds=0.88, note="69.65 in 8 bits; channels not rounded to multiples of eight"),
    ZooRow(1.0, 16, False, miou=75.32, madds=2.75, note="74.26 in 8 bits"),
    ZooRow(1.0, 8, True, miou=77.33, madds=152.59),
)


class V3Table7Row(NamedTuple):
    """A line of Tables 7 and 8 (scored on test, left out), arXiv:1905.02244, under the paper's column names."""

    backbone: str
    rf2: bool  # the tail reduced
    lite: bool  # "SH", segmentation head: R-ASPP or LR-ASPP
    f: int  # channels of the head
    miou: float | None
    params: float
    madds: float
    width: float = 1.0
    os: int = 16


V3_TABLE_7 = (
    V3Table7Row("mobilenet_v2", False, False, 256, miou=72.84, params=2.11, madds=21.29),
    V3Table7Row("mobilenet_v2", True, False, 256, miou=72.56, params=1.15, madds=13.68),
    V3Table7Row("mobilenet_v2", True, True, 256, miou=72.97, params=1.02, madds=12.83),
    V3Table7Row("mobilenet_v2", True, True, 128, miou=72.74, params=0.98, madds=12.57),
    V3Table7Row("mobilenet_v3_large", False, False, 256, miou=72.64, params=3.60, madds=18.43),
    V3Table7Row("mobilenet_v3_large", True, False, 256, miou=71.91, params=1.76, madds=11.24),
    V3Table7Row("mobilenet_v3_large", True, True, 256, miou=72.37, params=1.63, madds=10.33),
    V3Table7Row("mobilenet_v3_large", True, True, 128, miou=72.36, params=1.51, madds=9.74),
    V3Table7Row("mobilenet_v2", True, True, 128, miou=68.57, params=0.28, madds=4.00, width=0.5),
    V3Table7Row("mobilenet_v3_small", True, True, 128, miou=68.38, params=0.47, madds=2.90),
)
V3_TABLE_8 = (
    V3Table7Row("mobilenet_v3_large", True, True, 128, miou=None, params=1.51, madds=7.74, os=32),
    V3Table7Row("mobilenet_v3_small", True, True, 128, miou=None, params=0.47, madds=2.06, os=32),
)


class TorchvisionRow(NamedTuple):
    """The metadata of torchvision's weights on mobilenet_v3_large; trained on COCO's pictures."""

    head: str
    aspp: Aspp | None
    channels: int
    num_params: float
    ops: float
    miou: float
    note: str


TORCHVISION_ROWS = (
    TorchvisionRow(
        *("deeplabv3", "dense", 256),
        num_params=11.029,
        ops=10.452,
        miou=60.3,
        note="ASPP's rates 12, 24, 36; a 3x3 convolution before the classifier; params with the auxiliary head",
    ),
    TorchvisionRow("lraspp", None, 128, num_params=3.222, ops=2.086, miou=57.9, note="the finer tap is c3_entry"),
)


def find(data: str, network: Network, *, mf: bool = False) -> PublishedRow | None:
    """What was printed of `network`, trained and scored on the data set of that kind; papers before libraries."""
    return next((row for row in ROWS if (row.source.data, row.network, row.mf) == (data, network, mf)), None)


def rows_of_v2_table_7() -> Iterator[PublishedRow]:
    for row in V2_TABLE_7:
        aspp: Aspp = "dense" if row.aspp else "none"
        network = Network(row.network, "deeplabv3", "c5", 256, aspp, output_stride=row.os)
        yield PublishedRow(VOC, network, row.mf, row.params, row.madds, row.miou, row.note)


def rows_of_model_zoo() -> Iterator[PublishedRow]:
    for row in MODEL_ZOO:
        network = Network("mobilenet_v2", "deeplabv3", "c5", 256, "none", row.depth_multiplier, output_stride=row.os)
        yield PublishedRow(ZOO, network, row.mf, None, row.madds, row.miou, row.note)


def rows_of_v3_tables() -> Iterator[PublishedRow]:
    for source, table in ((CITYSCAPES, V3_TABLE_7), (CITYSCAPES_TEST, V3_TABLE_8)):
        for row in table:
            head = "lraspp" if row.lite else "deeplabv3"
            aspp: Aspp | None = None if row.lite else "none"
            at = "c5" if row.backbone == "mobilenet_v2" else "last_conv"
            network = Network(row.backbone, head, at, row.f, aspp, row.width, row.rf2, row.os)
            yield PublishedRow(source, network, False, row.params, row.madds, row.miou)


def rows_of_torchvision() -> Iterator[PublishedRow]:
    for row in TORCHVISION_ROWS:
        network = Network("mobilenet_v3_large", row.head, "last_conv", row.channels, row.aspp)
        note = f"dilated as torchvision does; {row.note}"
        yield PublishedRow(TORCHVISION, network, False, row.num_params, row.ops, row.miou, note)


ROWS = (*rows_of_v2_table_7(), *rows_of_model_zoo(), *rows_of_v3_tables(), *rows_of_torchvision())
