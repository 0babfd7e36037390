"""`mbseg check-data`."""

from mbseg.errors import DataError, one_line
from mbseg.output import AsJson, Overrides, print_json


def check_data(config: str, /, *overrides: Overrides, json: AsJson = False) -> None:
    """Read every picture with its mask or boxes of a config's data, and name each file and each box that is faulty.

    Parameters
    ----------
    config
        A config or a weights file; its data.train and data.val are read.
    """
    from mbseg.build_common import labels
    from mbseg.data.check import check_dataset
    from mbseg.data.check_detection import check_detection_dataset
    from mbseg.data.check_joint import check_joint_dataset
    from mbseg.data.description import load_description
    from mbseg.output import progress_bar
    from mbseg.targets import experiment_of

    experiment = experiment_of(config, overrides)
    data = experiment.data
    splits = list(dict.fromkeys((data.train, data.val)))
    asked = load_description(data.kind), data.root, splits, labels(experiment).classes
    contents = None
    with progress_bar() as progress:
        if experiment.task == "detection":
            faults, contents = check_detection_dataset(*asked, progress=progress)
        elif experiment.task == "joint":
            faults, contents = check_joint_dataset(*asked, progress=progress)
        else:
            faults = check_dataset(*asked, progress=progress)
    if json:
        told = [{"file": str(fault.file), "problem": fault.problem} for fault in faults]
        print_json({"faults": told} | (contents.tree if contents else {}))
    else:
        for fault in faults:
            print(one_line(f"{fault.file}: {fault.problem}"))
    place = f"{data.root}, splits {' and '.join(splits)}"
    held = f" ({contents})" if contents else ""
    if faults:
        raise DataError(f"{len(faults)} faults in {place}{held}; mend or leave out what is named")
    if not json:
        print(f"{place}: every file is fine{held}")
