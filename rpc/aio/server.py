"""`grpc.aio.Server`: connections are read in the caller's own loop, each handler runs in a task of it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from rpc import census, probes
from rpc._native import Tally
from rpc.aio.awake import Awake
from rpc.aio.context import ServicerContext
from rpc.aio.hub import attach, detach, listen_no_more
from rpc.aio.serve import CANCELLED_HANDLER, serve_call
from rpc.aio.threaded import Threads
from rpc.blocking.context import ServicerContext as BlockingContext
from rpc.extension import with_aio_server_interceptors
from rpc.fork import inherits
from rpc.handlers import WRONG_CARDINALITY, HandlerTable, is_blocking, wrong_cardinality
from rpc.listening import Listeners
from rpc.options import UNLIMITED, ServerOptions
from rpc.probes import ProbeCredentials
from rpc.security import own_server_credentials
from xds_client.greenlets import refuse_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent import futures

    from rpc._native import Hub, ServerCall
    from rpc.handlers import CallDetails
    from rpc.options import Options
    from rpc.security import ServerCredentials
    from xds_client import PilotExchanger

_log = logging.getLogger(f"proxyless.{__name__}")
_LAST_WORDS = 0.5  # seconds that cancelled handlers get to end before the server does
_LOOK = 0.005  # seconds that first steps may take, one after the other, before one looks who has left meanwhile
# Earlier a task cannot be entered but by the loop, in its next turn; and handlers need one (`asyncio.timeout`).
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Server(aio.Server):
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
        refuse_greenlets()
        parsed = ServerOptions.parse(options, compression)
        self._compression = parsed.compression
        self._max_send = None if parsed.max_send_message_length >= UNLIMITED else parsed.max_send_message_length
        self._listeners = Listeners(parsed, mesh)
        self._busy_poll = parsed.busy_poll
        self._pool = pool
        self._threads = Threads(pool)
        self._table = HandlerTable(handlers or (), interceptors or ())
        # Of registered handlers it is known beforehand; the others are looked at for each call.
        self._blocking: dict[int, bool] = {}
        self._kept: list[object] = []
        self._maximum = maximum_concurrent_rpcs
        self._running = 0  # calls that handlers answer
        self._looked = 0.0  # when it was last looked what the connections have brought
        self._hub: Hub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_to_end: frozenset[asyncio.Task[None]] = frozenset()
        self._stopped: asyncio.Event | None = None
        self.stopping = False
        self._probed = False
        self._leaving = False
        inherits(self)
        self._number = census.number()
        census.servers[self._number] = self

    def inherit(self) -> None:
        """In the child of a fork: what was started is the parent's and over here; what was not can be started."""
        self._loop, self._stopped, self._tasks = None, None, set()
        self._threads, self._running = Threads(self._pool), 0

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._table.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._table.add_registered(service_name, method_handlers)
        self._blocking.update({id(handler): is_blocking(handler) for handler in method_handlers.values()})
        self._kept.append(method_handlers)  # so that no other handler gets the same id

    def add_insecure_port(self, address: str) -> int:
        """Bind; returns the port. Raises RuntimeError naming the address, ValueError once the server is started."""
        return self._add_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials | ServerCredentials) -> int:
        """As the threads' server's."""
        return self._add_port(address, own_server_credentials(server_credentials))

    def add_probe_port(self, address: str) -> int:
        """As the threads' server's."""
        self._probed = True
        return self._add_port(address, ProbeCredentials())

    def _add_port(self, address: str, credentials: Any = None) -> int:
        if self._hub is not None:
            raise ValueError("ports are added before the server is started")
        return self._listeners.add(address, credentials)

    @property
    def ready(self) -> bool:
        """It serves, and at every port somebody whom its rules allow could be served: what a readiness probe asks."""
        leaving = self._leaving or self.stopping
        return self._hub is not None and not leaving and self._listeners.ready

    def announce_end(self) -> None:
        """Not `ready` any more, but go on serving: clients need time to hear that this endpoint goes."""
        self._leaving = True

    def waiting_for(self) -> str:
        """What is missing until `ready`; empty when nothing is."""
        return self._listeners.waiting_for()

    async def start(self) -> None:
        """Listen and serve. Once more does nothing, as in grpc.aio."""
        refuse_greenlets()
        if self._hub is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._hub = attach(self._loop, Awake(self._busy_poll), self._on_calls)
        self._listeners.start(self._hub)

    async def stop(self, grace: float | None) -> None:
        """No new calls; those in progress get ``grace`` seconds, then they are cancelled."""
        if self._hub is None or self._loop is None or self._stopped is None:
            return
        if self.stopping and grace is not None:
            await self._stopped.wait()
            return
        self.stopping = True
        self._listeners.close()
        self._hub.drain()
        if self._tasks and grace:
            await asyncio.wait(tuple(self._tasks), timeout=grace)
        # Who calls from here on learns that it was not processed, and may call another server.
        listen_no_more(self._loop, self._hub)
        self._told_to_end = frozenset(self._tasks)
        for task in self._told_to_end:
            task.cancel()
        if self._tasks:  # who swallows that, or cleans up for long, runs on; the server does not wait for it
            await asyncio.wait(tuple(self._tasks), timeout=_LAST_WORDS)
        self._hub.flush()
        detach(self._loop, self._hub)
        census.servers.pop(self._number, None)
        self._stopped.set()

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
        if self._hub is not None and self._loop is not None:
            detach(self._loop, self._hub)

    def sockets(self) -> list[tuple[int, str, str, Tally]]:
        """The connections that are open (`rpc.census`)."""
        return self._hub.sockets() if self._hub is not None else []

    def tally(self) -> Tally:
        """What all connections have carried so far."""
        return self._hub.tally() if self._hub is not None else Tally()

    def listening(self) -> dict[int, str]:
        """Where it accepts (`rpc.census`)."""
        return self._listeners.listening

    # ---- serving

    def still_waits(self, call: ServerCall) -> bool:
        """Whether anybody waits for it; asked before users' code is begun for it.

        First steps follow each other without the loop's looking at the connections between them. Who has left while
        they took their time is found here.
        """
        if time.monotonic() - self._looked > _LOOK and self._hub is not None and self._loop is not None:
            calls = self._hub.poll(0.0)
            self._looked = time.monotonic()
            if calls:
                self._loop.call_soon(self._on_calls, calls)
        return call.active

    def _on_calls(self, calls: list[ServerCall]) -> None:
        self._looked = time.monotonic()
        for call in calls:
            try:
                self._accept(call)
            except Exception as error:
                _log.exception("%s could not be served", call.path)
                call.finish(grpc.StatusCode.UNKNOWN.value[0], f"Error in service handler! ({error})", None)

    def _accept(self, call: ServerCall) -> None:
        if self._probed and call.policy is not None and call.policy.probes_only:
            probes.answer(call, lambda: self.ready)
            return
        handler = self._table.plain(call.path)
        if handler is not None:
            self._dispatch(call, handler)
        else:
            contextvars.copy_context().run(self._look_up, call)

    def _look_up(self, call: ServerCall) -> None:
        """In the call's own context: what users' code sets here is for its handler, and for no other call."""
        if not self.still_waits(call):
            return
        if self._table.interceptors:
            self._cancel_with(call, self._task(self._intercept(call)))
        elif (found := self._table.find(self._table.details(call))) is not None:
            self._dispatch(call, found)
        else:
            call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!", None)

    async def _intercept(self, call: ServerCall) -> None:
        if not self.still_waits(call):
            return

        async def innermost(details: CallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
            return self._table.find(details)

        continuation: Any = innermost
        for interceptor in reversed(self._table.interceptors):
            continuation = functools.partial(interceptor.intercept_service, continuation)
        try:
            handler = await continuation(self._table.details(call))
        except asyncio.CancelledError:
            code, details = CANCELLED_HANDLER[self.stopping]
            call.finish(code.value[0], details, None)  # if it goes on
            raise
        except Exception as error:
            _log.exception("an interceptor of %s raised", call.path)
            call.finish(grpc.StatusCode.UNKNOWN.value[0], f"Unexpected {type(error)}: {error}", None)
            return
        if handler is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!", None)
        elif call.active:
            call.unwatch()
            self._dispatch(call, handler)

    def _dispatch(self, call: ServerCall, handler: grpc.RpcMethodHandler[Any, Any]) -> None:
        if handler.request_streaming:
            self._run(call, handler, None)
        elif (payload := call.request()) is not None:
            self._run(call, handler, payload)
        else:
            context = contextvars.copy_context()
            call.watch(lambda: context.run(self._when_whole, call, handler))
            self._when_whole(call, handler)  # what came with its head alone will not change any more

    def _when_whole(self, call: ServerCall, handler: grpc.RpcMethodHandler[Any, Any]) -> None:
        """A unary request that came in pieces."""
        payload = call.request()
        if payload is not None:
            call.unwatch()
            assert self._loop is not None
            # Not here: the engine has more to tell, of calls that are over too, and another thread may tell it.
            self._loop.call_soon_threadsafe(self._run, call, handler, payload)
        elif wrong_cardinality(call):
            call.unwatch()
            call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], WRONG_CARDINALITY, None)

    def _run(self, call: ServerCall, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None) -> None:
        assert self._loop is not None
        if self._maximum is not None and self._running >= self._maximum:
            call.finish(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "Concurrent RPC limit exceeded!", None)
            return
        blocking = self._blocking.get(id(handler))
        if blocking or (blocking is None and is_blocking(handler)):
            self._count(self._task(self._run_in_thread(call, handler, payload)))
            return
        context = ServicerContext(call, self, self._loop, handler)
        context.max_send = self._max_send
        if self._compression:
            call.compress(self._compression)
        task = self._task(serve_call(context, handler, payload))
        if not task.done():
            self._count(task)
            self._cancel_with(call, task, context.on_change)

    def _cancel_with(self, call: ServerCall, task: asyncio.Task[None], told: Callable[[], None] = lambda: None) -> None:
        """The client gives up, or its deadline passes: what works for it is cancelled, as grpc.aio does."""

        def on_change() -> None:
            if not (call.active or task.done() or task in self._told_to_end):  # once: it may be cleaning up
                task.cancel()
            told()

        if not task.done() and not call.watch(on_change):
            on_change()  # it ended before it was watched

    def _count(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._running += 1
            task.add_done_callback(self._uncount)

    def _uncount(self, _: asyncio.Task[None]) -> None:
        self._running -= 1

    async def _run_in_thread(
        self, call: ServerCall, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None
    ) -> None:
        context = BlockingContext(call)
        context.max_send = self._max_send
        if self._compression:
            call.compress(self._compression)
        try:
            await self._threads.serve(context, handler, payload)
        except asyncio.CancelledError:  # the server stops; the thread cannot be stopped, its answer is given here
            context.fail(*CANCELLED_HANDLER[self.stopping])
        finally:
            context.run_callbacks()

    def _task(self, coroutine: Any) -> asyncio.Task[None]:
        """Begun at once where Python can (3.12): most handlers end in their first step, and nothing is scheduled."""
        assert self._loop is not None
        task: asyncio.Task[None]
        if _EAGER and self._loop.get_task_factory() is None:
            task = asyncio.Task(coroutine, loop=self._loop, **_EAGER)
        else:
            task = self._loop.create_task(coroutine)
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
