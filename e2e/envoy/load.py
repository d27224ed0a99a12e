"""Steady calls of one kind of client, while a test changes something."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.envoy.pods import Answer

RATE = 20.0  # calls per second of each kind of client


class Calls:
    """From entering to leaving, ``call`` is made at this rate, one at a time."""

    def __init__(self, kind: str, call: Callable[[], Answer]) -> None:
        self.kind = kind
        self.answers: list[Answer] = []
        self.call = call
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"calls-{kind}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self.answers.append(self.call())
            due = max(due + 1 / RATE, time.monotonic() - 1.0)
