"""`Channel.subscribe`: a thread that tells callbacks the channel's state, while there are any, and keeps connecting.

The thread lives from the first subscription to the last unsubscription or the channel's end.
"""

from __future__ import annotations

import collections
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rpc.fork import inherits
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from rpc.blocking.driver import Driver

_log = logging.getLogger(f"proxyless.{__name__}")


@dataclass(slots=True, eq=False)
class _Subscriber:
    callback: Callable[[grpc.ChannelConnectivity], None]
    untold: collections.deque[grpc.ChannelConnectivity] = field(default_factory=collections.deque)


class Subscriptions:
    """One channel's."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wake = threading.Condition()
        self._subscribers: list[_Subscriber] = []
        self._last: grpc.ChannelConnectivity | None = None
        self._connect = False
        self._thread: threading.Thread | None = None
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: the callbacks are the parent's. Whoever wants to hear here subscribes here."""
        self._wake = threading.Condition()
        self._subscribers, self._connect, self._thread = [], False, None
        self._driver.core.on_state = None

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], *, connect: bool) -> None:
        """``callback`` gets the state now and at every change, in order, from the thread."""
        with self._wake:
            self._driver.core.on_state = self._note
            self._last = self._driver.core.connectivity()
            self._subscribers.append(_Subscriber(callback, collections.deque([self._last])))
            if self._thread is None:
                try:
                    self._thread = must_begin(self._run, "rpc connectivity")
                except BaseException:
                    self._subscribers.clear()  # without a thread there were no others
                    self._driver.core.on_state = None
                    raise
            self._connect |= connect
            self._wake.notify()

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        with self._wake:
            found = next((one for one in self._subscribers if one.callback == callback), None)
            if found is not None:
                self._subscribers.remove(found)
                self._wake.notify()

    def close(self) -> None:
        """As in grpcio: nobody is told of the end that the program itself has asked for."""
        with self._wake:
            self._subscribers.clear()
            self._wake.notify()

    def _note(self) -> None:
        """Any thread: the state may be another one."""
        with self._wake:
            state = self._driver.core.connectivity()
            if state is not self._last:
                self._last = state
                for subscriber in self._subscribers:
                    subscriber.untold.append(state)
            self._wake.notify()

    @property
    def _restless(self) -> bool:
        return not self._subscribers or any(one.untold for one in self._subscribers)

    def _run(self) -> None:
        core = self._driver.core
        while True:
            with self._wake:
                if not self._subscribers:
                    core.on_state = None
                    self._thread = None
                    self._connect = False
                    return
                due = next((one for one in self._subscribers if one.untold), None)
                state = due.untold.popleft() if due is not None else None
                connect = self._connect
            if due is not None and state is not None:
                try:
                    due.callback(state)
                except Exception:
                    _log.exception("a connectivity callback raised: %r", due.callback)
                continue
            generation = core.generation
            retry_in = self._driver.connect() if connect else None
            self._sleep(generation, retry_in)

    def _sleep(self, generation: int, timeout: float | None) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._restless or self._driver.core.generation != generation, timeout)
