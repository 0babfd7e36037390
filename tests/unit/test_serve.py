import asyncio
import json
import logging
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest

from mbseg.runtime.answers import Answer, UInt8Array
from mbseg.video.serve.messages import LARGEST_MESSAGE, NUMBER, jpeg_size
from mbseg.video.serve.turns import Turns
from tests.served import PATIENCE, TOKEN, Halves, browse, grey, jpeg, serving, shown, socket_of

aiohttp = pytest.importorskip("aiohttp")


def read(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The head, and what comes behind it."""
    (length,) = NUMBER.unpack_from(message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


async def ask(visitor: Any) -> dict[str, Any]:
    await visitor.send_str("next")
    return read(await visitor.receive_bytes())[0]


def camera_frame(number: int, level: int = 100) -> bytes:
    return NUMBER.pack(number) + jpeg(grey(level))


class Broken(Halves):
    """Fails on white pictures."""

    def __call__(self, image: UInt8Array) -> Answer:
        if image.mean() > 200:
            raise ValueError("a secret of the model")
        return super().__call__(image)


class Noted(Halves):
    """Slow; notes the brightness of what it saw, in order, and that it was never called twice at a time."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.busy = threading.Lock()

    def __call__(self, image: UInt8Array) -> Answer:
        assert self.busy.acquire(blocking=False)
        time.sleep(0.02)
        self.seen.append(round(float(image.mean()) / 50))
        self.busy.release()
        return super().__call__(image)


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=the-toke", "/socket", "/socket?token=%ff", "/nothing"])
def test_without_the_token_there_is_nothing(path):
    async def visit(client):
        answer = await client.get(path)
        return answer.status, await answer.text()

    with serving() as server:
        assert browse(server, visit) == (403, "This page needs the whole address that mbseg printed, with its token.\n")


@pytest.mark.parametrize("path", ["/", "/?token=the-token"])
def test_every_answer_forbids_what_the_page_does_not_need(path):
    async def visit(client):
        return (await client.get(path)).headers

    with serving() as server:
        headers = browse(server, visit)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://[", "https://127.0.0.1.evil.example"])
def test_another_page_cannot_open_the_socket(origin):
    async def visit(client):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await socket_of(server, client, Origin=origin)
        return refused.value.status

    with serving() as server:
        assert browse(server, visit) == 403


def test_a_visitor_is_told_what_there_is_to_see():
    async def visit(client):
        async with socket_of(server, client) as visitor:
            return await visitor.receive_json()

    with serving() as server:
        hello = browse(server, visit)["hello"]
    assert [hello[key] for key in ("title", "description", "has_source", "opacity")] == ["halves", "by hand", True, 0.6]
    assert [(line["name"], line["mask"], line["box"]) for line in hello["classes"]] == [
        ("background", 0, None),
        ("wall", 1, 0),
        ("door", None, 1),
    ]


def test_a_page_gets_the_newest_frame_and_only_when_it_asks():
    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            for level in range(10):
                server.sink.write(shown(server, grey(level)))
            first = await ask(visitor)
            server.sink.write(shown(server, grey(99)))
            return first, await ask(visitor)

    with serving() as server:
        assert not server.sink.draws
        first, second = browse(server, visit)
    assert (first["of"], first["number"], second["number"]) == ("source", 10, 11)
    assert 0 <= first["server_ms"] < 1000 * PATIENCE and first["round_trip_ms"] is None
    assert 0 < second["round_trip_ms"] < 1000 * PATIENCE


def test_who_asks_for_many_frames_at_once_gets_two():
    """One that travels while the other is drawn."""

    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            for _ in range(5):
                await visitor.send_str("next")
            await visitor.send_str("what?")
            await visitor.receive_json()  # all were heard
            for level in range(2):
                server.sink.write(shown(server, grey(level)))
                await visitor.receive_bytes()
            server.sink.write(shown(server, grey(2)))
            with pytest.raises(TimeoutError):
                await visitor.receive(timeout=0.2)

    with serving() as server:
        browse(server, visit)


def test_a_page_that_never_asks_costs_no_encoding(monkeypatch):
    monkeypatch.setattr("mbseg.video.serve.broadcast.encode_shown", lambda _shown: pytest.fail("encoded"))

    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            server.sink.write(shown(server, grey(1)))
            await visitor.send_str("what?")
            return await visitor.receive_json()

    with serving() as server:
        assert browse(server, visit) == {"error": 'a text that is not "next"'}


def test_the_picture_comes_with_its_answer():
    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            await visitor.send_str("next")
            server.sink.write(shown(server, grey(80)))
            return read(await visitor.receive_bytes())

    with serving() as server:
        head, rest = browse(server, visit)
    assert head["size"] == [48, 64]
    assert jpeg_size(rest[: head["picture"]]) == (48, 64)
    assert len(rest) == head["picture"] + 5 * 2 * 48  # two stretches a row
    assert head["boxes"] == [[0.0, 0.0, 6.4, 24.0, 0.875, 1]]


def test_a_frame_of_a_camera_is_answered_without_sending_it_back():
    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            await visitor.send_bytes(camera_frame(5))
            return read(await visitor.receive_bytes())

    with serving(has_source=False) as server:
        head, rest = browse(server, visit)
    assert (head["of"], head["number"], head["size"], head["picture"]) == ("camera", 5, [48, 64], 0)
    assert 0 <= head["network_ms"] <= head["server_ms"]
    assert len(rest) == 5 * 2 * 48
    assert server.answered == 1


@pytest.mark.parametrize("nonsense", [b"", b"abcdefgh", camera_frame(1)[:-200]])
def test_a_broken_frame_is_told_and_the_next_is_answered(nonsense):
    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            await visitor.send_bytes(nonsense)
            error = await visitor.receive_json()
            await visitor.send_bytes(camera_frame(2))
            return error, read(await visitor.receive_bytes())[0]["number"]

    with serving() as server:
        error, number = browse(server, visit)
    assert error["error"].startswith("a frame ") and number == 2


def test_a_frame_that_the_model_cannot_take_disturbs_nobody(caplog):
    async def visit(client):
        async with socket_of(server, client) as visitor, socket_of(server, client) as other:
            for each in (visitor, other):
                await each.receive_json()
            await visitor.send_bytes(camera_frame(1, level=255))
            error = await visitor.receive_json()
            await other.send_bytes(camera_frame(2))
            return error, read(await other.receive_bytes())[0]["number"]

    with serving(Broken()) as server, caplog.at_level(logging.WARNING):
        assert browse(server, visit) == ({"error": "the model cannot deal with this frame"}, 2)
    assert caplog.messages == ["a visitor's frame could not be answered: a secret of the model"]


def test_who_says_too_much_at_once_has_to_go_and_the_server_lives_on(caplog):
    async def visit(client):
        async with socket_of(server, client) as visitor:
            await visitor.receive_json()
            await visitor.send_bytes(bytes(LARGEST_MESSAGE + 1))
            said = await visitor.receive()
        return said.type, visitor.close_code, (await client.get("/", params={"token": TOKEN})).status

    with serving() as server:
        assert browse(server, visit) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG, 200)
    assert caplog.messages == []


def test_there_is_room_for_so_many_visitors(monkeypatch):
    monkeypatch.setattr("mbseg.video.serve.routes.MOST_VISITORS", 1)

    async def visit(client):
        async with socket_of(server, client) as first:
            await first.receive_json()
            async with socket_of(server, client) as second:
                error, end = await second.receive_json(), await second.receive()
        async with socket_of(server, client) as third:
            return error, end.data, "hello" in await third.receive_json()

    with serving() as server:
        error, code, welcome = browse(server, visit)
    assert error == {"error": "1 visitors are here already, which is the most"}
    assert code == aiohttp.WSCloseCode.TRY_AGAIN_LATER and welcome


def test_a_visitor_who_floods_the_server_does_not_keep_another_waiting():
    async def visit(client):
        async with socket_of(server, client) as greedy, socket_of(server, client) as modest:
            for each in (greedy, modest):
                await each.receive_json()
            for number in range(40):
                await greedy.send_bytes(camera_frame(number, level=50))
            await modest.send_bytes(camera_frame(7, level=100))
            return read(await modest.receive_bytes())[0]["number"]

    predictor = Noted()
    with serving(predictor) as server:
        assert browse(server, visit) == 7
    assert predictor.seen.index(2) < 10 and len(predictor.seen) < 40  # the newest only


def test_a_predictor_for_many_sees_one_picture_at_a_time_in_their_order():
    predictor = Noted()
    turns = Turns(predictor)
    futures = [turns.submit(grey(50 * level)) for level in (3, 1, 2)]
    assert turns(grey(200)).mask is not None
    assert predictor.seen == [3, 1, 2, 4]
    assert all(np.array_equal(future.result().answer.mask, turns(grey(0)).mask) for future in futures)
    assert all(future.result().milliseconds >= 20 for future in futures)
    turns.close()


def test_closing_says_goodbye_and_leaves_no_thread():
    """Visitors of all kinds are there: one who reacts, one who reads nothing any more, one who never spoke."""

    async def visit(client):
        async with socket_of(server, client) as listening, socket_of(server, client) as deaf:
            for each in (listening, deaf):
                await each.receive_json()
            server.sink.write(shown(server, np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)))
            await deaf.send_str("next")
            start = time.perf_counter()
            closing = asyncio.create_task(asyncio.to_thread(server.close))
            goodbye = await listening.receive()
            await closing
            return goodbye.data, time.perf_counter() - start

    before = set(threading.enumerate())
    with serving() as server, socket.create_connection(("127.0.0.1", server.port)):
        code, seconds = browse(server, visit)
    assert code == aiohttp.WSCloseCode.GOING_AWAY
    assert seconds < PATIENCE
    assert set(threading.enumerate()) <= before
