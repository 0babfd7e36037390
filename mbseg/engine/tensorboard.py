"""TensorBoard's event files, written at once: a full disk is found where it is met, not in another thread."""

import importlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, final

logger = logging.getLogger(__name__)

VERSION: Final = "brain.Event:2"


@final
class Events:
    """One event file. The first failure to write is told, and nothing is written from then on."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """What earlier files say of `first_step` and later ones is taken back."""
        self._protocol: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        records: Any = importlib.import_module("tensorboard.summary.writer.record_writer")
        self._path = folder / f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}"
        self._records: Any = None
        try:
            self._records = records.RecordWriter(self._path.open("xb"))
        except OSError as error:
            self._give_up(error)
        start = self._protocol.SessionLog.START
        self._write(file_version=VERSION)
        self._write(step=first_step, session_log=self._protocol.SessionLog(status=start))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Values by names such as `train/loss`."""
        scalars = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self._summaries.Summary(value=scalars))

    def close(self) -> None:
        if self._records:
            with suppress(OSError):
                self._records.close()

    def _write(self, **fields: Any) -> None:
        if not self._records:
            return
        try:
            self._records.write(self._protocol.Event(wall_time=time.time(), **fields).SerializeToString())
            self._records.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s: %s; no more events for TensorBoard", self._path, error.strerror)
        self.close()
        self._records = None


def events_in(folder: Path, *, first_step: int) -> Events | None:
    """Where TensorBoard is installed (extra `track`)."""
    return Events(folder, first_step=first_step) if find_spec("tensorboard") else None
