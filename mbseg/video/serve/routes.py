"""What the server answers to whom: a page and a WebSocket, for those who have the token."""

import asyncio
from contextlib import suppress
from secrets import compare_digest
from typing import Any

from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler

from mbseg.video.serve.broadcast import Broadcast
from mbseg.video.serve.messages import LARGEST_MESSAGE
from mbseg.video.serve.page import content_security_policy, demo_page
from mbseg.video.serve.turns import Turns
from mbseg.video.serve.visitors import Visitor

MOST_VISITORS = 8  # at a time
HEARTBEAT = 20.0  # seconds; who does not react within half of them has gone
PARTING = 0.5  # seconds that a page gets to say goodbye
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "Server": "mbseg",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Routes:
    """The page and its visitors."""

    def __init__(self, broadcast: Broadcast, turns: Turns, hello: dict[str, Any], token: str) -> None:
        self.broadcast = broadcast
        self.turns = turns
        self.hello = hello
        self.token = token
        self.visitors: set[Visitor] = set()
        self.answered_before = 0  # frames of the cameras of visitors who have left

    @property
    def answered(self) -> int:
        """Frames of visitors' cameras so far."""
        return self.answered_before + sum(visitor.answered for visitor in tuple(self.visitors))

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self.for_token_holders])
        application.on_response_prepare.append(add_headers)
        application.on_shutdown.append(self.send_away)
        application.router.add_get("/", self.page)
        application.router.add_get("/socket", self.socket)
        return application

    @web.middleware
    async def for_token_holders(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.query.get("token", "")
        if not compare_digest(given.encode(errors="replace"), self.token.encode()):
            raise web.HTTPForbidden(text="This page needs the whole address that mbseg printed, with its token.\n")
        return await handler(request)

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=demo_page(), content_type="text/html", charset="utf-8")

    async def socket(self, request: web.Request) -> web.StreamResponse:
        check_origin(request)
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT, timeout=PARTING, compress=False, max_msg_size=LARGEST_MESSAGE
        )
        await socket.prepare(request)
        if len(self.visitors) >= MOST_VISITORS:
            await socket.send_json({"error": f"{MOST_VISITORS} visitors are here already, which is the most"})
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
            return socket
        with suppress(ConnectionError):  # whoever leaves in the midst of a word
            await socket.send_json(self.hello)
            await self.receive(Visitor(socket, self.broadcast, self.turns))
        return socket

    async def receive(self, visitor: Visitor) -> None:
        self.visitors.add(visitor)
        try:
            await visitor.stay()
        finally:
            self.visitors.discard(visitor)
            self.answered_before += visitor.answered

    async def send_away(self, _application: web.Application) -> None:
        goodbyes = [part(visitor.socket) for visitor in self.visitors]
        await asyncio.gather(*goodbyes)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def check_origin(request: web.Request) -> None:
    """Browsers say which page opens a WebSocket; only our own may. Raises HTTPForbidden for another."""
    origin = request.headers.get("Origin", "")
    if origin not in (f"http://{request.host}", f"https://{request.host}"):  # the latter behind a proxy
        raise web.HTTPForbidden(text=f"The page {origin or 'without a name'} is not one of {request.host}.\n")


async def part(socket: web.WebSocketResponse) -> None:
    """A page that takes nothing any more is not waited for."""
    try:
        await asyncio.wait_for(socket.close(code=WSCloseCode.GOING_AWAY), 2 * PARTING)
    except TimeoutError:
        return
