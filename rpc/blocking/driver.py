"""Drives call plans in threads: dials in short-lived ones, waits on a condition."""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from rpc.blocking.tender import tended_hub
from rpc.blocking.waiting import Waiting
from rpc.core import ChannelCore
from rpc.credentials.call import NoCredentialsError, gather
from rpc.deadline import time_left
from rpc.fork import inherits
from rpc.plan import Attempt, Dial, Pause, Stand, Wait
from rpc.transport.dial import dial, reason
from rpc.weakly import weakly
from xds_client.greenlets import refuse_greenlets
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome, Terms
    from rpc.plan import Answer, Plan
    from rpc.transport import Connection


class Driver:
    """One per channel."""

    def __init__(self, target: str, terms: Terms) -> None:
        self._changed = threading.Condition()
        self._terms = terms
        self.core = ChannelCore(target, weakly(self._notify))
        self._waiting = Waiting(self.core, self._changed)
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: the calls that wait are the parent's."""
        self._changed = threading.Condition()
        self._waiting = Waiting(self.core, self._changed)
        self.core.inherit()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def advance(self, plan: Plan, answer: Answer) -> Attempt | Outcome:
        """Run the plan, waiting where it says so, until it wants to send the request or has its outcome."""
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            if isinstance(step, Attempt):
                return step
            answer = self.perform(step)

    def advance_now(self, plan: Plan, answer: Answer) -> Attempt | Outcome | Pause:
        """The same without waiting: a step comes back that has to be waited for."""
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            if not isinstance(step, Dial):
                return step
            answer = self.perform(step)

    def when_over(self, step: Stand | Wait, then: Callable[[], None]) -> None:
        """Call ``then`` in another thread, when the step is over."""
        refuse_greenlets()
        self.core.resume()
        if isinstance(step, Stand):
            step.place.on_news = self._notify
        self._waiting.add(step, then)

    def connect(self) -> float | None:
        """Dial what the channel needs to become ready; returns after how many seconds to look again."""
        for connection in self.core.to_connect():
            self.perform(Dial(connection))
        return self.core.retry_in()

    def perform(self, step: Dial | Pause) -> Answer:
        """Do the step, waiting where it says so."""
        refuse_greenlets()
        self.core.resume()
        if isinstance(step, Dial):
            if step.connection.claim():
                self.core.changed()
                try:
                    must_begin(self._dial, f"dial {step.connection.key}", step.connection)
                except (RuntimeError, MemoryError) as error:  # as a connection that failed: tried again after a while
                    step.connection.failed(reason(error))
        elif isinstance(step, Wait):
            left = time_left(step.until)
            with self._changed:
                self._changed.wait_for(lambda: self.core.generation != step.generation, left)
        elif isinstance(step, Stand):
            _stand(step)
        else:
            try:
                return gather(step.credentials, step.authority, step.path, step.deadline)
            except NoCredentialsError as error:
                return error
        return None

    def _dial(self, connection: Connection) -> None:
        try:
            link = dial(connection, tended_hub(), self._terms, self.core.proxy(connection.key))
        except OSError as error:
            connection.failed(reason(error))
        except BaseException as error:
            connection.failed(reason(error))
            raise
        else:
            connection.opened(link)


def _stand(step: Stand) -> None:
    # Its own queue, and not the channel's condition: of all that wait one is meant. A SimpleQueue can be put to from
    # wherever the garbage collector runs.
    news: SimpleQueue[None] = SimpleQueue()
    step.place.on_news = lambda: news.put(None)
    if not step.place.stirred:
        with contextlib.suppress(Empty):
            news.get(timeout=time_left(step.until))
