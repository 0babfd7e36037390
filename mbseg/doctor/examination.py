"""All checks of one machine, the quick ones first."""

from collections.abc import Callable

from mbseg.doctor.findings import Finding
from mbseg.doctor.machine import gather_machine
from mbseg.doctor.machine_checks import check_machine
from mbseg.doctor.packages import check_opencv, check_packages, check_successor, gather_packages
from mbseg.doctor.places import check_place, gather_places
from mbseg.doctor.trying import check_trials, try_all


def examine(on_trial: Callable[[str], None] = lambda _trial: None) -> list[Finding]:
    """What is installed, what the machine has, and what comes of a self-test."""
    packages, machine = gather_packages(), gather_machine()
    return [
        *check_packages(packages),
        check_opencv(packages),
        check_successor(packages),
        *check_machine(machine),
        *(check_place(place) for place in gather_places()),
        *check_trials(try_all(on_trial), machine),
    ]
