"""`mbseg doctor`: what is installed, and how findings are told."""

import pytest

from mbseg.doctor.findings import Finding, as_text, as_tree, fault, ok, summary, warning
from mbseg.doctor.packages import (
    Need,
    Packages,
    check_opencv,
    check_packages,
    check_successor,
    gather_packages,
    needs_of,
)

NEEDS = (Need("torch", ">=2.10"), Need("opencv-python-headless", ">=4.10"), Need("onnx", ">=1.18", "export"))
INSTALLED = {"mbseg": "0.1.0", "torch": "2.14.1+cu130", "opencv-python-headless": "5.0.0.93"}


def packages(**versions: str) -> Packages:
    return Packages(
        "3.11.7", INSTALLED | {name.replace("_", "-"): version for name, version in versions.items()}, NEEDS
    )


def of(check: str, findings: list[Finding]) -> Finding:
    (found,) = (finding for finding in findings if finding.check == check)
    return found


def test_an_installation_as_it_should_be_has_nothing_to_mend() -> None:
    findings = [*check_packages(packages()), check_opencv(packages()), check_successor(packages())]
    assert {finding.level for finding in findings} == {"ok"}


@pytest.mark.parametrize("version", ["2.9.1", "2.10.0.dev1"])
def test_a_version_below_the_bound_is_a_fault_with_the_command_that_mends_it(version: str) -> None:
    found = of("torch", list(check_packages(packages(torch=version))))
    assert (found.level, found.advice) == ("fault", "pip install 'torch>=2.10'")
    assert version in found.says and ">=2.10" in found.says


def test_what_is_needed_and_not_there_is_a_fault() -> None:
    found = of("torch", list(check_packages(Packages("3.11.7", {}, NEEDS))))
    assert (found.level, found.says) == ("fault", "not installed")


def test_an_extra_that_is_not_there_is_no_fault_and_says_what_brings_it() -> None:
    found = of("mbseg[export]", list(check_packages(packages())))
    assert found.level == "ok"
    assert "pip install 'mbseg[export]'" in found.says


def test_an_extra_that_is_too_old_is_a_fault() -> None:
    found = of("mbseg[export]", list(check_packages(packages(onnx="1.17.0"))))
    assert (found.level, found.advice) == ("fault", "pip install 'onnx>=1.18'")
    assert of("mbseg[export]", list(check_packages(packages(onnx="1.18.0")))).level == "ok"


@pytest.mark.parametrize("other", ["opencv_python", "opencv_contrib_python", "opencv_contrib_python_headless"])
def test_two_builds_of_opencv_are_a_fault_and_both_have_to_go(other: str) -> None:
    found = check_opencv(packages(**{other: "4.12.0"}))
    name = other.replace("_", "-")
    assert found.level == "fault"
    assert found.advice == (f"pip uninstall -y {name} opencv-python-headless && pip install opencv-python-headless")


def test_the_successor_of_albumentations_is_a_fault() -> None:
    assert check_successor(packages(albumentationsx="2.3.0")).level == "fault"


def test_needs_are_read_from_metadata_with_the_extra_that_brings_them() -> None:
    requirements = [
        "torch>=2.10",
        'Colorama; sys_platform == "nowhere"',
        'onnx>=1.18; extra == "export"',
        'onnx>=1.18; extra == "openvino"',
        'ruff; extra == "dev"',
    ]
    assert needs_of(requirements, ["export", "openvino"]) == [
        Need("torch", ">=2.10"),
        Need("onnx", ">=1.18", "export"),
        Need("onnx", ">=1.18", "openvino"),
    ]


def test_mbsegs_own_metadata_is_found() -> None:
    found = gather_packages()
    assert found.installed["mbseg"]
    assert {"torch", "opencv-python-headless", "numba"} <= {need.name for need in found.needs if need.extra is None}
    assert {"export", "serve"} <= {need.extra for need in found.needs}
    assert not any(need.extra == "dev" for need in found.needs)


def test_the_report_says_below_a_finding_what_to_do() -> None:
    findings = [ok("a", "fine"), warning("bc", "slow", "wait"), fault("d", "broken", "mend it")]
    assert as_text(findings).splitlines() == [
        "ok       a   fine",
        "warning  bc  slow",
        "             -> wait",
        "fault    d   broken",
        "             -> mend it",
    ]
    assert summary(findings) == "1 fault and 1 warning in 3 checks"
    told = as_tree(findings)
    assert (told["faults"], told["warnings"]) == (1, 1)
    assert told["findings"][1] == {"check": "bc", "level": "warning", "says": "slow", "advice": "wait"}
