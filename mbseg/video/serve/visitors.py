"""One who looks at the page: gets frames of the source for the asking, and answers to those of a camera."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from time import perf_counter
from typing import NamedTuple

from aiohttp import WSCloseCode, web

from mbseg.errors import first_line
from mbseg.runtime.answers import UInt8Array
from mbseg.video.serve.broadcast import Broadcast, milliseconds_since
from mbseg.video.serve.messages import NEXT, VisitorError, encode, read_frame
from mbseg.video.serve.newest import Newest
from mbseg.video.serve.turns import Timed, Turns

logger = logging.getLogger(__name__)

MOST_ASKED = 2  # frames of the source on the way to one page: one travels while the other is drawn


class Received(NamedTuple):
    """A message of a visitor's camera."""

    data: bytes
    moment: float  # perf_counter seconds


class Visitor:
    """A WebSocket and what is asked over it; nothing of what it brings is kept."""

    def __init__(self, socket: web.WebSocketResponse, broadcast: Broadcast, turns: Turns) -> None:
        self.socket = socket
        self.broadcast = broadcast
        self.turns = turns
        self.asked = asyncio.Semaphore(0)
        self.waiting = 0  # frames asked for and not yet sent
        self.sent: deque[float] = deque(maxlen=MOST_ASKED)  # when each frame left that the page has not drawn yet
        self.round_trip_ms: float | None = None
        self.camera: Newest[Received] = Newest()
        self.answered = 0

    async def stay(self) -> None:
        """Until the visitor leaves, is sent away, or says too much at once."""
        speeches = (self.show_source(), self.answer_camera())
        speaking = [asyncio.create_task(self.speak(speech)) for speech in speeches]
        try:
            async for message in self.socket:
                if message.type is web.WSMsgType.BINARY:
                    self.camera.put(Received(message.data, perf_counter()))
                elif message.type is web.WSMsgType.TEXT and message.data == NEXT:
                    self.next_asked()
                elif message.type is web.WSMsgType.TEXT:
                    await self.socket.send_json({"error": f'a text that is not "{NEXT}"'})
        finally:
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)

    async def speak(self, speech: Coroutine[None, None, None]) -> None:
        """Until the visitor has left, or cannot be spoken to."""
        try:
            await speech
        except ConnectionError:  # has left
            return
        except Exception as error:
            logger.warning("a visitor is sent away: %s", first_line(error))
            await self.socket.close(code=WSCloseCode.INTERNAL_ERROR)

    def next_asked(self) -> None:
        """The page asks again once it has drawn a frame."""
        if self.sent:
            self.round_trip_ms = milliseconds_since(self.sent.popleft())
        if self.waiting < MOST_ASKED:
            self.waiting += 1
            self.asked.release()

    async def show_source(self) -> None:
        number = 0
        while await self.asked.acquire():
            number, captured, encoded = await self.broadcast.after(number)
            self.waiting -= 1
            self.sent.append(perf_counter())
            times = {"server_ms": milliseconds_since(captured), "round_trip_ms": self.round_trip_ms}
            await self.socket.send_bytes(encoded.message({"of": "source", "number": number, **times}))

    async def answer_camera(self) -> None:
        """One frame after the other; those that come while one is looked at count as long as none is newer."""
        seen = 0
        while True:
            seen, received = await self.camera.after(seen)
            try:
                answer = await self.answer(received)
            except VisitorError as error:
                await self.socket.send_json({"error": str(error)})
            else:
                await self.socket.send_bytes(answer)
                self.answered += 1

    async def answer(self, received: Received) -> bytes:
        """Raises VisitorError."""
        number, image = await asyncio.to_thread(read_frame, received.data)
        timed = await self.judge(image)
        encoded = await asyncio.to_thread(encode, timed.answer, (image.shape[0], image.shape[1]))
        times = {"server_ms": milliseconds_since(received.moment), "network_ms": timed.milliseconds}
        return encoded.message({"of": "camera", "number": number, **times})

    async def judge(self, image: UInt8Array) -> Timed:
        """Whatever a visitor's picture does to the network, the others go on. Raises VisitorError."""
        try:
            return await asyncio.wrap_future(self.turns.submit(image))
        except Exception as error:
            logger.warning("a visitor's frame could not be answered: %s", first_line(error))
            raise VisitorError("the model cannot deal with this frame") from None
