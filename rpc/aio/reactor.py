"""An engine reactor driven by an event loop: the loop watches one descriptor and flushes once per turn."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from rpc._native import Reactor
from rpc.aio.awake import Awake

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ServerCall

_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Reactor, Awake]] = weakref.WeakKeyDictionary()


def _in_child() -> None:
    """The loops, and the connections in their reactors, are the parent's."""
    global _shared  # noqa: PLW0603 - a new one is as good as empty
    _shared = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_in_child)


def attach(
    loop: asyncio.AbstractEventLoop, awake: Awake, on_calls: Callable[[list[ServerCall]], None] | None = None
) -> Reactor:
    """A reactor that this loop drives until `detach`; what comes in goes to ``on_calls``."""
    # The reactor must not keep the loop alive: loops are forgotten, channels often are not closed. Nor itself: the
    # garbage collector does not see what the engine holds.
    loop_ref = weakref.ref(loop)

    def ask_for_flush() -> None:
        running = loop_ref()
        if running is not None and not running.is_closed():
            running.call_soon_threadsafe(flush) if _elsewhere(running) else running.call_soon(flush)

    def flush() -> None:
        running, dirty = loop_ref(), reactor_ref()
        if running is not None and dirty is not None:
            dirty.flush()
            awake.sent(running)

    reactor = Reactor(ask_for_flush)
    reactor_ref = weakref.ref(reactor)

    def poll() -> None:
        awake.arrived()
        calls = reactor.poll(0.0)
        if calls and on_calls is not None:
            on_calls(calls)

    loop.add_reader(reactor.fileno(), poll)
    return reactor


def _elsewhere(loop: asyncio.AbstractEventLoop) -> bool:
    return asyncio._get_running_loop() is not loop  # noqa: SLF001 - the documented one raises, which costs 1 µs


def listen_no_more(loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
    """What comes in stays unread, and what there is to say is still said."""
    loop.remove_reader(reactor.fileno())


def detach(loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
    if not loop.is_closed():
        loop.remove_reader(reactor.fileno())
    reactor.close("the server stopped")


def shared_reactor(loop: asyncio.AbstractEventLoop, busy_poll: float | None) -> Reactor:
    """The reactor of all channels in this loop. The last ``busy_poll`` that one of them asks for holds for all."""
    if loop not in _shared:
        awake = Awake(busy_poll)
        _shared[loop] = attach(loop, awake), awake
    reactor, awake = _shared[loop]
    if busy_poll is not None:
        awake.asked = busy_poll
    return reactor
