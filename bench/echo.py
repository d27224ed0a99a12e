"""A second protocol on the same drivers beside gRPC: `python -m bench.echo`.

Both are of one build (`native/echo`), on one port of one server in this process, by turns: the protocol alone differs.
By threads one caller waits for each answer; on the loop sixteen calls are under way.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from bench.echo_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable

_PAYLOAD = b"x" * 100
_AT_ONCE = 16
_PATIENCE = 10.0


class _Server:
    """Answers on the thread that reads, whatever is spoken."""

    def __init__(self) -> None:
        self._reactor, self._over = engine().Reactor(), False
        listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listener.getsockname()
        engine().echo_listen(self._reactor, listener.detach(), engine().TransportConfig(1 << 22))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        echo_call = engine().EchoCall
        while not self._over:
            for call in self._reactor.poll(None):
                if isinstance(call, echo_call):
                    call.reply(call.payload)
                else:
                    call.reply(call.request(), None, None, "")

    def close(self) -> None:
        self._over = True
        self._reactor.wake()
        self._thread.join(_PATIENCE)


def _links(reactor: Any, server: _Server) -> tuple[Any, Any, Any]:
    """Of gRPC and of echo, and gRPC's method."""

    def dialled() -> int:
        return socket.create_connection(server.address).detach()

    nothing = lambda *_: None  # noqa: E731
    grpc = reactor.connect(dialled(), engine().TransportConfig(1 << 22), nothing, nothing)
    return grpc, engine().echo_connect(reactor, dialled(), nothing, nothing), engine().Method("/e.E/E", "e", "e")


def _by_threads(server: _Server) -> dict[str, Callable[[float], float]]:
    grpc, echo, method = _links(engine().Reactor(), server)

    def rate(call: Callable[[], object], seconds: float) -> float:
        count, begun = 0, time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            call()
            count += 1
        return count / (now - begun)

    return {
        "grpc": lambda seconds: rate(lambda: grpc.call_unary(method, None, _PAYLOAD, None), seconds),
        "echo": lambda seconds: rate(lambda: echo.call(_PAYLOAD, None), seconds),
    }


def _on_a_loop(server: _Server) -> dict[str, Callable[[float], float]]:
    dirty: list[None] = []
    reactor = engine().Reactor(lambda: dirty.append(None))
    grpc, echo, method = _links(reactor, server)
    ready = selectors.DefaultSelector()
    ready.register(reactor.fileno(), selectors.EVENT_READ)

    def rate(start: Callable[[Callable[[object], None]], object], seconds: float) -> float:
        begun, count, calling = time.perf_counter(), 0, _AT_ONCE

        def answered(_: object) -> None:
            nonlocal count, calling
            count += 1
            if time.perf_counter() - begun < seconds:
                start(answered)
            else:
                calling -= 1

        for _ in range(_AT_ONCE):
            start(answered)
        while calling:
            if dirty:
                dirty.clear()
                reactor.flush()
            ready.select(0.01)
            reactor.poll(0)
        return count / (time.perf_counter() - begun)

    return {
        "grpc": lambda seconds: rate(lambda told: grpc.start_unary(method, None, _PAYLOAD, None, told), seconds),
        "echo": lambda seconds: rate(lambda told: echo.start(_PAYLOAD, None, told), seconds),
    }


def measure(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Calls a second, and the median of each round's ratio: above 1 the second protocol is faster."""
    found = {}
    for name, world in (("echo_rate_sync", _by_threads), ("echo_rate_aio", _on_a_loop)):
        server = _Server()
        loads = world(server)
        rates: dict[str, list[float]] = {protocol: [] for protocol in loads}
        for _ in range(rounds + 1):
            for protocol, load in loads.items():
                rates[protocol].append(load(seconds))
        server.close()
        pairs = zip(rates["echo"], rates["grpc"], strict=True)
        ratios = [echo / grpc for echo, grpc in pairs][1:]  # the first warms up
        row = {protocol: round(statistics.median(values[1:])) for protocol, values in rates.items()}
        found[name] = {**row, "ratio": round(statistics.median(ratios), 3)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each load in a round")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.rounds, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
