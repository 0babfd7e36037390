"""Senders of live pictures on this machine, with the faults that cameras and networks have."""

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import numpy as np
import pytest

from mbseg.video.frames import Frame
from mbseg.video.opencv import quiet_cv2

SIZE = (120, 160)
PAUSE = 0.02  # seconds between two pictures
STEP = 2  # of brightness, from picture to picture
BEFORE_THE_FAULT = 40  # pictures; FFmpeg looks at about 25 before it gives the first

Sent = Iterator[bytes | None]  # JPEG files; None: nothing more comes, though the connection stays


def jpeg(number: int, size: tuple[int, int] = SIZE) -> bytes:
    """A grey picture that is as bright as its number says."""
    pixels = np.full((*size, 3), number * STEP % 256, np.uint8)
    return bytes(quiet_cv2().imencode(".jpg", pixels)[1])


def number_of(frame: Frame) -> int:
    """Of the first 128 pictures."""
    return round(float(frame.pixels.mean()) / STEP)


def steady() -> Sent:
    return map(jpeg, count())


def breaks_off() -> Sent:
    return map(jpeg, range(BEFORE_THE_FAULT))


def freezes() -> Sent:
    yield from breaks_off()
    yield None


def broken() -> Sent:
    """Every fifth picture is cut short, every seventh is something else, every eleventh empty."""
    for number in count():
        picture = jpeg(number)
        if number % 5 == 4:
            yield picture[: len(picture) // 2]
        elif number % 7 == 6:
            yield b"no picture" * 30
        else:
            yield b"" if number % 11 == 10 else picture


def changes_size() -> Sent:
    yield from breaks_off()
    yield from (jpeg(number, (60, 80)) for number in count(BEFORE_THE_FAULT))


class MotionJpeg(ThreadingHTTPServer):
    """HTTP, multipart/x-mixed-replace, as cheap network cameras send it; `connections` counts who came."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, play: Callable[[], Sent], *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), MultipartHandler)
        self.play = play
        self.connections = 0
        self.stopped = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/video"


class MultipartHandler(BaseHTTPRequestHandler):
    server: MotionJpeg

    def do_GET(self) -> None:
        self.server.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        with suppress(OSError):  # whoever looked has left
            for picture in paced(self.server.play(), self.server.stopped):
                head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                self.wfile.write(head + picture + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    """The files of a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(QuietFiles, directory=folder))
        self.stopped = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Rtsp(ThreadingTCPServer):
    """RTSP (RFC 2326) with JPEG over RTP (RFC 2435) inside the same TCP connection."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, play: Callable[[], Sent], *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), RtspHandler)
        self.play = play
        self.connections = 0
        self.stopped = threading.Event()
        self.address = f"rtsp://user:secret@127.0.0.1:{self.server_address[1]}/video"


class RtspHandler(StreamRequestHandler):
    server: Rtsp

    def handle(self) -> None:
        self.server.connections += 1
        with suppress(OSError):
            while request := self.read_request():
                self.answer(*request)
                if request[0] == "PLAY":
                    self.play()

    def read_request(self) -> tuple[str, str, str] | None:
        """Method, address and number of what is asked."""
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        if not lines:
            return None
        method, address, _ = lines[0].split()
        return method, address, next(line for line in lines if line.lower().startswith("cseq"))

    def answer(self, method: str, address: str, number: str) -> None:
        about, body = "Session: 1", ""
        if method == "OPTIONS":
            about = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN"
        if method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"
            about = f"Content-Base: {address}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}"
        if method == "SETUP":
            about = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1"
        self.wfile.write(f"RTSP/1.0 200 OK\r\n{number}\r\n{about}\r\n\r\n{body}".encode())

    def play(self) -> None:
        for number, picture in enumerate(paced(self.server.play(), self.server.stopped)):
            packet = rtp_packet(number, picture)
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
        raise ConnectionAbortedError


def rtp_packet(number: int, picture: bytes) -> bytes:
    """A whole JPEG file of 4:2:0 in one packet, as RFC 2435 takes it apart: size, quantisation tables, scan."""
    height, width = SIZE
    first = picture.index(b"\xff\xdb")
    tables = [picture[at + 5 : at + 69] for at in (first, picture.index(b"\xff\xdb", first + 69))]
    scan = picture.index(b"\xff\xda")
    header = struct.pack(">BBHII", 0x80, 0x80 | 26, number & 0xFFFF, int(number * PAUSE * 90000), 1)
    about = struct.pack(">IBBBB", 0, 1, 255, width // 8, height // 8) + struct.pack(">HH", 0, 128)
    return header + about + b"".join(tables) + picture[scan + 14 : -2]


def paced(pictures: Sent, stopped: threading.Event) -> Iterator[bytes]:
    """Each at its time, until all are sent or the server stops."""
    for picture in pictures:
        if picture is None:
            stopped.wait()
        if stopped.wait(PAUSE):
            return
        yield picture


@contextmanager
def serving(server: MotionJpeg | Rtsp | FileServer) -> Iterator[str]:
    """The server at work, under this address; behind it all connections are cut."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.address
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def sending_udp(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """FFmpeg as sender of MPEG-TS; skips the test where it is not installed."""
    if (ffmpeg := shutil.which("ffmpeg")) is None:
        pytest.skip("no ffmpeg on this machine to send UDP")
    picture = ["-re", "-f", "lavfi", "-i", f"testsrc=size={SIZE[1]}x{SIZE[0]}:rate=25"]
    stream = ["-c:v", "mpeg2video", "-g", "5", "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"]
    with subprocess.Popen([ffmpeg, "-v", "quiet", *picture, *stream]) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
