"""`mbseg doctor` as users run it: on this machine, and where torch is broken."""

import json
from pathlib import Path

import pytest

from mbseg.cli import main
from mbseg.doctor.self_test import STEPS


def test_the_self_test_trains_resumes_and_evaluates_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    main(["doctor", "--json"])
    said = capsys.readouterr()
    told = json.loads(said.out)
    levels = {finding["check"]: finding["level"] for finding in told["findings"]}
    assert {f"self-test: {step}": "ok" for step in STEPS}.items() <= levels.items(), told
    assert {"torch", "OpenCV builds", "cores", "memory", "disk: runs", "imports", "accelerators"} <= levels.keys()
    assert list(tmp_path.iterdir()) == []


def test_a_broken_torch_is_a_finding_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert main(["doctor"]) == 2
    said = capsys.readouterr()
    assert "import torch" in said.out and "OSError: libcudart.so.13" in said.out
    assert "disk: runs" in said.out and "Traceback" not in said.out
    assert said.err.count("\n") == 1
    assert "fault" in said.err
