"""A server with a predictor that needs no network: the right half of every picture is one thing."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.runtime.answers import Answer, FramePredictor, UInt8Array
from mbseg.video.frames import Frame
from mbseg.video.names import Names
from mbseg.video.serve.server import Server
from mbseg.video.sinks import Shown

BLACK, RED, BLUE = (0, 0, 0), (250, 0, 0), (0, 0, 250)
MASK = Names(("background", "wall"), (BLACK, RED))
BOXES = Names(("wall", "door"), (RED, BLUE))
TOKEN = "the-token"
PATIENCE = 20  # seconds; none of it is needed unless something hangs
T = TypeVar("T")


class Halves(FramePredictor):
    """Background on the left with a door of a tenth of the width in its upper corner, a wall on the right."""

    description = "by hand"

    def __call__(self, image: UInt8Array) -> Answer:
        height, width = image.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2 :] = 1
        door = torch.tensor([[0.0, 0.0, width / 10, height / 2]])
        return Answer(mask, Detections(door, torch.tensor([0.875]), torch.tensor([1])))

    def input_size(self, picture: Size) -> Size:
        return picture


@contextmanager
def serving(predictor: FramePredictor | None = None, **changes: Any) -> Iterator[Server]:
    settings = {"mask": MASK, "boxes": BOXES, "title": "halves", "has_source": True, "token": TOKEN, **changes}
    with Server(predictor or Halves(), **settings) as server:
        yield server


def grey(level: int, *, height: int = 48, width: int = 64) -> UInt8Array:
    return np.full((height, width, 3), level, np.uint8)


def shown(server: Server, pixels: UInt8Array) -> Shown:
    """A frame BGR on its way to the sink."""
    return Shown(Frame("0.jpg", pixels, perf_counter()), server.predictor(pixels), None)


def jpeg(pixels: UInt8Array, **options: Any) -> bytes:
    """RGB."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", **options)
    return data.getvalue()


def browse(server: Server, visit: Callable[[Any], Awaitable[T]]) -> T:
    """The result of a visit to a server; its argument is a session whose addresses begin there."""
    from aiohttp import ClientSession

    async def session() -> T:
        async with ClientSession(base(server)) as client, asyncio.timeout(PATIENCE):
            return await visit(client)

    return asyncio.run(session())


def base(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def socket_of(server: Server, client: Any, **headers: str) -> Any:
    return client.ws_connect("/socket", params={"token": TOKEN}, headers={"Origin": base(server), **headers})
