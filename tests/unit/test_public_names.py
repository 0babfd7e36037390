"""What scripts outside the project rely on."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mbseg
from mbseg.cli import COMMANDS, make_app

ROOT = Path(__file__).parents[2]


def test_the_public_names_are_these() -> None:
    makers = ["create_backbone", "create_detector", "create_joint", "create_segmenter"]
    assert mbseg.__all__ == ["Variant", "class_map", *makers, "load", "profile"]
    assert all(callable(getattr(mbseg, name)) for name in mbseg.__all__)
    assert set(mbseg.__all__) <= set(dir(mbseg))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mbseg.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        ("create_backbone", ["name", "width_mult", "output_stride", "taps", "reduced_tail", "weights", "variant"]),
        (
            "create_segmenter",
            [
                *("backbone", "head", "aspp", "head_at", "low_at", "output_stride", "width_mult", "reduced_tail"),
                *("head_channels", "num_classes", "weights", "rates", "refine", "dropout", "align_corners", "variant"),
            ],
        ),
        (
            "create_detector",
            [
                *("backbone", "head", "maps", "image_size", "num_classes", "width_mult", "reduced_tail", "weights"),
                *("scores", "box_plan", "variant"),
            ],
        ),
        (
            "create_joint",
            [
                *("backbone", "head", "aspp", "head_at", "low_at", "maps", "output_stride", "image_size", "width_mult"),
                *("reduced_tail", "head_channels", "num_classes", "weights", "rates", "refine", "dropout"),
                *("align_corners", "scores", "box_plan", "variant"),
            ],
        ),
        ("load", ["path", "device"]),
        ("profile", ["model", "image_size", "accounting", "scales", "flip"]),
        ("class_map", ["logits", "size", "align_corners"]),
    ],
)
def test_their_parameters_are_these(function: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(mbseg, function)).parameters) == parameters


def test_importing_mbseg_and_asking_for_help_imports_no_torch() -> None:
    code = "import sys, mbseg.cli; mbseg.cli.main(['train', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_script_of_the_same_name(name: str) -> None:
    script = ROOT / "tools" / f"{name.replace('-', '_')}.py"
    assert f'run_tool("{name}")' in script.read_text()


def test_the_script_profile_does_not_hide_the_standard_librarys_profile() -> None:
    """torch imports `profile`; a script's folder comes first on the path."""
    command = [sys.executable, str(ROOT / "tools" / "profile.py"), "quickstart", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout)["params"] == 441_959


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_app()([name, "--help"], exit_on_error=False, print_error=False)
    assert f"mbseg {name}" in capsys.readouterr().out


def test_no_file_is_too_long_to_be_read() -> None:
    too_long = [str(path) for path in ROOT.glob("mbseg/**/*.py") if len(path.read_text().splitlines()) > 300]
    assert not too_long
