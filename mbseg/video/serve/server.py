"""The server of the live page, in a thread of its own."""

import asyncio
import errno
import logging
import os
import re
import secrets
import socket
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mbseg.errors import ConfigError, RunError
from mbseg.runtime.answers import FramePredictor
from mbseg.video.names import Names
from mbseg.video.overlay import OPACITY
from mbseg.video.serve.broadcast import Broadcast, BrowserSink
from mbseg.video.serve.messages import hello
from mbseg.video.serve.turns import Turns
from mbseg.video.sinks import Shown

if TYPE_CHECKING:
    from mbseg.video.serve.routes import Routes

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")
HIGHEST_PORT = 65535
TOKEN = re.compile(r"[A-Za-z0-9_-]+")
TOKEN_BYTES = 16  # of a random one
GRACE = 1.0  # seconds that requests get to end


class Running(NamedTuple):
    """What other threads need of a server that has begun."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    port: int


class Server:
    """Serves while it is open: a page with what `sink` is given, and answers to the cameras of visitors.

    `mask` and `boxes` name what the model finds, as far as it looks for it; pages begin with `opacity`. Port 0 is any
    that is free; a token is drawn unless one is given. The source's frames go through `Server.predictor` too, where all
    pictures take turns. Raises ConfigError for what cannot be served, or where aiohttp is missing.
    """

    def __init__(
        self,
        predictor: FramePredictor,
        *,
        mask: Names | None,
        boxes: Names | None,
        title: str,
        has_source: bool,
        opacity: float = OPACITY,
        host: str = LOOPBACK,
        port: int = 0,
        token: str | None = None,
    ) -> None:
        check_address(host, port, token)
        self.predictor = Turns(predictor)
        self.host = host
        self.port = port
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.broadcast = Broadcast()
        self.sink = BrowserSink(self._show)
        about = hello(title, predictor.description, has_source=has_source, mask=mask, boxes=boxes, opacity=opacity)
        self.routes = make_routes(self.broadcast, self.predictor, about, self.token)
        self.thread = Thread(target=self._run, name="mbseg_server", daemon=True)
        self.begun: Future[Running] = Future()

    def __enter__(self) -> Self:
        """Raises RunError if the port cannot be had."""
        self.thread.start()
        try:
            self.port = self.begun.result().port
        except (OSError, UnicodeError) as error:
            raise RunError(refusal(error, self.host, self.port)) from None
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Of the page, with the token."""
        name = socket.gethostname() if self.host in EVERYWHERE else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/?token={self.token}"

    @property
    def answered(self) -> int:
        """Frames of visitors' cameras so far."""
        return self.routes.answered

    def wait(self) -> None:
        """Until an interruption."""
        self.thread.join()

    def close(self) -> None:
        """Says goodbye to everybody and ends the thread."""
        if self.thread.is_alive():
            running = self.begun.result()
            running.loop.call_soon_threadsafe(running.stop.set)
            self.thread.join()
        self.predictor.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self.begun.done():
                raise
            self.begun.set_exception(error)

    async def _serve(self) -> None:
        from aiohttp import web

        application = self.routes.application()
        runner = web.AppRunner(application, logger=quiet_logger(), access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
            running = Running(asyncio.get_running_loop(), asyncio.Event(), runner.addresses[0][1])
            self.begun.set_result(running)
            await running.stop.wait()
        finally:
            await runner.cleanup()

    def _show(self, shown: Shown) -> None:
        self.begun.result().loop.call_soon_threadsafe(self.broadcast.newest.put, shown)


def check_address(host: str, port: int, token: str | None) -> None:
    if not host.strip():
        raise ConfigError(
            f"--host is empty; name {LOOPBACK} for this machine alone, or 0.0.0.0 to let other machines in"
        )
    if not 0 <= port <= HIGHEST_PORT:
        raise ConfigError(f"--serve {port}: ports are numbered from 1 to {HIGHEST_PORT}; 0 is any that is free")
    if token is not None and not TOKEN.fullmatch(token):
        raise ConfigError(f"--token {token!r}: it stands in an address; use letters, digits, - and _, at least one")


def make_routes(broadcast: Broadcast, turns: Turns, about: dict[str, Any], token: str) -> "Routes":
    """Raises ConfigError where aiohttp is missing."""
    try:
        from mbseg.video.serve.routes import Routes
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise ConfigError("--serve needs aiohttp; install it: pip install 'mbseg[serve]'") from None
    return Routes(broadcast, turns, about, token)


def quiet_logger() -> logging.Logger:
    """Silent about strangers whose messages are no HTTP, who are told so, and about whoever leaves in mid-word."""
    from aiohttp.http_exceptions import HttpProcessingError

    logger = logging.getLogger(f"{__name__}.http")
    usual = (HttpProcessingError, ConnectionError)
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], usual)))
    return logger


def refusal(error: OSError | UnicodeError, host: str, port: int) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken; name another with --serve, or 0 for any that is free"
    return f"cannot serve on port {port} of {host}: {reason(error)}; name others with --serve and --host"


def reason(error: OSError | UnicodeError) -> str:
    """The system's own words, which asyncio wraps into more."""
    if isinstance(error, UnicodeError):
        return "that is no name of a machine"
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)  # those of unknown hosts are negative
