"""Loading is all or nothing, and says what became of every key."""

import pytest
import torch
from torch import Tensor, nn

from mbseg.errors import WeightsError
from mbseg.weights.report import load_state


def make_model() -> nn.Module:
    return nn.ModuleDict({"body": nn.Linear(3, 4), "norm": nn.BatchNorm2d(4), "classifier": nn.Linear(4, 2)})


def filled(model: nn.Module, value: float) -> dict[str, Tensor]:
    return {key: torch.full_like(tensor, value) for key, tensor in model.state_dict().items()}


def test_what_fits_is_loaded_and_reported() -> None:
    model = make_model()
    report = load_state(model, filled(model, 3), origin="x.pth", ignored={"head.weight": "the head"})
    assert all((tensor == 3).all() for tensor in model.state_dict().values())
    assert set(report.loaded) == set(model.state_dict())
    assert str(report) == "9 tensors loaded, 1 ignored: head.* (the head)"


def test_what_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    model = make_model()
    state = filled(model, 3)
    del state["norm.bias"]
    state |= {"body.weight": torch.zeros(3, 4), "body.bias": torch.zeros(4, dtype=torch.int8), "tail": torch.zeros(1)}
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_state(model, state, origin="x.pth")
    assert str(caught.value) == (
        "x.pth does not fit the model: 1 missing (norm.bias), 1 unexpected (tail), 2 of another shape or type "
        "(body.weight: float32 [3, 4] in the file, float32 [4, 3] in the model, "
        "body.bias: int8 [4] in the file, float32 [4] in the model)"
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_an_error_names_a_few_keys_and_counts_all() -> None:
    with pytest.raises(WeightsError, match=r"8 missing \(body.weight, body.bias, norm.weight, ...\)$"):
        load_state(make_model(), {}, origin="x.pth")


def test_a_part_that_starts_afresh_may_have_another_shape_and_keeps_its_own_values() -> None:
    model = make_model()
    before = model["classifier"].weight.clone()
    state = filled(model, 3) | {"classifier.weight": torch.zeros(21, 4)}
    report = load_state(model, state, origin="x.pth", fresh=["classifier"])
    assert torch.equal(model["classifier"].weight, before)
    assert report.fresh == ("classifier.weight", "classifier.bias")
    assert str(report) == ("7 tensors loaded, 2 as initialised: classifier.*, 2 ignored: classifier.* (starts afresh)")


def test_old_files_without_batch_counters_fit() -> None:
    model = make_model()
    state = filled(model, 3)
    del state["norm.num_batches_tracked"]
    assert load_state(model, state, origin="x.pth").fits


def test_half_precision_loads_into_single() -> None:
    model = make_model()
    load_state(
        model,
        {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in filled(model, 3).items()},
        origin="x",
    )
    assert model["body"].weight.dtype == torch.float32
    assert (model["body"].weight == 3).all()
