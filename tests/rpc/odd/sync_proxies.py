"""Odd HTTP proxies of the environment: what they answer, how they are named, and who needs none."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import grpc

from tests.rpc.odd.in_threads import echo
from tests.rpc.odd.lab import PATIENCE, path, uu

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY")


class _Proxy:
    """Says ``answer`` to whoever asks for a connection, and connects all to one address if it is a yes; or hangs."""

    def __init__(self, lab, to, *answer, connects=True, hangs=False):
        self._to, self._answer, self._connects, self._hangs = to, answer, connects, hangs
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = []
        self._open = [self._listener]
        self._threads = []
        self._start(self._accept)
        lab.ends.callback(self._close)

    def _start(self, target, *args):
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (piece := client.recv(1)):
                    return
                head += piece
            lines = head.decode().split("\r\n")
            self.asked.append([line for line in lines if line.startswith(("CONNECT", "Host", "Proxy-Authorization"))])
            for piece in self._answer:
                client.sendall(piece)
            if self._hangs:
                return
            if not self._connects:
                client.shutdown(socket.SHUT_RDWR)
                return
            host, _, port = self._to.rpartition(":")
            server = socket.create_connection((host, int(port)))
            self._open.append(server)
            for one, other in ((client, server), (server, client)):
                self._start(self._copy, one, other)

    @staticmethod
    def _copy(one, other):
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)

    def _close(self):
        while any(thread.is_alive() for thread in self._threads):
            for one in tuple(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in tuple(self._threads):
                thread.join(0.05)
        for one in self._open:
            one.close()


@contextlib.contextmanager
def _environment(variables):
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _call(lab, target, timeout=PATIENCE, **variables):
    with _environment(variables):
        channel = lab.connect(target)
        try:
            return channel.unary_unary(path("Echo"))(b"x", timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name


def _server(lab):
    return lab.serve(Echo=uu(echo))


def answers(lab):
    address = _server(lab)
    yes = b"HTTP/1.1 200 OK\r\n\r\n"

    def through(*answer, **how):
        timeout = how.pop("timeout", PATIENCE)
        proxy = _Proxy(lab, address, *answer, **how)
        return _call(lab, "reviews.example:9080", timeout, http_proxy=f"http://{proxy.address}")

    no = {"connects": False}
    return [
        through(yes),
        through(b"HTTP/1.0 200 Connection established\r\n\r\n"),
        through(b"HTTP/1.1 204 No Content\r\nA: b\r\nContent-Length: 0\r\n\r\n"),
        through(b"HTTP", b"/1.1 200", b" OK\r", b"\n\r\n"),
        through(b"HTTP/1.1 200 OK\n\n"),
        through(b"HTTP/1.1 100 Continue\r\n\r\n", yes, **no),
        through(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", **no),
        through(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", hangs=True),
        through(b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nsorry", **no),
        through(b"HTTP/1.1 301 No\r\nLocation: http://elsewhere.example\r\n\r\n", **no),
        through(**no),
        through(b"HTTP/1.1 20", **no),
        through(b"\x00\x01 junk\r\n\r\n", **no),
        through(yes, **no),
        through(hangs=True, timeout=0.5),
        through(b"HTTP/1.1 200 OK\r\n", hangs=True, timeout=0.5),
    ]


def names(lab):
    """Which variables count, and what a proxy is asked for."""
    address = _server(lab)
    proxy = _Proxy(lab, address, b"HTTP/1.1 200 OK\r\n\r\n")
    url = f"http://{proxy.address}"
    some = "reviews.example:9080"
    found = [
        _call(lab, target, **variables)
        for target, variables in [
            (some, {"http_proxy": url}),
            (some, {"http_proxy": f"{url}/path?query"}),
            (some, {"https_proxy": url, "http_proxy": "http://127.0.0.1:1"}),
            (some, {"http_proxy": f"http://ann:pass%40word@{proxy.address}"}),
            (some, {"http_proxy": f"http://ann@{proxy.address}"}),
            ("reviews.example", {"http_proxy": url}),
            ("[::1]:9", {"http_proxy": url}),
            ("ipv4:192.0.2.1:9", {"http_proxy": url}),
            ("dns:///reviews.example:9080", {"http_proxy": url}),
            (some, {"http_proxy": "http://127.0.0.1:1"}),
            (some, {"http_proxy": "http://nobody.invalid:80"}),
            (address, {"http_proxy": proxy.address}),
            (address, {"http_proxy": ""}),
            (address, {"grpc_proxy": "", "http_proxy": url}),
            (address, {"http_proxy": f"https://{proxy.address}"}),
            (address, {"http_proxy": f"socks5://{proxy.address}"}),
            (address, {"http_proxy": "://"}),
            (address, {"HTTP_PROXY": url}),
        ]
    ]
    # Of one request several: grpcio's channels share connections.
    return [*found, sorted({", ".join(lines) for lines in proxy.asked})]


def exceptions(lab):
    """Who is called directly: without the proxy there is no such name."""
    address = _server(lab)
    proxy = _Proxy(lab, address, b"HTTP/1.1 200 OK\r\n\r\n")
    url = f"http://{proxy.address}"
    entries = [
        *("example", ".example", "xample", "reviews.example", "Reviews.Example", ".reviews.example", "*.example", "*"),
        *("a, example", "a example", "reviews.example:9080", "", ",", "eviews.example"),
    ]
    found = [_call(lab, "reviews.example:9080", http_proxy=url, no_proxy=entry) for entry in entries]
    addresses = ["127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "0.0.1", "127.0.0.1/32"]
    direct = []
    for entry in addresses:
        proxy.asked.clear()
        direct.append([_call(lab, address, http_proxy=url, no_proxy=entry), len(proxy.asked)])
    more = [
        _call(lab, "reviews.example:9080", http_proxy=url, no_grpc_proxy="", no_proxy="example"),
        _call(lab, "reviews.example:9080", http_proxy=url, no_grpc_proxy="a", no_proxy="example"),
        _call(lab, "reviews.example:9080", http_proxy=url, NO_PROXY="example"),
    ]
    return [*found, *direct, *more]
