"""The catalogue as tables, whatever they are printed as."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mbseg.analysis.published import PublishedRow
from mbseg.analysis.published_detectors import IMAGE_SIZE as DETECTOR_SIZE
from mbseg.backbones.dilation import UNDILATED
from mbseg.catalogue import IMAGE_SIZE, BackboneEntry, Catalogue, DecoderEntry, HeadEntry, ImportEntry
from mbseg.catalogue_detectors import DetectorEntry

Cells = tuple[str, ...]


class Section(NamedTuple):
    """A table under a title."""

    title: str
    text: str
    headings: Cells
    rows: tuple[Cells, ...]
    text_columns: int  # to the left; the others hold numbers
    notes: tuple[str, ...] = ()  # the cells of a last column count them from 1


def sections(catalogue: Catalogue) -> Iterator[Section]:
    """Those that have something to show."""
    found = (
        backbone_section(catalogue.backbones),
        tap_section(catalogue.backbones),
        imagenet_section(catalogue.backbones),
        head_section(catalogue.heads),
        decoder_section(catalogue.decoders),
        import_section(catalogue.imports),
        published_section(catalogue.published),
        detector_section(catalogue.detectors),
    )
    return (section for section in found if section.rows)


def backbone_section(backbones: Iterable[BackboneEntry]) -> Section:
    height, width = IMAGE_SIZE
    return Section(
        "Backbones",
        "`model.backbone.name`; `timm:<name>` is any model of timm that gives feature maps of pictures of any size. "
        f"Millions of params and multiply-adds (native) at width 1, for a picture of {height} x {width}, up to the "
        "deepest tap and without the ImageNet classifier. A head reads the tap `head.at` unless told otherwise, "
        "LR-ASPP the finer `head.low_at` beside it; SSDLite reads `head.maps`, or any taps that are named there, the "
        "finer ones first.",
        (
            *("name", "head.at", "head.low_at", "head.maps", "reduced tail", "source"),
            *("widths", "output strides", "params", "madds"),
        ),
        tuple(backbone_cells(backbone) for backbone in backbones),
        text_columns=6,
    )


def backbone_cells(backbone: BackboneEntry) -> Cells:
    return (
        backbone.name,
        backbone.head_at,
        backbone.low_at,
        ", ".join(backbone.maps),
        ", ".join(backbone.reduced_tails) or "no",
        backbone.source,
        "any" if backbone.any_width else "1",
        listed(backbone.output_strides),
        f"{backbone.params / 1e6:.3f}",
        f"{backbone.madds / 1e6:.1f}",
    )


def tap_section(backbones: Sequence[BackboneEntry]) -> Section:
    """A row a tap, its strides, and a column of channels for each backbone but those with the maps of another."""
    channels = {backbone.name: {tap.name: tap.channels for tap in backbone.taps} for backbone in backbones}
    twins = {name: first_with(maps, channels) for name, maps in channels.items()}
    columns = dict.fromkeys(twins.values())
    strides = {tap.name: tap.strides for backbone in backbones for tap in backbone.taps}
    output_strides = sorted({stride for known in strides.values() for stride in known}, reverse=True)
    return Section(
        "Feature maps",
        "The taps that a head can read: `cN` is the last map of stride 2^N, `cN_entry` the first, `cN_expansion` the "
        "wide one inside the block that leaves the stride, `last_conv` the 1x1 convolution before the pooling. The "
        f"map's stride in the undilated network (output stride {UNDILATED}) and in dilated ones, and its channels at "
        "width 1." + "".join(f" `{name}` has the maps of `{first}`." for name, first in twins.items() if name != first),
        ("tap", *(f"stride at {stride}" for stride in output_strides), *columns),
        tuple(
            (
                tap,
                *(str(strides[tap].get(stride, "")) for stride in output_strides),
                *(str(channels[name].get(tap, "")) for name in columns),
            )
            for tap in sorted(strides)
        ),
        text_columns=1,
    )


def first_with(maps: dict[str, int], channels: dict[str, dict[str, int]]) -> str:
    """The first backbone that has these maps."""
    return next(name for name, others in channels.items() if others == maps)


def imagenet_section(backbones: Iterable[BackboneEntry]) -> Section:
    return Section(
        "ImageNet weights",
        "Downloaded once with `model.backbone.weights=imagenet`; a file of these weights may be named in its place.",
        ("backbone", "published by", "width"),
        tuple((one.name, source, f"{width:g}") for one in backbones for width, source in one.imagenet.items()),
        text_columns=2,
    )


def head_section(heads: Sequence[HeadEntry]) -> Section:
    keys = tuple(dict.fromkeys(key for head in heads for key in head.settings))
    return Section(
        "Heads",
        "`model.head.kind`, and the defaults of what may be set below `model.head`. `aspp` is `dense`, `separable` or "
        "`none`, which keeps the image pooling; `rates` are 6, 12, 18 at output stride 16, in proportion at others. "
        "`scores` are `softmax` or `sigmoid`, the `box_plan` of default boxes `standard`, as in the papers, or "
        "`torchvision`.",
        ("kind", "task", "source", *keys),
        tuple((head.kind, head.task, head.source, *(setting_cell(head, key) for key in keys)) for head in heads),
        text_columns=3 + len(keys),
    )


def setting_cell(head: HeadEntry, key: str) -> str:
    """Empty for what the head does not have."""
    if key not in head.settings:
        return ""
    value = head.settings[key]
    if value is None:
        return "by the stride" if key == "rates" else "by the backbone"
    return str(value).lower()


def decoder_section(decoders: Iterable[DecoderEntry]) -> Section:
    return Section(
        "Decoders of segmentation-models-pytorch",
        "Heads too, for backbones that have their taps (c1 may be missing). `channels` may be set, in steps.",
        ("kind", "reads", "channels", "step", "output strides"),
        tuple(
            (one.kind, ", ".join(one.taps), str(one.channels), str(one.step), listed(one.output_strides))
            for one in decoders
        ),
        text_columns=2,
    )


def import_section(imports: Iterable[ImportEntry]) -> Section:
    return Section(
        "What import-weights reads",
        "`mbseg import-weights SOURCE OUT.safetensors`: a model is then used with no config, a backbone is what a "
        "training starts from.",
        ("source", "gives"),
        tuple((one.source, one.gives) for one in imports),
        text_columns=2,
    )


def published_section(rows: Sequence[PublishedRow]) -> Section:
    notes = tuple(dict.fromkeys(row.note for row in rows if row.note))
    return Section(
        "Published segmenters",
        "As printed, none measured here; mind what each was pretrained on. Params in millions, multiply-adds in "
        "billions for the picture: in the tf accounting what TensorFlow's profiler charged (`mbseg profile "
        "--accounting tf`). MF: summed over six scales and their mirror images, and scored so. `deeplabv3 none` is "
        "DeepLabV3 without ASPP, the R-ASPP of the V3 paper. Scores on test splits are left out.",
        (
            *("backbone", "head", "scored on", "pretrained on", "source", "width", "tail", "channels", "output stride"),
            *("MF", "params", "picture", "accounting", "madds", "mIoU, %", "note"),
        ),
        tuple(published_cells(row, notes) for row in rows),
        text_columns=5,
        notes=notes,
    )


def published_cells(row: PublishedRow, notes: Sequence[str]) -> Cells:
    network, source = row.network, row.source
    height, width = source.image_size
    return (
        network.backbone,
        f"{network.head} {network.aspp}" if network.aspp else network.head,
        source.split,
        source.pretraining,
        source.title,
        f"{network.width_mult:g}",
        "reduced" if network.reduced_tail else "",
        str(network.channels),
        str(network.output_stride),
        "MF" if row.mf else "",
        printed(row.params_millions),
        f"{height} x {width}",
        source.accounting,
        printed(row.madds_billions),
        printed(row.miou_percent),
        str(notes.index(row.note) + 1) if row.note else "",
    )


def detector_section(detectors: Sequence[DetectorEntry]) -> Section:
    height, width = DETECTOR_SIZE
    return Section(
        "Published detectors",
        "SSDLite on COCO; AP@[.5:.95] as printed, none measured here. Params in millions and multiply-adds (native) in "
        f"billions for a picture of {height} x {width}, as printed and, beside it, as counted here. The V3 paper's "
        "params leave batch norm's out, as the column `without norm` does. Classes are those that the printed figures "
        "fit.",
        (
            *("backbone", "source", "scored on", "width", "tail", "default boxes", "classes"),
            *("params printed", "params", "without norm", "madds printed", "madds", "AP, %"),
        ),
        tuple(detector_cells(detector) for detector in detectors),
        text_columns=3,
    )


def detector_cells(detector: DetectorEntry) -> Cells:
    row, network = detector.printed, detector.printed.network
    return (
        network.backbone,
        row.title,
        row.split,
        f"{network.width_mult:g}",
        "reduced" if network.reduced_tail else "",
        network.box_plan,
        str(network.num_classes),
        printed(row.params_millions),
        f"{detector.params / 1e6:.3f}",
        f"{detector.params_without_norm / 1e6:.3f}",
        printed(row.madds_billions),
        f"{detector.madds / 1e9:.4f}",
        f"{row.ap_percent:.1f}",
    )


def printed(figure: float | None) -> str:
    return "" if figure is None else f"{figure:g}"


def listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
