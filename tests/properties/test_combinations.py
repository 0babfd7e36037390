"""Whatever can be asked for either builds, trains and evaluates, or is refused with one sentence before that."""

from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mbseg import build
from mbseg.backbones.zoo import MOBILENETS, known_taps
from mbseg.config.load import make_experiment
from mbseg.data.samples import Batch
from mbseg.errors import ConfigError
from mbseg.heads.smp_decoders import DECODERS
from mbseg.tasks.segmentation import SegmentationTask

TIMM = ("timm:mobilenetv4_conv_small_050", "timm:tinynet_e", "timm:semnasnet_050")  # small ones
SMALLEST = {"smp:pan": 8}  # rows and columns of the deepest map
thorough = settings(
    max_examples=60, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def task_of(model: dict[str, Any]) -> SegmentationTask:
    tree = {"model": model, "data": {"kind": "voc", "root": "datasets/voc2012"}}
    return build.segmentation_task(make_experiment(tree, source="a test"), weights=False)


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
    if "v2" in name or "v3" in name:
        backbone["reduced_tail"] = draw(st.booleans()) and name in MOBILENETS
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
    if kind != "deeplabv3":
        head["low_at"] = draw(st.sampled_from([tap for tap in taps if tap[:2] in ("c1", "c2", "c3")]))
    return head


sides = st.integers(33, 97)


@thorough
@given(model=valid_models(), height=sides, width=sides)
def test_any_valid_combination_builds_trains_one_step_and_evaluates(
    model: dict[str, Any], height: int, width: int
) -> None:
    deepest = SMALLEST.get(model["head"]["kind"], 1) * model["output_stride"]
    train_and_evaluate(task_of(model), (max(height, deepest), max(width, deepest)))


anything = st.fixed_dictionaries(
    {
        "backbone": st.fixed_dictionaries(
            {"name": st.sampled_from(["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "resnet101_beta", "vgg"])},
            optional={
                "width_mult": st.sampled_from([0.01, 0.5, 1.0, 9.0]),
                "reduced_tail": st.booleans(),
                "shortcut": st.sampled_from(["none", "all"]),
                "padding": st.sampled_from(["tensorflow", "valid"]),
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
                "channels": st.sampled_from([0, 8, 24]),
                "rates": st.sampled_from([[1, 2, 3], [0, 1, 2], [1]]),
                "dropout": st.sampled_from([0.0, 0.5, 1.5]),
                "refine": st.booleans(),
            },
        ),
    }
)


@settings(thorough, max_examples=300)
@given(model=anything)
def test_what_cannot_be_built_is_refused_with_one_sentence(model: dict[str, Any]) -> None:
    refusal = refusal_of(model)
    assert refusal is None or ("\n" not in refusal and 20 < len(refusal) < 400)


def refusal_of(model: dict[str, Any]) -> str | None:
    try:
        with torch.device("meta"):
            task_of(model)
    except ConfigError as error:
        return str(error)
    return None
