"""Drives call plans in threads: dials in short-lived ones, waits on a condition."""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from rpc.blocking.tender import tended_reactor
from rpc.blocking.waiting import Waiting
from rpc.core import ChannelCore
from rpc.credentials.call import NoCredentialsError, gather
from rpc.deadline import time_left, time_remaining
from rpc.fork import inherits
from rpc.steps import Authorize, Dial, Wait
from rpc.transport.dial import dial, reason
from rpc.weakly import weakly
from xds_client.greenlets import refuse_greenlets
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import TransportConfig
    from rpc.steps import Answer, Listening, Pause
    from rpc.transport import Subchannel


class Driver:
    """One per channel."""

    def __init__(self, target: str, config: TransportConfig) -> None:
        self._changed = threading.Condition()
        self._config = config
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

    def when_over(self, step: Pause, then: Callable[[Answer], None]) -> None:
        """Call ``then`` in another thread with the answer to the step, when it is over.

        Raises RuntimeError or MemoryError where there is no thread to be had; then nobody calls it.
        """
        refuse_greenlets()
        self.core.resume()
        if isinstance(step, Authorize):  # credentials are the user's code, and may take their time
            must_begin(_gather, "rpc credentials", step, then)
            return
        if not isinstance(step, Wait):
            step.listen(self._notify)
        self._waiting.add(step, then)

    def call_off(self, then: Callable[[Answer], None]) -> bool:
        """Nobody waits for that step any more; False: it is over, and ``then`` is called or was, or may be."""
        return self._waiting.remove(then)

    def connect(self) -> float | None:
        """Dial what the channel needs to become ready; returns after how many seconds to look again."""
        for subchannel in self.core.to_connect():
            self.dial(subchannel)
        return self.core.retry_in()

    def dial(self, subchannel: Subchannel) -> None:
        refuse_greenlets()
        self.core.resume()
        if subchannel.claim():
            self.core.changed()
            try:
                must_begin(self._dial, f"dial {subchannel.key}", subchannel)
            except (RuntimeError, MemoryError) as error:  # as a dial that failed: tried again after a while
                subchannel.failed(reason(error))

    def perform(self, step: Dial | Pause) -> Answer:
        """Do the step, waiting in this thread where it says so."""
        if isinstance(step, Dial):
            self.dial(step.subchannel)
            return None
        refuse_greenlets()
        self.core.resume()
        if isinstance(step, Authorize):
            return _gathered(step)
        if isinstance(step, Wait):
            left = time_left(step.until, self.core.clock)
            with self._changed:
                self._changed.wait_for(lambda: self.core.generation != step.generation, left)
        else:
            _wait_for_event(step, self.core.clock)
        return None

    def _dial(self, subchannel: Subchannel) -> None:
        try:
            transport = dial(subchannel, tended_reactor(), self._config, self.core.proxy(subchannel.key))
        except OSError as error:
            subchannel.failed(reason(error))
        except BaseException as error:
            subchannel.failed(reason(error))
            raise
        else:
            subchannel.opened(transport)


def _wait_for_event(step: Listening, clock: Callable[[], float]) -> None:
    # Its own queue, and not the channel's condition: of all that wait one is meant. A SimpleQueue can be put to from
    # wherever the garbage collector runs.
    events: SimpleQueue[None] = SimpleQueue()
    step.listen(lambda: events.put(None))
    if not step.over(0, 0.0):
        with contextlib.suppress(Empty):
            events.get(timeout=time_remaining(step.until, clock))


def _gathered(step: Authorize) -> Answer:
    try:
        return gather(step.credentials, step.authority, step.path, step.deadline)
    except NoCredentialsError as error:
        return error


def _gather(step: Authorize, then: Callable[[Answer], None]) -> None:
    then(_gathered(step))
