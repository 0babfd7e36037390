"""The line of a paper that a row stands for."""

from dataclasses import dataclass

from mbseg.analysis.complexity import Accounting
from mbseg.analysis.profile import Cost, profile
from mbseg.analysis.published import Network, find
from mbseg.analysis.published_detectors import DETECTORS, IMAGE_SIZE, DetectorNetwork, PublishedDetector
from mbseg.build import untrained
from mbseg.config.schema import BackboneConfig, Experiment
from mbseg.heads.zoo import HeadOptions, plan_head

MF_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of Table 7, arXiv:1801.04381
V3_PAPER = "arXiv:1905.02244, Table 6"
WITHOUT_NORM = "the paper's params leave batch norm's out"
COMMON_BACKBONE = BackboneConfig()


@dataclass(frozen=True)
class Published:
    """A paper's figures, and ours counted as the paper counts."""

    source: str
    split: str  # of the score
    params_millions: float | None
    madds_billions: float
    score_percent: float | None  # mIoU, or COCO AP@[.5:.95]
    accounting: Accounting
    counted: Cost
    pretraining: str = ""
    note: str = ""

    def is_scored_on(self, split: str) -> bool:
        """Whether ours on that split may be set against the paper's."""
        return self.split.split()[-1] == split


def published(experiment: Experiment) -> Published | None:
    """None where no paper has the network, on that data, evaluated so."""
    if changed_backbone(experiment.model.backbone):
        return None
    return published_detector(experiment) if experiment.task == "detection" else published_segmenter(experiment)


def changed_backbone(config: BackboneConfig) -> bool:
    """Whether it is another one than the paper's of that name, such as an ablation."""
    kept = {"name": config.name, "width_mult": config.width_mult, "reduced_tail": config.reduced_tail}
    own = {"weights": config.weights, "padding": config.padding}  # neither is said in a paper
    return config != COMMON_BACKBONE.model_copy(update={**kept, **own})


def published_segmenter(experiment: Experiment) -> Published | None:
    passes, head = experiment.evaluate, experiment.model.head
    mf = passes.flip and passes.scales == MF_SCALES
    if not mf and (passes.flip or passes.scales != (1.0,)):
        return None
    if head.refine or head.rates or head.low_at or experiment.data.classes:
        return None
    row = find(experiment.data.kind, network_of(experiment), mf=mf)
    if row is None:
        return None
    return Published(
        source=row.source.title,
        split=row.source.split,
        params_millions=row.params_millions,
        madds_billions=row.madds_billions,
        score_percent=row.miou_percent,
        accounting=row.source.accounting,
        counted=cost_of(experiment, row.source.image_size, row.source.accounting),
        pretraining=row.source.pretraining,
        note=row.note,
    )


def network_of(experiment: Experiment) -> Network:
    """What the config leaves to the head is filled in. Raises ConfigError."""
    backbone, options = experiment.model.backbone, head_options(experiment)
    return Network(
        backbone=backbone.name,
        head=options.kind,
        at=options.at or "",
        channels=options.channels or 0,
        aspp=options.aspp,
        width_mult=backbone.width_mult,
        reduced_tail=backbone.reduced_tail,
        output_stride=experiment.model.output_stride,
    )


def head_options(experiment: Experiment) -> HeadOptions:
    head = experiment.model.head
    asked = HeadOptions(
        head.kind or "deeplabv3", head.aspp, head.at, head.low_at, head.channels, head.rates, head.refine, head.dropout
    )
    return plan_head(asked, experiment.model.backbone.name).options


def published_detector(experiment: Experiment) -> Published | None:
    """Papers print COCO with 80 or with 91 outputs: ours is counted with theirs."""
    model, data = experiment.model, experiment.data
    if data.kind != "coco" or data.classes or model.image_size != IMAGE_SIZE or model.head.maps is not None:
        return None
    asked = DetectorNetwork(model.backbone.name, model.backbone.width_mult, model.backbone.reduced_tail)
    asked = asked._replace(box_plan=model.head.box_plan)
    row = next((row for row in DETECTORS if row.network._replace(num_classes=asked.num_classes) == asked), None)
    return printed(row, experiment) if row else None


def printed(row: PublishedDetector, experiment: Experiment) -> Published:
    return Published(
        source=row.title,
        split=row.split,
        params_millions=row.params_millions,
        madds_billions=row.madds_billions,
        score_percent=row.ap_percent,
        accounting="native",
        counted=cost_of(experiment, IMAGE_SIZE, "native", num_classes=row.network.num_classes),
        note=WITHOUT_NORM if row.title == V3_PAPER else "",
    )


def cost_of(
    experiment: Experiment, image_size: tuple[int, int], accounting: Accounting, *, num_classes: int | None = None
) -> Cost:
    """Of one picture, on the meta device. Raises ConfigError for a network that cannot be built."""
    model, passes = untrained(experiment, device="meta", num_classes=num_classes), experiment.evaluate
    return profile(model, image_size=image_size, accounting=accounting, scales=passes.scales, flip=passes.flip)
