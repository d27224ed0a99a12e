"""The consumer: calls `reviews` all the time and keeps who answered.

`Consumer.__init__` and `_call` are all that a program of yours needs; the rest is pace and counting.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc

if TYPE_CHECKING:
    from types import TracebackType

NAME = "consumer"  # and its service account
TARGET = "xds:///reviews.demo:9080"
CALLS_PER_SECOND = 200
THREADS = 4
TIMEOUT = 10.0  # generous: the first call waits for the control plane's first answer, and this machine may be busy
TESTER = (("x-user", "tester"),)
ONE_IN = 4  # calls come from a tester


@dataclass(frozen=True, slots=True)
class Answer:
    """Which provider answered a call and whom it took us for, or why none did."""

    tester: bool
    server: str
    error: str = ""
    caller: str = ""

    @property
    def version(self) -> str:
        return self.server[:2]


class Consumer:
    """Calls from several threads at an even pace, from `with` on until its end."""

    def __init__(self) -> None:
        self._channel = rpc.insecure_channel(TARGET)
        self._stub = stubs.GreeterStub(self._channel)  # as protoc generated it
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(THREADS)]
        self.answers: list[Answer] = []

    def _call(self, *, tester: bool) -> Answer:
        try:
            reply = self._stub.SayHello(
                pb.HelloRequest(name="demo"), timeout=TIMEOUT, metadata=TESTER if tester else ()
            )
        except Exception as error:  # a grpc.RpcError, that is; but anything at all counts as a failure
            return Answer(tester, "", str(error))
        return Answer(tester, reply.server, caller=reply.message.removeprefix("Hello "))

    def _work(self, number: int) -> None:
        gap = THREADS / CALLS_PER_SECOND
        due = time.monotonic() + gap * number / THREADS
        calls = number
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self.answers.append(self._call(tester=calls % ONE_IN == 0))
            calls += 1
            due += gap

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()
