"""`mbseg demo --serve`: the page beside a stream, or for the cameras of those who look at it."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from mbseg.cli import main

pytest.importorskip("aiohttp", reason="the page needs the extra `serve`")

Weights = Callable[[str], Path]


def run(untrained: Weights, *arguments: str | Path) -> int:
    return main(["demo", str(untrained("segmentation")), "--backend", "torch", *map(str, arguments)])


def test_the_page_is_served_while_a_source_is_shown(
    untrained: Weights, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next(shapes.rglob("*.jpg"))
    assert run(untrained, "--source", picture, "--serve", "0", "--token", "secret", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["frames"] == 1
    assert re.search(r"serving http://127\.0\.0\.1:\d+/\?token=secret", said.err)


def test_the_page_is_told_the_opacity(untrained: Weights, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr("mbseg.commands.demo.say_address", lambda address: said.append(asyncio.run(greeting(address))))
    assert run(untrained, "--source", next(shapes.rglob("*.jpg")), "--serve", "0", "--opacity", "0.25") == 0
    assert said[0]["opacity"] == 0.25


async def greeting(address: str) -> dict[str, object]:
    from aiohttp import ClientSession

    socket = address.replace("/?", "/socket?")
    async with (
        ClientSession(headers={"Origin": address.partition("/?")[0]}) as client,
        client.ws_connect(socket) as visitor,
    ):
        hello: dict[str, object] = (await visitor.receive_json())["hello"]
        return hello


def test_ctrl_c_ends_the_page_for_visitors_cameras_with_the_result(untrained: Weights) -> None:
    code = "from mbseg.cli import main; raise SystemExit(main())"
    weights = str(untrained("segmentation"))
    arguments = ["demo", weights, "--backend", "torch", "--source", "browser", "--serve", "0", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], **pipes) as process:
        try:
            assert process.stderr is not None
            address = process.stderr.readline().removeprefix("serving ").strip()
            with urlopen(address, timeout=10) as page:
                assert b"<title>mbseg demo</title>" in page.read()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert json.loads(out) == {"frames": 0, "interrupted": "SIGINT"}
    assert (process.returncode, err) == (130, "interrupted\n")
