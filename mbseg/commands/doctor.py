"""`mbseg doctor`."""

from mbseg.errors import MbsegError
from mbseg.output import AsJson, print_json


def doctor(*, json: AsJson = False) -> None:
    """Say whether this machine is fit: what is installed, what the machine has, and a self-test of real work.

    A training of a few steps on drawn shapes, resumed and evaluated, in a temporary folder; half a minute in all. Each
    line is ok, a warning or a fault, and says what to do. The exit code is 2 if there is a fault.
    """
    from mbseg.doctor.examination import examine
    from mbseg.doctor.findings import as_text, as_tree, count, summary
    from mbseg.output import progress_bar

    with progress_bar() as progress:
        findings = examine(lambda trial: progress(trial, 0, None))
    if json:
        print_json(as_tree(findings))
    else:
        print(as_text(findings))
    if count(findings, "fault"):
        raise MbsegError(f"{summary(findings)}; do what stands below each fault")
    if not json:
        print(f"fit: {summary(findings)}")
