"""`mbseg check-data`."""

from mbseg.errors import DataError
from mbseg.output import AsJson, Overrides, print_json


def check_data(config: str, /, *overrides: Overrides, json: AsJson = False) -> None:
    """Read every picture and mask of a config's data, and name each file that is faulty.

    Parameters
    ----------
    config
        A config or a weights file; its data.train and data.val are read.
    """
    from mbseg import build
    from mbseg.data.check import check_dataset
    from mbseg.data.description import load_description
    from mbseg.output import progress_bar
    from mbseg.targets import experiment_of

    data = experiment_of(config, overrides).data
    splits = list(dict.fromkeys((data.train, data.val)))
    with progress_bar() as progress:
        faults = check_dataset(
            load_description(data.kind), data.root, splits, build.labels(data).classes, progress=progress
        )
    if json:
        print_json({"faults": [{"file": str(fault.file), "problem": fault.problem} for fault in faults]})
    else:
        for fault in faults:
            print(f"{fault.file}: {fault.problem}")
    if faults:
        raise DataError(
            f"{len(faults)} faults in {data.root}, splits {' and '.join(splits)}; mend or leave out these files"
        )
    if not json:
        print(f"{data.root}, splits {' and '.join(splits)}: every file is fine")
