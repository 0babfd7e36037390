"""Whatever can be asked for either builds, trains and evaluates, or is refused with one sentence before that."""

from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mbseg import build_segmentation
from mbseg.backbones.zoo import MOBILENETS, known_taps
from mbseg.config.load import make_experiment
from mbseg.data.samples import Batch
from mbseg.errors import ConfigError
from mbseg.heads.smp_decoders import DECODERS
from mbseg.tasks.segmentation import SegmentationTask

TIMM = ("timm:mobilenetv4_conv_small_050", "timm:tinynet_e", "timm:semnasnet_050")  # small ones
thorough = settings(
    max_examples=60, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def task_of(model: dict[str, Any]) -> SegmentationTask:
    tree = {"model": model, "data": {"kind": "voc", "root": "datasets/voc2012"}}
    return build_segmentation.task(make_experiment(tree, source="a test"), weights=False)


def train_and_evaluate(task: SegmentationTask, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *size), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, 21, (2, *size), generator=generator, dtype=torch.uint8)
    batch = Batch(["a", "b"], images, masks)
    loss = sum(task.train()(batch).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in task.parameters())
    metric = task.metric()
    predicted = task.eval().predict(batch)
    assert predicted.shape == masks.shape
    metric.update(predicted, batch)
    assert 0 <= metric.compute()["miou"] <= 1


@st.composite
def valid_models(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([*MOBILENETS, *TIMM]))
    backbone: dict[str, Any] = {"name": name}
    if name in MOBILENETS:
        backbone["width_mult"] = draw(st.sampled_from([0.25, 0.35, 0.5]))
        backbone["padding"] = draw(st.sampled_from(["symmetric", "tensorflow"]))
        backbone["channel_divisor"] = (
            draw(st.sampled_from([1, 8])) if backbone["width_mult"] == 0.5 else 8
        )  # PSPNet: / 4
        backbone["dilation_plan"] = draw(st.sampled_from(["standard", "torchvision"]))
    if name.startswith(("mobilenet_v2", "mobilenet_v3")):
        backbone["reduced_tail"] = draw(st.booleans())
    if name == "mobilenet_v2":
        backbone["bottleneck"] = draw(st.sampled_from(["linear", "activated"]))
        backbone["shortcut"] = draw(st.sampled_from(["bottleneck", "expansion", "none"]))
    kind = draw(st.sampled_from(["deeplabv3", "deeplabv3plus", "lraspp", *(f"smp:{name}" for name in DECODERS)]))
    stride = draw(st.sampled_from(DECODERS[kind[4:]].output_strides if kind.startswith("smp:") else (8, 16, 32)))
    head = {"kind": kind} | ({} if kind.startswith("smp:") else draw(settings_of(kind, known_taps(name))))
    return {"backbone": backbone, "output_stride": stride, "head": head, "align_corners": draw(st.booleans())}


@st.composite
def settings_of(draw: st.DrawFn, kind: str, taps: list[str]) -> dict[str, Any]:
    head: dict[str, Any] = {"at": draw(st.sampled_from([tap for tap in taps if tap[:2] in ("c4", "c5", "la")]))}
    head["channels"] = draw(st.sampled_from([8, 20]))
    if kind != "lraspp":
        head["aspp"] = draw(st.sampled_from(["dense", "separable", "none"]))
        head["rates"] = draw(st.sampled_from([None, [1, 2, 3]])) if head["aspp"] != "none" else None
    if kind != "deeplabv3":
        head["low_at"] = draw(st.sampled_from([tap for tap in taps if tap[:2] in ("c1", "c2", "c3")]))
    return head


sides = st.integers(33, 97)


@thorough
@given(model=valid_models(), height=sides, width=sides)
def test_any_valid_combination_builds_trains_one_step_and_evaluates(
    model: dict[str, Any], height: int, width: int
) -> None:
    decoder = DECODERS.get(model["head"]["kind"].removeprefix("smp:")) if "smp:" in model["head"]["kind"] else None
    deepest = (decoder.smallest_map if decoder else 1) * model["output_stride"]
    train_and_evaluate(task_of(model), (max(height, deepest), max(width, deepest)))


def test_the_papers_yardstick_trains_and_evaluates_too() -> None:
    model = {"backbone": {"name": "resnet101_beta"}, "head": {"kind": "lraspp", "channels": 8}}
    train_and_evaluate(task_of(model), (33, 45))


anything = st.fixed_dictionaries(
    {
        "backbone": st.fixed_dictionaries(
            {"name": st.sampled_from(["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "resnet101_beta", "vgg"])},
            optional={
                "width_mult": st.sampled_from([0.01, 0.5, 1.0, 9.0]),
                "reduced_tail": st.booleans(),
                "shortcut": st.sampled_from(["bottleneck", "none", "all"]),
                "padding": st.sampled_from(["symmetric", "tensorflow", "valid"]),
            },
        ),
        "output_stride": st.sampled_from([4, 8, 16, 32]),
        "head": st.fixed_dictionaries(
            {
                "kind": st.sampled_from(
                    ["deeplabv3", "deeplabv3plus", "lraspp", "smp:unet", "smp:linknet", "smp:x", "fcn"]
                )
            },
            optional={
                "aspp": st.sampled_from(["dense", "none", "sparse"]),
                "at": st.sampled_from(["c1", "c5", "last_conv", "c9"]),
                "low_at": st.sampled_from(["c2", "c5", "c3_expansion", "c9"]),
                "channels": st.sampled_from([0, 8, 24, 32]),
                "rates": st.sampled_from([[1, 2, 3], [0, 1, 2], [1]]),
                "dropout": st.sampled_from([0.0, 0.5, 1.5]),
                "refine": st.booleans(),
            },
        ),
    }
)
ALLOWED = {
    "deeplabv3": {"aspp", "at", "channels", "rates", "refine", "dropout"},
    "deeplabv3plus": {"aspp", "at", "low_at", "channels", "rates", "dropout"},
    "lraspp": {"at", "low_at", "channels"},
    "smp:unet": {"channels"},
    "smp:linknet": {"channels"},
}


def faults_of_backbone(name: str, width_mult: float, reduced_tail: bool, shortcut: str, padding: str) -> list[bool]:
    return [
        name == "vgg",
        width_mult not in (0.5, 1.0),
        shortcut == "all",
        padding == "valid",
        name in ("mobilenet_v1", "resnet101_beta") and (reduced_tail or shortcut != "bottleneck"),
        name == "resnet101_beta" and (width_mult != 1 or padding != "symmetric"),
    ]


def faults_of_head(head: dict[str, Any], name: str, output_stride: int) -> list[bool]:
    kind = head["kind"]
    if kind not in ALLOWED:
        return [True]
    set_keys = {key for key, value in head.items() if key != "kind" and value is not False}
    aspp = head.get("aspp", "separable" if kind == "deeplabv3plus" else "none")
    return [
        not set_keys <= ALLOWED[kind],
        aspp == "sparse",
        head.get("channels", 32) == 0,
        head.get("rates", [1, 2, 3]) != [1, 2, 3] or ("rates" in head and aspp == "none"),
        head.get("dropout") == 1.5,
        kind == "smp:unet" and head.get("channels", 32) % 16 != 0,
        kind == "smp:linknet" and output_stride != 32,
        not kind.startswith("smp:") and taps_do_not_fit(head, name, output_stride),
    ]


def taps_do_not_fit(head: dict[str, Any], name: str, output_stride: int) -> bool:
    taps = {"c1", "c2", "c3", "c4", "c5"} | ({"last_conv", "c3_expansion"} if "v2" in name or "v3" in name else set())
    taps -= {"c1"} if name == "resnet101_beta" else set()
    at = head.get("at", "last_conv" if "v3" in name else "c5")
    if head["kind"] == "deeplabv3":
        return at not in taps
    low_at = head.get("low_at", "c2" if head["kind"] == "deeplabv3plus" else "c3_expansion")
    low_at = low_at if "low_at" in head or low_at in taps else "c3"
    strides = {"c1": 2, "c2": 4, "c3": 8, "c3_expansion": 8, "c4": 16, "c5": 32, "last_conv": 32}
    if not {at, low_at} <= taps:
        return True
    return at == low_at or min(strides[low_at], output_stride) > min(strides[at], output_stride)


@settings(thorough, max_examples=400)
@given(model=anything)
def test_what_cannot_be_built_is_refused_with_one_sentence_and_nothing_else_is(model: dict[str, Any]) -> None:
    plain = {"width_mult": 1.0, "reduced_tail": False, "shortcut": "bottleneck", "padding": "symmetric"}
    backbone, head, output_stride = {**plain, **model["backbone"]}, model["head"], model["output_stride"]
    faults = [
        output_stride == 4,
        *faults_of_backbone(**backbone),
        *faults_of_head(head, backbone["name"], output_stride),
    ]
    refusal = refusal_of(model)
    assert (refusal is not None) == any(faults), refusal
    assert refusal is None or ("\n" not in refusal and 20 < len(refusal) < 400)


def refusal_of(model: dict[str, Any]) -> str | None:
    try:
        with torch.device("meta"):
            task_of(model)
    except ConfigError as error:
        return str(error)
    return None
