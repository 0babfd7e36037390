"""Where the page is served and to whom; what cannot be is one line."""

import socket
import sys

import pytest

from mbseg.errors import ConfigError, RunError
from mbseg.video.serve.server import quiet_logger
from tests.served import PATIENCE, serving

pytest.importorskip("aiohttp")


def test_a_random_token_is_new_each_time_and_stands_in_the_address():
    with serving(token=None) as one, serving(token=None) as other:
        assert one.address == f"http://127.0.0.1:{one.port}/?token={one.token}"
        assert one.token != other.token and len(one.token) > 20


def test_a_stranger_who_speaks_no_http_is_no_news(caplog):
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), PATIENCE) as stranger:
        stranger.sendall(b"GET / HTTP/9.9\r\n\r\n")
        assert b"400" in stranger.recv(100)
    assert caplog.messages == []


def test_whoever_leaves_before_the_answer_is_no_news(caplog):
    for error in (ConnectionResetError("gone"), ValueError("odd")):
        quiet_logger().error("of %s", error, exc_info=error)
    assert caplog.messages == ["of odd"]


def test_a_port_that_is_taken_is_one_line():
    with serving() as server, pytest.raises(RunError, match=f"port {server.port} of 127.0.0.1 is taken; name another"):
        serving(port=server.port).__enter__()


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("x" * 70, "that is no name of a machine"), ("a b", ".+")],
)
def test_a_host_that_is_not_ours_is_one_line(host, reason):
    with pytest.raises(RunError, match=f"cannot serve on port 0 of {host}: {reason}; name others"):
        serving(host=host).__enter__()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"port": -1}, "--serve -1"),
        ({"port": 65536}, "--serve 65536"),
        ({"host": ""}, "--host is empty"),
        ({"token": ""}, "--token ''"),
        ({"token": "a b"}, "--token 'a b'"),
    ],
)
def test_what_cannot_be_served_is_a_mistake(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        serving(**settings).__enter__()


def test_without_aiohttp_a_line_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "mbseg.video.serve.routes", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConfigError, match=r"pip install 'mbseg\[serve\]'"):
        serving().__enter__()
