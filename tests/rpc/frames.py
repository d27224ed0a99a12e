"""HTTP/2 by hand, for peers that misbehave: frames, header blocks, raw ends of connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import NamedTuple

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSED, CANCEL, CALM, INTERNAL = 0x7, 0x8, 0xB, 0x2
NO_KIND = -1
WAIT = 5.0  # for the peer's next bytes


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    body: bytes


def frame(kind, stream=0, body=b"", flags=0):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def message(payload, flag=0, length=None):
    """A gRPC message; ``length`` may lie."""
    return struct.pack(">BI", flag, len(payload) if length is None else length) + payload


def request_headers(path="/hello.Greeter/SayHello", *extra, content_type="application/grpc", method="POST"):
    fixed = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers")]
    return [*fixed, *([("content-type", content_type)] if content_type else []), *extra]


class Wire:
    """One end of a connection; reads whole frames and gives up after a while."""

    def __init__(self, sock):
        sock.settimeout(WAIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()

    def send(self, *pieces):
        self.socket.sendall(b"".join(pieces))

    def headers(self, stream, headers, flags=END_HEADERS):
        return frame(HEADERS, stream, self._encoder.encode(headers), flags)

    def frames(self):
        """What comes, until the end of the connection; answers SETTINGS."""
        while (head := self._exactly(9)) is not None:
            body = self._exactly(int.from_bytes(head[:3]))
            if body is None:
                return
            got = Frame(head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF, body)
            if got.kind == SETTINGS and not got.flags & ACK:
                with contextlib.suppress(OSError):
                    self.send(frame(SETTINGS, flags=ACK))
            yield got

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return data

    def next(self, *kinds):
        """The next frame of one of these kinds, None at the end of the connection."""
        return next((got for got in self.frames() if got.kind in kinds), None)

    def decode(self, body):
        return dict(self._decoder.decode(body))

    def told_to_go(self):
        """Whether the peer says GOAWAY for an error, or hangs up."""
        got = self.next(GOAWAY)
        return got is None or got.body[4:8] != b"\0\0\0\0"

    def hung_up(self):
        """Whether the peer ends the connection, whatever it says before."""
        return self.next(NO_KIND) is None

    def close(self):
        self.socket.close()


class RawClient(Wire):
    """A client that says what it is told to."""

    def __init__(self, address, *, greet=True):
        host, port = address.rsplit(":", 1)
        super().__init__(socket.create_connection((host, int(port))))
        if greet:
            self.send(PREFACE, frame(SETTINGS))

    def call(self, *body, headers=None, stream=1, end=True):
        """Send a request: these pieces as the body."""
        self.send(self.headers(stream, headers or request_headers()))
        self.send(frame(DATA, stream, b"".join(body), END_STREAM if end else 0))

    def answer(self, stream=1):
        """How the call ends: headers and trailers in one, or ``{"reset": code}``, or None for a lost connection."""
        seen = {}
        for got in self.frames():
            if got.kind == GOAWAY and got.body[4:8] != b"\0\0\0\0":
                return None
            if got.stream != stream:
                continue
            if got.kind == HEADERS:
                seen |= self.decode(got.body)
            if got.kind in {HEADERS, DATA} and got.flags & END_STREAM:
                return seen
            if got.kind == RST_STREAM:
                return {"reset": int.from_bytes(got.body), **seen}
        return None


class RawServer:
    """A server whose connections each follow a function of the test: ``script(connection, number)``."""

    def __init__(self, script):
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._open = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                connection = RawServed(sock)
                self._open.append(connection)
                threading.Thread(target=self._run, args=(connection, self.accepted), daemon=True).start()

    def _run(self, connection, number):
        with contextlib.suppress(OSError):
            self._script(connection, number)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


class RawServed(Wire):
    """The server's end of one connection."""

    def greet(self, settings=b""):
        self._exactly(len(PREFACE))
        self.send(frame(SETTINGS, body=settings))

    def request(self):
        """The stream of the next request, once it is whole; None at the end of the connection."""
        return next((f.stream for f in self.frames() if f.kind in {HEADERS, DATA} and f.flags & END_STREAM), None)

    def head(self, stream, status="200", *extra, content_type="application/grpc", flags=END_HEADERS):
        content = [("content-type", content_type)] if content_type else []
        self.send(self.headers(stream, [(":status", status), *content, *extra], flags))

    def trailers(self, stream, status="0", *extra):
        given = [] if status is None else [("grpc-status", status)]
        self.send(self.headers(stream, [*given, *extra], END_HEADERS | END_STREAM))

    def reply(self, stream, payload=b"\n\x02hi"):
        """A whole, good answer."""
        self.head(stream)
        self.send(frame(DATA, stream, message(payload)))
        self.trailers(stream)

    def serve_on(self):
        while (stream := self.request()) is not None:
            self.reply(stream)


def answering(answer):
    """A server that answers every request with ``answer(connection, stream)``."""

    def script(connection, _):
        connection.greet()
        while (stream := connection.request()) is not None:
            answer(connection, stream)

    return script
