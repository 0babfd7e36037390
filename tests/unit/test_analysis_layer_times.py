import time

import pytest
from torch import nn

from mbseg.analysis.layer_times import measure_layers

SIZE = (9, 13)


class Pause(nn.Module):
    """Takes `seconds`, or longer."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, images):
        time.sleep(self.seconds)
        return images


def test_what_follows_a_layer_counts_to_it():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Pause(0.02), nn.Conv2d(3, 3, 1), Pause(0.01))
    taken = measure_layers(model, SIZE, layers=["2", "0"], threads=1, seconds=0)
    assert list(taken) == ["0", "2"]
    assert taken["0"] > 20
    assert taken["2"] > 10


def test_a_layer_that_runs_twice_has_the_sum():
    conv, pause = nn.Conv2d(3, 3, 1), Pause(0.01)
    taken = measure_layers(nn.Sequential(conv, pause, conv, pause), SIZE, layers=["0"], threads=1, seconds=0)
    assert taken["0"] > 20


def test_a_module_that_holds_others_is_left_out():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1))
    assert list(measure_layers(model, SIZE, layers=["0", "0.0", "1"], threads=1, seconds=0)) == ["0.0", "1"]


def test_a_model_may_be_a_layer_itself():
    assert list(measure_layers(nn.Conv2d(3, 3, 1), SIZE, layers=[""], threads=1, seconds=0)) == [""]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train(training).bfloat16()
    measure_layers(model, SIZE, layers=["0"], threads=1, seconds=0)
    assert model.training is training
    assert not model[0]._forward_pre_hooks
    assert model[0].weight.dtype.itemsize == 2
