"""Calls that wait for a thread of a pool, in the order in which they came; any thread.

What the pool is given are turns, not calls: a thread that comes to a turn takes the call that has waited longest. So a
call that is over leaves at once, wherever it stands, with all that it holds, and the turn that was asked for it is the
next call's. No more turns are in the pool than calls that were not over have waited at one time.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from rpc.blocking.serve import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ServerCall


class Waits(Protocol):
    @property
    def call(self) -> ServerCall: ...

    def left(self) -> None:
        """It is out of the queue, and nobody will serve it."""


Job = TypeVar("Job", bound=Waits)


class CallQueue(Generic[Job]):
    """``submit`` gives a pool something to call; what it raises is that call's end."""

    def __init__(self, submit: Callable[[Callable[[], None]], object]) -> None:
        self._submit = submit
        self._lock = threading.RLock()  # the garbage collector may end a call under it, which tells another
        self._waiting: OrderedDict[ServerCall, Job] = OrderedDict()
        self._turns = 0  # asked for and not begun

    def put(self, job: Job, work: Callable[[CallQueue[Job]], None]) -> None:
        """``work`` is called in the pool, and takes one job or finds none. What the pool raises is not raised here."""
        call = job.call
        self._waiting[call] = job
        if not call.watch(functools.partial(self._look, call)):
            self.drop(call)
            return
        again = False
        while (turn := self._turn(work)) is not None:
            try:
                self._submit(turn)
            except BaseException as error:
                # A pool that cannot start a thread has queued it all the same: then another thread may be at it.
                if not turn.give_back():
                    return
                if self.drop(call):
                    refused(call, error)
                elif again:
                    self._refuse_next(error)
                if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                    raise  # an event loop's thread that the user interrupts
                again = True  # another call may have come meanwhile, and rely on this turn
            else:
                return

    def _turn(self, work: Callable[[CallQueue[Job]], None]) -> _Turn | None:
        """To be given to the pool; None: there are enough."""
        with self._lock:
            if len(self._waiting) <= self._turns:
                return None
            self._turns += 1
        return _Turn(self, work)

    def take(self) -> Job | None:
        """The call that has waited longest."""
        while self._waiting:
            try:
                call, job = self._waiting.popitem(last=False)
            except KeyError:
                break
            call.unwatch()
            if call.active:
                return job
            job.left()
        return None

    def drop(self, call: ServerCall) -> bool:
        """Whether it still waited; it does not any more."""
        job = self._waiting.pop(call, None)
        if job is None:
            return False
        call.unwatch()
        job.left()
        return True

    def _look(self, call: ServerCall) -> None:
        if not call.active:
            self.drop(call)

    def turn_over(self) -> None:
        with self._lock:
            self._turns -= 1

    def lost(self) -> None:
        """The pool has dropped a turn: the call that has waited longest would wait without end."""
        if len(self._waiting) > self._turns:
            self._refuse_next(RuntimeError("the pool has dropped its work"))

    def _refuse_next(self, error: BaseException) -> None:
        if (job := self.take()) is not None:
            job.left()
            refused(job.call, error)


class _Turn:
    """In the pool: to serve one call."""

    __slots__ = ("_whose",)

    def __init__(self, queue: CallQueue[Any], work: Callable[[CallQueue[Any]], None]) -> None:
        self._whose = [(queue, work)]

    def give_back(self) -> bool:
        """False: it has begun, or was given back."""
        try:
            queue, _ = self._whose.pop()
        except IndexError:
            return False
        queue.turn_over()
        return True

    def __call__(self) -> None:
        try:
            queue, work = self._whose.pop()
        except IndexError:
            return
        queue.turn_over()
        work(queue)

    def __del__(self) -> None:
        """A pool that is shut down drops what waits in it if it is told to (``cancel_futures``)."""
        for queue, _ in self._whose:
            queue.turn_over()
            queue.lost()
