"""One network for many who ask."""

from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple

from mbseg.boxes.geometry import Size
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array


class Timed(NamedTuple):
    """An answer, and how long the predictor took over it."""

    answer: Answer
    milliseconds: float


class Turns(FramePredictor):
    """A predictor that sees one picture at a time, in the order in which they came."""

    def __init__(self, predictor: FramePredictor) -> None:
        self.predictor = predictor
        self.description = predictor.description
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="mbseg_turns")

    def __call__(self, image: UInt8Array) -> Answer:
        return self.submit(image).result().answer

    def submit(self, image: UInt8Array) -> Future[Timed]:
        return self.worker.submit(self._answer, image)

    def input_size(self, picture: Size) -> Size:
        return self.predictor.input_size(picture)

    def close(self) -> None:
        """Waits for the picture at work; those behind it are not looked at."""
        self.worker.shutdown(cancel_futures=True)

    def _answer(self, image: UInt8Array) -> Timed:
        start = perf_counter()
        answer = self.predictor(image)
        return Timed(answer, 1000 * (perf_counter() - start))
