"""Drives call plans in an event loop, by callbacks: a call that can go out at once needs no task."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc

from rpc.aio.reactor import shared_reactor
from rpc.core import ChannelCore
from rpc.credentials.call import Interest, NoCredentialsError, gather
from rpc.fork import inherits
from rpc.steps import Authorize, Wait
from rpc.transport.dial import dial_in_loop, reason
from rpc.weakly import weakly
from rpc.workers import PLUGINS
from xds_client.greenlets import refuse_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import TransportConfig
    from rpc.steps import Answer, Pause
    from rpc.transport import Subchannel


_DRAIN_CHECK = 0.02  # seconds between looks at what is still running
_SETTLED = {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.SHUTDOWN}


class Driver:
    """One per channel. It lives in the loop of its first call."""

    def __init__(self, target: str, config: TransportConfig) -> None:
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[_WaitingCall] = set()
        self._listening: set[_WaitingCall] = (
            set()
        )  # for events of their own: a change of the channel is nothing to them
        self._asking: set[asyncio.Future[Answer]] = set()  # plugins, for calls
        self._dials: set[asyncio.Task[None]] = set()
        self._connecting = False  # somebody asked the channel to become ready, and it is not yet
        self._retry: asyncio.TimerHandle | None = None
        self.core = ChannelCore(target, weakly(self._notify))
        inherits(self)

    def inherit(self) -> None:
        """The loop and all that waited in it are the parent's; the next call says in which loop it goes on."""
        self._loop = None
        self._waiting = set()
        self._listening = set()
        self._asking = set()
        self._dials = set()
        self.core.inherit()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; raises RuntimeError in another one than the channel's."""
        running = asyncio.get_running_loop()
        if self._loop is not running:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError(f"channel {self.core.target} belongs to another event loop")
            if self._loop is not None:  # what lived in the closed one can do nothing any more
                self._waiting = set()
                self._listening = set()
                self._asking = set()
                self._dials = set()
                self.core.forget_transports("the event loop of this connection was closed")
            self._loop = running
        return running

    def _notify(self) -> None:
        """Any thread: the exchanger's brings configurations."""
        loop = self._loop
        if (self._waiting or self._connecting) and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for waiting in tuple(self._waiting):
            waiting.end()
        if self._connecting:
            self.connect()

    def dial(self, subchannel: Subchannel) -> None:
        refuse_greenlets()
        self.core.resume()
        self._begin_dial(subchannel)

    def wait(self, step: Pause, then: Callable[[Answer], None]) -> Callable[[], None]:
        """Call ``then`` with the answer to the step when it is over; returns how to call it off."""
        refuse_greenlets()
        self.core.resume()
        if isinstance(step, Authorize):
            return self._authorize(step, then)
        loop = self.loop
        waiting = _WaitingCall(self._waiting if isinstance(step, Wait) else self._listening, then)
        if step.until is not None:
            waiting.timer = loop.call_later(max(0.0, step.until - self.core.clock()), waiting.end)
        if not isinstance(step, Wait):
            step.listen(lambda: _soon(loop, waiting.end))
        if step.over(self.core.generation, 0.0):
            loop.call_soon(waiting.end)
        return waiting.call_off

    def _authorize(self, step: Authorize, then: Callable[[Answer], None]) -> Callable[[], None]:
        """In a thread: plugins may block. Not in one of the loop's, all of which handlers may be waiting in."""

        def gathered(future: asyncio.Future[Answer]) -> None:
            if not future.cancelled():
                error = future.exception()
                if isinstance(error, OSError):  # there was no thread for it
                    error = NoCredentialsError(grpc.StatusCode.UNAVAILABLE, str(error))
                then(error if isinstance(error, NoCredentialsError) else future.result())

        interest = Interest()
        future: asyncio.Future[Answer] = PLUGINS.run(
            gather, step.credentials, step.authority, step.path, step.deadline, interest
        )
        self._asking.add(future)
        future.add_done_callback(self._asking.discard)
        future.add_done_callback(gathered)

        def call_off() -> None:
            future.cancel()
            interest.lose()

        return call_off

    def _begin_dial(self, subchannel: Subchannel) -> None:
        if subchannel.claim():
            task = self.loop.create_task(self._dial(subchannel))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)
            self.core.changed()

    def connect(self) -> None:
        """Dial what the channel needs to become ready, and go on trying until it is."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        loop = self.loop
        self._connecting = self.core.connectivity() not in _SETTLED
        if self._connecting:
            for subchannel in self.core.to_connect():
                self._begin_dial(subchannel)
            retry_in = self.core.retry_in()
            if retry_in is not None:
                self._retry = loop.call_later(retry_in, weakly(self.connect))

    async def change(self, generation: int | None = None) -> None:
        """Wait until something about the channel is different (from what it was at ``generation``)."""
        changed = self.loop.create_future()
        if generation is not None and generation != self.core.generation:
            return

        def tell(_answer: Answer) -> None:
            if not changed.done():  # whoever waited may have been cancelled just now
                changed.set_result(None)

        waiting = _WaitingCall(self._waiting, tell, for_call=False)
        try:
            await changed
        finally:
            waiting.call_off()

    async def _dial(self, subchannel: Subchannel) -> None:
        try:
            transport = await dial_in_loop(
                subchannel,
                shared_reactor(self.loop, self._config.busy_poll),
                self._config,
                self.core.proxy(subchannel.key),
            )
        except OSError as error:  # TimeoutError is one
            subchannel.failed(reason(error))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):  # the channel or the loop ends: no other dial is begun for it
                self._connecting = False
            subchannel.failed(reason(error))
            raise
        else:
            subchannel.opened(transport)

    def _calls_wait(self) -> bool:
        return bool(self._listening or self._asking or any(waiting.for_call for waiting in self._waiting))

    async def close(self, grace: float | None) -> None:
        """Calls in progress get ``grace`` seconds, then they are cancelled."""
        if self._retry is not None:
            self._retry.cancel()
        until = time.monotonic() + (grace or 0)
        # Calls that wait, for a connection or to be sent again, are in progress as well.
        self.core.closing = True
        try:
            while self._calls_wait() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - as below
                await asyncio.sleep(min(left, _DRAIN_CHECK))
            self._end_dials()
            self.core.drain()
            # The engine tells when a transport takes no new calls, not when it ends.
            while self.core.busy() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(left, _DRAIN_CHECK))
        finally:  # also where whoever closes it waits no longer
            self._end_dials()
            self.core.close()
            for waiting in (
                *self._waiting,
                *self._listening,
            ):  # now, not a turn of the loop later: they are over
                waiting.end()

    def _end_dials(self) -> None:
        for task in tuple(self._dials):
            task.cancel()


def _soon(loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
    """From any thread; mostly it is the loop's own, which needs no waking."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        loop.call_soon(then)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(then)


class _WaitingCall:
    """Who waits, mostly a call's plan: for a change, for a time, or to be called off."""

    __slots__ = ("_then", "_where", "for_call", "timer")

    def __init__(self, where: set[_WaitingCall], then: Callable[[Answer], None], *, for_call: bool = True) -> None:
        self._where = where
        self.for_call = for_call
        self._then = then
        self.timer: asyncio.TimerHandle | None = None
        where.add(self)

    def call_off(self) -> None:
        self._where.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def end(self) -> None:
        if self in self._where:
            self.call_off()
            self._then(None)
