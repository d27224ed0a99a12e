"""`grpc.aio.Server`: connections are read in the caller's own loop, each handler runs in a task of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from rpc.aio.awake import Awake
from rpc.aio.context import ServicerContext
from rpc.aio.reactor import attach, detach, listen_no_more
from rpc.aio.serve import CANCELLED_HANDLER, serve_call
from rpc.aio.threaded import Threads
from rpc.blocking.context import ServicerContext as BlockingContext
from rpc.extension import with_aio_server_interceptors
from rpc.later import LATER
from rpc.serving.core import ServerCore
from rpc.serving.handlers import is_blocking
from xds_client.greenlets import refuse_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent import futures

    from rpc._native import Reactor, ServerCall
    from rpc.later import Later
    from rpc.options import Options
    from rpc.serving.handlers import CallDetails
    from rpc.serving.intake import Handler, Job
    from xds_client import PilotExchanger

_log = logging.getLogger(f"proxyless.{__name__}")
_LAST_WORDS = 0.5  # seconds that cancelled handlers get to end before the server does
_REMEMBERED = 1000  # handlers
_LOOK = 0.005  # seconds that first steps may take, one after the other, before one looks who has left meanwhile
# Earlier a task cannot be entered but by the loop, in its next turn; and handlers need one (`asyncio.timeout`).
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Server(ServerCore, aio.Server):
    """`grpc.aio.Server`, made by `rpc.aio.server`; also `add_probe_port`, `ready`, `waiting_for` and `announce_end`.

    It lives in the loop that starts it.

    >>> async def main():
    ...     server = rpc.aio.server()
    ...     server.add_probe_port("127.0.0.1:0")
    ...     await server.start()
    ...     ready = server.ready
    ...     await server.stop(grace=None)
    ...     return ready
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self,
        pool: futures.Executor | None,
        handlers: Iterable[grpc.GenericRpcHandler] | None,
        interceptors: Iterable[Any] | None,
        options: Options,
        maximum_concurrent_rpcs: int | None,
        compression: grpc.Compression | None,
        mesh: PilotExchanger | None,
    ) -> None:
        self._pool = pool
        self._threads = Threads(pool)
        # Looked at once. With its handler, so that no other gets the same id.
        self._blocking: dict[int, tuple[Handler, bool]] = {}
        self._looked = 0.0  # when it was last looked what the connections have brought
        self._reactor: Reactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_to_end: frozenset[asyncio.Task[None]] = frozenset()
        self._stopped: asyncio.Event | None = None
        super().__init__(handlers, interceptors, options, maximum_concurrent_rpcs, compression, mesh)

    def inherit(self) -> None:
        super().inherit()
        self._loop, self._stopped, self._tasks = None, None, set()
        self._threads = Threads(self._pool)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        super().add_registered_method_handlers(service_name, method_handlers)
        for handler in method_handlers.values():
            self._is_blocking(handler)

    async def start(self) -> None:
        """Listen and serve. Once more does nothing, as in grpc.aio."""
        refuse_greenlets()
        if self._started:
            return
        self._started = True
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._intake.context = contextvars.copy_context()
        self._reactor = attach(self._loop, Awake(self._busy_poll), self._on_calls)
        self._listeners.start(self._reactor)

    async def stop(self, grace: float | None) -> None:
        """No new calls; those in progress get ``grace`` seconds, then they are cancelled."""
        if self._reactor is None or self._loop is None or self._stopped is None:
            return
        if self.stopping and grace is not None:
            await self._stopped.wait()
            return
        self._no_more_connections()
        if grace:
            await self._idle(self._loop, grace)
        # Who calls from here on learns that it was not processed, and may call another server.
        listen_no_more(self._loop, self._reactor)
        self._told_to_end = frozenset(self._tasks)
        for task in self._told_to_end:
            task.cancel()
        if self._tasks:  # who swallows that, or cleans up for long, runs on; the server does not wait for it
            await asyncio.wait(tuple(self._tasks), timeout=_LAST_WORDS)
        self._reactor.flush()
        detach(self._loop, self._reactor)
        self._is_over()
        self._stopped.set()

    async def _idle(self, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        """Until no call goes on, or the time is over."""
        idle = asyncio.Event()
        self._intake.when_idle(lambda: loop.call_soon_threadsafe(idle.set))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await idle.wait()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - grpc's signature
        """Wait until the server stopped; True if ``timeout`` seconds passed before, as for threads."""
        if self._stopped is None:
            return False
        try:
            async with asyncio.timeout(timeout):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        """End at once, from a destructor or a signal handler."""
        if self._reactor is not None and self._loop is not None:
            detach(self._loop, self._reactor)

    # ---- serving

    def still_waits(self, call: ServerCall) -> bool:
        """Whether anybody waits for it; asked before users' code is begun for it.

        First steps follow each other without the loop's looking at the connections between them. Who has left while
        they took their time is found here.
        """
        if time.monotonic() - self._looked > _LOOK and self._reactor is not None and self._loop is not None:
            calls = self._reactor.poll(0.0)
            self._looked = time.monotonic()
            if calls:
                self._loop.call_soon(self._on_calls, calls, context=self._intake.context)
        return call.active

    def _on_calls(self, calls: list[ServerCall]) -> None:
        self._looked = time.monotonic()
        for call in calls:
            self._serve(call)

    def _serve(self, call: ServerCall, *, let_in: bool = False) -> None:
        try:
            job = self._intake.readmit(call, self) if let_in else self._intake.accept(call, self)
            if job is not None:
                self._run(job)
        except Exception as error:
            _log.exception("%s could not be served", call.path)
            call.finish(grpc.StatusCode.UNKNOWN.value[0], f"Error in service handler! ({error})", None)

    def again(self, call: ServerCall) -> None:
        assert self._loop is not None
        serve = functools.partial(self._serve, call, let_in=True)
        self._loop.call_soon_threadsafe(serve, context=self._intake.context)

    def begin(self, job: Job) -> None:
        """Not here: the engine has more to tell, of calls that are over too, and another thread may tell it."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._run, job, context=self._intake.context)

    def look_up(self, call: ServerCall) -> Handler | Later | None:
        if not self.still_waits(call):
            return LATER
        table = self._intake.table
        if not table.interceptors:
            return table.find(table.details(call))
        self._intake.hold()
        task = self._task(self._intercept(call))
        self._cancel_with(call, task)
        if task.done():
            self._intake.release()
        else:
            task.add_done_callback(self._intake.release)
        return LATER

    async def _intercept(self, call: ServerCall) -> None:
        if not self.still_waits(call):
            return
        table = self._intake.table

        async def innermost(details: CallDetails) -> Handler | None:
            return table.find(details)

        continuation: Any = innermost
        for interceptor in reversed(table.interceptors):
            continuation = functools.partial(interceptor.intercept_service, continuation)
        try:
            handler = await continuation(table.details(call))
            if call.active:
                call.unwatch()
                # What interceptors have set is the handler's, too.
                job = self._intake.found(call, handler, contextvars.copy_context(), self)
                if job is not None:
                    self._run(job)
        except asyncio.CancelledError:
            code, details = CANCELLED_HANDLER[self.stopping]
            call.finish(code.value[0], details, None)  # if it goes on
            raise
        except Exception as error:
            _log.exception("an interceptor of %s raised", call.path)
            call.finish(grpc.StatusCode.UNKNOWN.value[0], f"Unexpected {type(error)}: {error}", None)

    def _run(self, job: Job) -> None:
        assert self._loop is not None
        call, handler = job.call, job.handler
        try:
            known = self._blocking.get(id(handler))
            if known[1] if known is not None else self._is_blocking(handler):
                task = self._task(self._run_in_thread(job), job.context)
            else:
                context = ServicerContext(call, self, self._loop, handler)
                context.max_send = self._max_send
                if self._compression:
                    call.compress(self._compression)
                task = self._task(serve_call(context, handler, job.payload), job.context)
                self._cancel_with(call, task, context.on_change)
        except BaseException:
            job.left()
            raise
        if task.done():
            self._intake.left()
        else:
            task.add_done_callback(self._intake.left)

    def _cancel_with(self, call: ServerCall, task: asyncio.Task[None], told: Callable[[], None] = lambda: None) -> None:
        """The client gives up, or its deadline passes: what works for it is cancelled, as grpc.aio does."""

        def on_change() -> None:
            if not (call.active or task.done() or task in self._told_to_end):  # once: it may be cleaning up
                task.cancel()
            told()

        if not task.done() and not call.watch(on_change):
            on_change()  # it ended before it was watched

    def _is_blocking(self, handler: Handler) -> bool:
        blocking = is_blocking(handler)
        if len(self._blocking) >= _REMEMBERED:  # some generic handlers make one for each call
            self._blocking.clear()
        self._blocking[id(handler)] = handler, blocking
        return blocking

    async def _run_in_thread(self, job: Job) -> None:
        context = BlockingContext(job.call)
        context.max_send = self._max_send
        if self._compression:
            job.call.compress(self._compression)
        try:
            await self._threads.serve(context, job.handler, job.payload)
        except asyncio.CancelledError:  # the server stops; the thread cannot be stopped, its answer is given here
            context.fail(*CANCELLED_HANDLER[self.stopping])
        finally:
            context.run_callbacks()

    def _task(self, coroutine: Any, context: contextvars.Context | None = None) -> asyncio.Task[None]:
        """Begun at once where Python can (3.12): most handlers end in their first step, and nothing is scheduled."""
        assert self._loop is not None
        task: asyncio.Task[None]
        if self._loop.get_task_factory() is not None:  # it may know nothing of contexts
            task = (context or contextvars.copy_context()).run(self._loop.create_task, coroutine)
        elif _EAGER:
            task = asyncio.Task(coroutine, loop=self._loop, context=context, **_EAGER)
        else:
            task = self._loop.create_task(coroutine, context=context)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task


def server(
    migration_thread_pool: futures.Executor | None = None,
    handlers: Iterable[grpc.GenericRpcHandler] | None = None,
    interceptors: Iterable[Any] | None = None,
    options: Options = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: grpc.Compression | None = None,
    *,
    mesh: PilotExchanger | None = None,
) -> Server:
    """`grpc.aio.server` on our engine. Blocking handlers run in the pool, or in the loop's own; ``mesh`` as for
    `rpc.server`.

    >>> class AsyncGreeter(GreeterServicer):
    ...     async def SayHello(self, request, context):
    ...         return HelloReply(message=f"Hello {request.name}!")
    >>> async def main():
    ...     server = rpc.aio.server()
    ...     add_GreeterServicer_to_server(AsyncGreeter(), server)
    ...     port = server.add_insecure_port("127.0.0.1:0")
    ...     await server.start()
    ...     async with rpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
    ...         reply = await GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
    ...     await server.stop(grace=5)
    ...     return reply.message
    >>> asyncio.run(main())
    'Hello you!'
    """
    interceptors = with_aio_server_interceptors(interceptors)
    return Server(migration_thread_pool, handlers, interceptors, options, maximum_concurrent_rpcs, compression, mesh)
