"""Every row is looked at before any is run: what cannot be should not show after a night."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mbseg.analysis.complexity import Accounting
from mbseg.build import builder
from mbseg.config.schema import DataConfig, Experiment
from mbseg.data.loaders import check_batch_size
from mbseg.errors import MbsegError
from mbseg.tradeoff.addresses import training_address
from mbseg.tradeoff.lines import Line
from mbseg.tradeoff.published import cost_of, published
from mbseg.tradeoff.rows import Row


def counted(row: Row, accounting: Accounting) -> Line:
    """The row's line with its costs, and the paper's. Raises ConfigError for a network that cannot be built."""
    with named(row):
        for training in row.trainings.values():
            training_address(training)  # what it starts from is there
        cost = cost_of(row.experiment, row.image_size, accounting)
        return Line(row, cost, published(row.experiment), (), None, "")


def check_training(rows: Sequence[Row]) -> None:
    """Raises ConfigError or DataError, with the row's name, for what cannot be trained."""
    pictures: dict[DataConfig, int] = {}
    for row, training in trainings(rows):
        with named(row):
            parts = builder(training.task)
            parts.check(training)
            if training.data not in pictures:
                pictures[training.data] = len(parts.dataset(training, training.data.train, augment=True))
                parts.dataset(training, training.data.val, augment=False)
            check_batch_size(pictures[training.data], training.train.batch_size, 1)


def trainings(rows: Sequence[Row]) -> Iterator[tuple[Row, Experiment]]:
    for row in rows:
        for training in row.trainings.values():
            yield row, training


@contextmanager
def named(row: Row) -> Iterator[None]:
    """Says in which row the mistake is."""
    try:
        yield
    except MbsegError as error:
        raise type(error)(f"row {row.name!r}: {error}") from None
