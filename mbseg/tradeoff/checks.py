"""Every row is looked at before any is run: what cannot be should not show after a night."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mbseg.analysis.complexity import Accounting
from mbseg.build import builder
from mbseg.build_common import labels
from mbseg.config.schema import DataConfig, ModelConfig
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
    """Raises ConfigError, DataError or WeightsError, with the row's name, for what cannot be trained.

    The weights to start from are loaded once into every network, and so downloaded by now.
    """
    pictures: dict[DataConfig, int] = {}
    built: set[ModelConfig] = set()
    for row in rows:
        training = next(iter(row.trainings.values()))  # the others have another seed
        with named(row):
            parts = builder(training.task)
            parts.check(training)
            if training.data not in pictures:
                pictures[training.data] = len(parts.dataset(training, training.data.train, augment=True))
                parts.dataset(training, training.data.val, augment=False)
            check_batch_size(pictures[training.data], training.train.batch_size, 1)
            if training.model not in built:
                parts.model(training.model, len(labels(training).classes))
                built.add(training.model)


@contextmanager
def named(row: Row) -> Iterator[None]:
    """Says in which row the mistake is."""
    try:
        yield
    except MbsegError as error:
        raise type(error)(f"row {row.name!r}: {error}") from None
