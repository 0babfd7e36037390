"""Public weights on real pictures: imported, evaluated under the protocol that the file carries."""

import json
from pathlib import Path

import pytest

from mbseg.cli import main

SAMPLE = {  # mIoU of an independent port on the same 55 pictures of VOC 2012 val, under the same protocol
    "deeplabv3_mnv2_pascal_quant": 0.744,
    "deeplabv3_mnv2_dm05_pascal_quant": 0.685,
    "deeplabv3_257_mv_gpu": 0.718,
}


@pytest.mark.parametrize(("name", "miou"), SAMPLE.items())
def test_an_imported_deeplab_scores_what_it_is_known_to_score(
    name: str, miou: float, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, weights = shared_data / "weights" / f"{name}.tflite", tmp_path / "ours.safetensors"
    assert main(["import-weights", str(source), str(weights)]) == 0
    capsys.readouterr()
    root = f"data.root={shared_data / 'VOCdevkit/VOC2012'}"
    assert main(["evaluate", str(weights), root, "data.workers=0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 55
    assert result["absent"] == ["motorbike"]
    assert "padded to 513 x 513 with 127.5" in result["protocol"]
    assert result["miou"] == pytest.approx(miou, abs=0.007)
