"""A client in a pod, which calls as it is told. Run as ``python -m e2e.envoy.caller``.

| kind | channel |
|---|---|
| ``ours`` | `rpc`, a member of the mesh: what the mesh says of the target decides how it is called |
| ``ours-plain`` | `rpc`, plaintext, to an address |
| ``grpcio`` | grpcio, plaintext, to an address; behind a sidecar that is all a program does |
| ``grpcio-xds`` | grpcio with `xds_channel_credentials`, whose bootstrap names certificate files |
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import grpc
import grpc.experimental

from e2e.envoy.control import answer
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs

# Connections are otherwise shared by all channels of a process that look the same; and who was refused a few times
# would not try again for two minutes.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500)]


def open_channel(kind: str, target: str) -> Any:
    if kind == "grpcio":
        return grpc.insecure_channel(target, _OPTIONS)
    if kind == "grpcio-xds":
        fallback = grpc.experimental.insecure_channel_credentials()
        return grpc.secure_channel(target, grpc.xds_channel_credentials(fallback), _OPTIONS)
    import rpc  # noqa: PLC0415  the others must work without ours being built

    return rpc.insecure_channel(target)


class Calls:
    """One channel per kind and target, until told to forget them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[tuple[str, str], Any] = {}

    def reply(self, question: dict[str, Any]) -> Any:
        return getattr(self, question.pop("do"))(**question)

    def call(self, kind: str, target: str, timeout: float, name: str = "e2e", fresh: bool = False) -> dict[str, Any]:
        """``fresh``: on a channel of its own, so on a new connection. Times are of the monotonic clock, in seconds."""
        channel = open_channel(kind, target) if fresh else self._channel(kind, target)
        started = time.monotonic()
        try:
            said = _call(channel, name, timeout)
        finally:
            if fresh:
                channel.close()
        return said | {"started": started, "ended": time.monotonic()}

    def forget(self) -> None:
        with self._lock:
            channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()

    def _channel(self, kind: str, target: str) -> Any:
        with self._lock:
            if (kind, target) not in self._channels:
                self._channels[kind, target] = open_channel(kind, target)
            return self._channels[kind, target]


def _call(channel: Any, name: str, timeout: float) -> dict[str, Any]:
    say = stubs.GreeterStub(channel).SayHello
    try:
        reply, call = say.with_call(pb.HelloRequest(name=name), timeout=timeout)
    except grpc.RpcError as error:
        return {"server": None, "code": error.code().name, "details": error.details() or "", "seen": {}}
    seen = {key.removeprefix("seen-"): value for key, value in call.initial_metadata() if key.startswith("seen-")}
    return {"server": reply.server, "code": "OK", "details": "", "seen": seen}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.envoy.caller", description=__doc__)
    parser.add_argument("--control", required=True, metavar="PATH", help="Unix socket for what is to be called")
    answer(parser.parse_args().control, Calls().reply)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
