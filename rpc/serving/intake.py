"""From a call that has come to a job for a handler, once for both servers. Any thread.

A call passes, in this order: the port's own rules (a probe port answers itself), the policy that says who may call
what, the lookup of its handler with the interceptors, its request if that is a single message, the limit. At each of
these it may be refused, which is said here and nowhere else; at some of them it may have to wait:

    accept ──▶ policy ──▶ handler ──▶ request ──▶ limit ──▶ Job
                 │ a future  │ interceptors │ in pieces
                 ▼           ▼ of asyncio   ▼
              World.again   found        World.begin

Until the policy has let a call in nothing is made for it but the engine's own state: no context, no handler, no job.
Calls that wait and jobs that run are counted: a server that ends gives them its grace.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc

from rpc.authorization.decision import Refusal
from rpc.later import LATER
from rpc.serving import probes

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ServerCall
    from rpc.authorization.decision import Authorize
    from rpc.later import Later
    from rpc.serving.handlers import HandlerTable

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = logging.getLogger(f"proxyless.{__name__}")
NO_METHOD = Refusal(grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!")
WRONG_CARDINALITY = Refusal(grpc.StatusCode.UNIMPLEMENTED.value[0], "a unary request needs exactly one message")
TOO_MANY = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "Concurrent RPC limit exceeded!")
UNDECIDED = Refusal(grpc.StatusCode.PERMISSION_DENIED.value[0], "the server could not decide whether this is allowed")


class Job:
    """A call that can be answered: by whom, in which context, and its request unless that is a stream."""

    __slots__ = ("_intake", "call", "context", "handler", "payload")

    def __init__(
        self,
        intake: Intake,
        call: ServerCall,
        handler: Handler,
        payload: bytes | None,
        context: contextvars.Context,
    ) -> None:
        self._intake = intake
        self.call = call
        self.handler = handler
        self.payload = payload
        self.context = context

    def left(self) -> None:
        """To be called once: its handler is through, or will not be begun."""
        self._intake.left()


class World(Protocol):
    """What a server knows that its intake does not: how one waits there."""

    @property
    def ready(self) -> bool:
        """What a probe is told."""

    def look_up(self, call: ServerCall) -> Handler | Later | None:
        """Who answers, by the interceptors' leave; in the call's own context. Where that takes its time:
        `LATER`, and `Intake.found` is told, unless the call is over by then.
        """

    def again(self, call: ServerCall) -> None:
        """By any thread: the call is let in. `Intake.readmit` it where calls are accepted."""

    def begin(self, job: Job) -> None:
        """By any thread: a job that `accept` could not give back yet."""


class Intake:
    """One per server. It holds no server: each call comes with the world that it belongs to."""

    def __init__(self, table: HandlerTable, maximum: int | None) -> None:
        self.table = table
        # A port has rules. Else nobody is asked for any.
        self.has_rules = False
        # Of each call a copy, for interceptors and handler together, and for no other call.
        self.context = contextvars.copy_context()
        self._maximum = maximum
        self.inherit()

    def inherit(self) -> None:
        """In the child of a fork: the calls are the parent's."""
        self._lock = threading.RLock()  # the garbage collector may end a call under it, which tells another
        self.running = 0  # jobs, those that wait for a thread too
        self._held = 0
        self._when_idle: Callable[[], object] | None = None

    # ---- a call comes

    def accept(self, call: ServerCall, world: World, *, let_in: bool = False) -> Job | None:
        """None: it was refused, or answered, or will be a job later (`World.begin`)."""
        if self.has_rules and not let_in and not self._let_in(call, world):
            return None
        context = self.context.copy()
        plain = self.table.plain
        handler = plain.get(call.path) if plain else None
        if handler is None:
            found = context.run(world.look_up, call)
            if found is LATER:
                return None
            handler = found
        return self.found(call, handler, context, world)

    def readmit(self, call: ServerCall, world: World) -> Job | None:
        """The same for a call that the policy has let in later."""
        try:
            return self.accept(call, world, let_in=True) if call.active else None
        finally:
            self.release()

    def found(
        self, call: ServerCall, handler: Handler | None, context: contextvars.Context, world: World
    ) -> Job | None:
        """``handler`` answers; None: nobody does."""
        if handler is None:
            refuse(call, NO_METHOD)
            return None
        payload = None
        if not handler.request_streaming:
            payload = call.request()
            if payload is None:
                self._await_request(call, handler, context, world)
                return None
        return self._admitted(Job(self, call, handler, payload, context))

    def _admitted(self, job: Job) -> Job | None:
        with self._lock:
            if self._maximum is None or self.running < self._maximum:
                self.running += 1
                return job
        refuse(job.call, TOO_MANY)
        return None

    # ---- who may call

    def _let_in(self, call: ServerCall, world: World) -> bool:
        """Whether it goes on now."""
        policy = call.policy
        if policy is None:
            return True
        if policy.probes_only:
            probes.answer(call, lambda: world.ready)
            return False
        return policy.authorize is None or self._authorized(call, policy.authorize, world)

    def _authorized(self, call: ServerCall, authorize: Authorize, world: World) -> bool:
        try:
            decision = authorize(call)
        except Exception:
            _log.exception("%s is not let in: the port's policy failed", call.path)
            decision = UNDECIDED
        if isinstance(decision, Future):
            self._await_decision(call, decision, world)
            return False
        refusal = _judged(call, decision)
        if refusal is not None:
            refuse(call, refusal)
        return refusal is None

    def _await_decision(self, call: ServerCall, decision: Future[Refusal | None], world: World) -> None:
        """The decision and the call's end come by any thread: one of them takes what waits, and nothing is held on to
        by a future that is settled late.
        """
        waiting = [call]
        self.hold()
        if not call.watch(functools.partial(self._drop_if_over, waiting, decision)):
            self._drop_if_over(waiting, decision)
        decision.add_done_callback(functools.partial(self._decided, waiting, world))

    def _drop_if_over(self, waiting: list[ServerCall], decision: Future[Refusal | None]) -> None:
        with contextlib.suppress(IndexError):  # another thread takes it meanwhile
            if waiting[0].active:
                return
        if _taken(waiting) is not None:
            self.release()
            decision.cancel()  # nobody needs it any more

    def _decided(self, waiting: list[ServerCall], world: World, decision: Future[Refusal | None]) -> None:
        call = _taken(waiting)
        if call is None:
            return
        refusal = _outcome(call, decision)
        if refusal is None:
            world.again(call)
        else:
            refuse(call, refusal)
            self.release()

    # ---- a unary request that comes in pieces

    def _await_request(self, call: ServerCall, handler: Handler, context: contextvars.Context, world: World) -> None:
        self.hold()
        look = functools.partial(self._when_whole, call, [(handler, context)], world)
        call.watch(look)
        look()  # it may have become whole before it was watched

    def _when_whole(self, call: ServerCall, waiting: list[tuple[Handler, contextvars.Context]], world: World) -> None:
        """Two threads may be told of it at a time: one takes what waits."""
        with self._lock:
            active = call.active  # both looked at first: the end may come before the request is
            wrong = active and (call.ended or call.waiting > 1)  # it will never be whole
            payload = call.request()
            if not waiting or (payload is None and active and not wrong):
                return
            handler, context = waiting.pop()
        call.unwatch()
        if payload is not None:
            job = self._admitted(Job(self, call, handler, payload, context))
            if job is not None:
                world.begin(job)
        elif wrong:
            refuse(call, WRONG_CARDINALITY)
        self.release()

    # ---- the end

    def left(self, _: object = None) -> None:
        """A job is over. Can be told by a future."""
        with self._lock:
            self.running -= 1
        if self._when_idle is not None:
            self._look_whether_idle()

    def hold(self) -> None:
        """A call goes on that is no job: a grace is for it, too. `release` follows."""
        with self._lock:
            self._held += 1

    def release(self, _: object = None) -> None:
        with self._lock:
            self._held -= 1
        if self._when_idle is not None:
            self._look_whether_idle()

    def when_idle(self, callback: Callable[[], object] | None) -> None:
        """Call this as soon as no call goes on; by any thread. There is one who asks, when the server ends."""
        self._when_idle = callback
        self._look_whether_idle()

    def _look_whether_idle(self) -> None:
        with self._lock:
            idle = not (self.running or self._held)
            callback = self._when_idle
        if idle and callback is not None:
            callback()


def refuse(call: ServerCall, refusal: Refusal) -> None:
    call.finish(refusal.code, refusal.details, refusal.headers or None)


def _taken(waiting: list[ServerCall]) -> ServerCall | None:
    """The call, for whoever comes first."""
    try:
        call = waiting.pop()
    except IndexError:
        return None
    call.unwatch()
    return call


def _outcome(call: ServerCall, decision: Future[Refusal | None]) -> Refusal | None:
    try:
        return _judged(call, decision.result())
    except BaseException:  # whoever decided may have been told to end: that lets nobody in
        _log.exception("%s is not let in: the port's policy failed", call.path)
        return UNDECIDED


def _judged(call: ServerCall, decision: Refusal | None) -> Refusal | None:
    """What is no decision lets nobody in."""
    if decision is None or isinstance(decision, Refusal):
        return decision
    _log.error("%s is not let in: the port's policy answered %r", call.path, decision)
    return UNDECIDED
