"""`mbseg doctor`: what is tried in a process of its own, and what comes of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mbseg.doctor import self_test
from mbseg.doctor.machine import gather_machine
from mbseg.doctor.trying import Outcome, check_trials, try_all
from mbseg.engine.checkpoint import load_checkpoint, save_checkpoint

MACHINE = gather_machine()


def test_a_library_that_cannot_be_imported_is_one_fault_with_its_remedy() -> None:
    broken = Outcome("import cv2", error="ImportError: libGL.so.1: cannot open shared object file")
    needing_it = Outcome("import albumentations", error=broken.error)
    (found,) = check_trials([Outcome("import numpy", 0.1), broken, needing_it], MACHINE)
    assert (found.check, found.level, found.says) == ("import cv2", "fault", broken.error)
    assert "opencv-python-headless" in found.advice


def test_a_step_that_fails_is_a_fault_and_others_are_told_with_their_time() -> None:
    outcomes = [Outcome("import numpy", 0.1), Outcome("training", 2.0, "4 steps"), Outcome("resuming", 1.0, error="no")]
    imports, training, resuming = check_trials(outcomes, MACHINE)
    assert imports.level == training.level == "ok"
    assert training.says == "4 steps (2.0 s)"
    assert (resuming.level, resuming.says) == ("fault", "no")


def stand_in(folder: Path, module: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For new processes, `module` is this."""
    (folder / f"{module}.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_library_that_takes_its_process_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "scipy", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", monkeypatch)
    outcomes = try_all()
    assert [outcome.trial for outcome in outcomes] == ["import numpy", "import scipy"]
    assert outcomes[-1].error == "ended with SIGSEGV"


def test_a_library_that_does_not_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "numpy", "import time\ntime.sleep(600)\n", monkeypatch)
    (outcome,) = try_all(longest=2)
    assert outcome.error == "did not end in time"


def test_what_libraries_print_is_not_taken_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "import os\nprint('hello')\nos.write(1, b'hello\\n')\nraise SystemExit('no licence')\n"
    stand_in(tmp_path, "numpy", body, monkeypatch)
    (outcome,) = try_all()
    assert outcome.error == "ended with exit code 1 (no licence)"


def test_a_class_map_of_other_classes_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(self_test, "class_map", lambda _logits, size: torch.zeros(1, *size, dtype=torch.uint8))
    with pytest.raises(self_test.SelfTestError, match="class_map differs from interpolation and arg-max in"):
        self_test.compare_class_maps(tmp_path)


def test_a_training_that_goes_on_to_other_weights_and_scores_is_found(tmp_path: Path) -> None:
    self_test.train_a_little(tmp_path)
    self_test.evaluate_the_best(tmp_path)
    last = tmp_path / "cut" / "last.pt"
    saved = load_checkpoint(last)
    assert saved.step == self_test.STEPS_OF_TRAINING // 2
    save_checkpoint(last, replace(saved, model={name: value * 1.5 for name, value in saved.model.items()}))
    with pytest.raises(self_test.SelfTestError, match="resumed at step 2, the training ends with other weights"):
        self_test.resume_to_the_same_bits(tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"miou": 0', '"miou": 1'))
    with pytest.raises(self_test.SelfTestError, match="the weights scored 1"):
        self_test.evaluate_the_best(tmp_path)
