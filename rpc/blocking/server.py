"""`grpc.Server` for threads: one thread reads all connections, handlers run in the pool that the user gave.

A handler's thread writes its answer to the socket itself, nothing is handed back, and may read the next call then
(`rpc.blocking.linger`).
"""

from __future__ import annotations

import contextvars
import functools
import logging
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from rpc import census, probes
from rpc._native import Hub
from rpc.blocking.call_queue import CallQueue
from rpc.blocking.context import ServicerContext
from rpc.blocking.later import begin_call, own_pool, sends_later
from rpc.blocking.linger import Linger
from rpc.blocking.serve import serve_call, unserved
from rpc.extension import with_server_interceptors
from rpc.fork import inherits
from rpc.handlers import WRONG_CARDINALITY, HandlerTable, wrong_cardinality
from rpc.listening import Listeners
from rpc.options import UNLIMITED, ServerOptions
from rpc.probes import ProbeCredentials
from rpc.security import own_server_credentials
from xds_client.greenlets import refuse_greenlets
from xds_client.threads import begun, must_begin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from concurrent import futures

    from rpc._native import ServerCall, Tally
    from rpc.handlers import CallDetails
    from rpc.options import Options
    from rpc.security import ServerCredentials
    from xds_client import PilotExchanger

    Handler = grpc.RpcMethodHandler[Any, Any]

_log = logging.getLogger(f"proxyless.{__name__}")
_STOPPED = "the server stopped"
_DRAIN_CHECK = 0.01  # seconds between looks at what is still running
_LOOK = 0.005  # seconds that handlers on the serving thread may take before it looks who has left meanwhile


class _Job:
    """A call that can be answered, who answers it, and its request unless that is a stream."""

    __slots__ = ("_server", "call", "context", "handler", "payload")

    def __init__(
        self, server: Server, call: ServerCall, handler: Handler, payload: bytes | None, context: contextvars.Context
    ) -> None:
        self._server = server
        self.call = call
        self.handler = handler
        self.payload = payload
        self.context = context

    def left(self) -> None:
        self._server._done()  # noqa: SLF001 - the server's own


class Server(grpc.Server):
    """`grpc.Server`, made by `rpc.server`; also `add_probe_port`, `ready`, `waiting_for` and `announce_end`.

    ``thread_pool`` None: handlers run on the thread that reads the connections, for handlers that never block.

    Those of streams do, they wait for their peer: they run in a pool of the server's own.

    >>> server = rpc.server(None)
    >>> port = server.add_probe_port("127.0.0.1:0")
    >>> server.start()
    >>> server.ready, server.waiting_for()
    (True, '')
    >>> server.stop(grace=None).wait()
    True
    """

    def __init__(
        self,
        thread_pool: futures.Executor | None,
        handlers: Iterable[grpc.GenericRpcHandler] | None,
        interceptors: Iterable[grpc.ServerInterceptor] | None,
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
        self._pool = thread_pool
        self._context = contextvars.copy_context()
        self._linger = Linger(thread_pool)
        self._table = HandlerTable(handlers or (), interceptors or ())
        self._maximum = maximum_concurrent_rpcs
        self._busy_poll = parsed.busy_poll
        self._hub = Hub()
        self._thread: threading.Thread | None = None
        self._probed = False
        self._leaving = False
        self._running = 0  # and those that wait for their turn
        self._later = 0  # answered by nobody's thread: their handlers have returned, and send on
        self._make_locks()
        self._stopping: threading.Event | None = None
        self._stopped = threading.Event()
        inherits(self)
        self._number = census.number()
        census.servers[self._number] = self

    def inherit(self) -> None:
        """In the child of a fork: what was started is the parent's and over here; what was not can be started."""
        self._make_locks()
        self._stopped = threading.Event()
        self._linger.inherit()
        if self._thread is None:
            self._hub = Hub()
        else:
            self._stopping = self._stopping or threading.Event()
            self._stopped.set()

    def _make_locks(self) -> None:
        self._lock = threading.RLock()  # the garbage collector may end a call under it, which tells another
        self._asking = threading.Lock()
        self._queue = None if self._pool is None else self._queue_for(self._pool)
        self._stream_queue: CallQueue[_Job] | None = None  # made for the first stream, where the user gave no pool
        self._own_queues: dict[futures.Executor, CallQueue[_Job]] = {}  # of handlers with a pool of their own

    @staticmethod
    def _queue_for(pool: futures.Executor) -> CallQueue[_Job]:
        return CallQueue(pool.submit)

    # ---- grpc.Server

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._table.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._table.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Bind; returns the port. Raises RuntimeError naming the address."""
        if self._thread is not None:
            raise ValueError("ports are added before the server is started")
        return self._listeners.add(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials | ServerCredentials) -> int:
        """Bind, with credentials of `rpc.xds_server_credentials`, `rpc.ssl_server_credentials` and their like.

        Raises RuntimeError naming the address, TypeError for grpcio's own credentials.
        """
        if self._thread is not None:
            raise ValueError("ports are added before the server is started")
        return self._listeners.add(address, own_server_credentials(server_credentials))

    def add_probe_port(self, address: str) -> int:
        """Bind a plaintext port that answers `grpc.health.v1.Health/Check` by `ready`, and nothing else."""
        self._probed = True
        return self.add_secure_port(address, ProbeCredentials())

    @property
    def ready(self) -> bool:
        """It serves, and at every port somebody whom its rules allow could be served: what a readiness probe asks."""
        leaving = self._leaving or self._stopping is not None
        return self._thread is not None and not leaving and self._listeners.ready

    def announce_end(self) -> None:
        """Not `ready` any more, but go on serving: clients need time to hear that this endpoint goes."""
        self._leaving = True

    def waiting_for(self) -> str:
        """What is missing until `ready`; empty when nothing is."""
        return self._listeners.waiting_for()

    def start(self) -> None:
        """Listen and serve; returns at once."""
        refuse_greenlets()
        if self._thread is not None:
            raise ValueError("Cannot start already-started server!")
        if self._busy_poll is not None:
            self._hub.busy_poll(self._busy_poll)
        self._listeners.start(self._hub)
        self._context = contextvars.copy_context()
        try:
            self._thread = must_begin(_serve, "rpc server", weakref.ref(self), self._hub, self._stopped)
        except (RuntimeError, MemoryError):
            self._listeners.close()
            self._hub.close(_STOPPED)
            raise

    def stop(self, grace: float | None) -> threading.Event:
        """No new calls; those in progress get ``grace`` seconds, then they are cancelled. The event: all is over."""
        with self._lock:
            requested, self._stopping = self._stopping, self._stopping or threading.Event()
        if requested is None:
            self._listeners.close()
            self._hub.drain()  # ports are closed, and names of the Unix domain free, when this returns
            if begun(self._stop, "rpc stop", self._stopping, grace, daemon=False) is None:
                self._stop(self._stopping, grace)  # who asks waits, but the server stops
        elif grace is None:
            self._hub.close(_STOPPED)
        return self._stopped

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Block until the server stopped; True if ``timeout`` seconds passed before."""
        return not self._stopped.wait(timeout)

    def __del__(self) -> None:
        """A server that nobody holds any more stops, as in grpcio."""
        if getattr(self, "_thread", None) is not None and not self._stopped.is_set():
            self._stopped.set()
            self._listeners.close()
            self._hub.close(_STOPPED)
            self._hub.wake()

    def sockets(self) -> list[tuple[int, str, str, Tally]]:
        """The connections that are open (`rpc.census`)."""
        return self._hub.sockets()

    def tally(self) -> Tally:
        """What all connections have carried so far."""
        return self._hub.tally()

    def listening(self) -> dict[int, str]:
        """Where it accepts (`rpc.census`)."""
        return self._listeners.listening

    # ---- serving

    def _take(self, calls: list[ServerCall]) -> None:
        """On the serving thread. Who leaves while users' code takes its time here is found before more of it begins."""
        came, jobs, looked = deque(calls), deque[_Job](), time.monotonic()
        del calls[:]  # the caller's list would hold calls, and their connections, until all are handed over
        while came or jobs:
            if came:
                jobs.extend(self._jobs([came.popleft()]))
            if jobs and not (came and self._queue is None):  # in place all that came are counted before one is run
                self._hand_over(jobs.popleft())
            if (came or jobs) and time.monotonic() - looked > _LOOK:
                came.extend(self._hub.poll(0.0))
                looked = time.monotonic()

    def _hand_over(self, job: _Job) -> None:
        free = self._queue is None or self._linger.others_free(self._running)
        self._submit(job)
        if not free:
            self._linger.call_back(self._hub)

    def _jobs(self, calls: list[ServerCall]) -> Iterator[_Job]:
        for call in calls:
            try:
                job = self._accept(call) if call.active else None
            except BaseException as error:
                unserved(call, error)
            else:
                if job is not None:
                    yield job

    def _stop(self, requested: threading.Event, grace: float | None) -> None:
        requested.set()
        until = time.monotonic() + (grace or 0.0)
        while (self._running or self._later) and time.monotonic() < until:
            self._stopped.wait(_DRAIN_CHECK)
        self._hub.close(_STOPPED)
        census.servers.pop(self._number, None)
        self._stopped.set()
        self._hub.wake()

    def _accept(self, call: ServerCall) -> _Job | None:
        """None: it was answered, or its request is not whole yet."""
        if self._probed and call.policy is not None and call.policy.probes_only:
            probes.answer(call, lambda: self.ready)
            return None
        context = self._context.copy()  # for interceptors and handler together, and for no other call
        handler = self._table.plain(call.path)
        if handler is None:
            handler = context.run(self._intercepted, self._table.details(call))
        if handler is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!", None)
        elif handler.request_streaming:
            return self._admitted(_Job(self, call, handler, None, context))
        elif (payload := call.request()) is not None:
            return self._admitted(_Job(self, call, handler, payload, context))
        else:
            look = functools.partial(self._when_whole, call, [(handler, context)])
            call.watch(look)
            look()  # it may have become whole before it was watched
        return None

    def _admitted(self, job: _Job) -> _Job | None:
        with self._lock:
            if self._maximum is None or self._running < self._maximum:
                self._running += 1
                return job
        job.call.finish(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "Concurrent RPC limit exceeded!", None)
        return None

    def _intercepted(self, details: CallDetails) -> Handler | None:
        continuation = self._table.find
        for interceptor in reversed(self._table.interceptors):
            continuation = functools.partial(interceptor.intercept_service, continuation)
        with self._asking:  # one call at a time, as in grpcio: who lingers asks, too
            return continuation(details)

    def _when_whole(self, call: ServerCall, waiting: list[tuple[Handler, contextvars.Context]]) -> None:
        """A unary request that came in pieces. Two threads may be told of it at a time: one takes what waits."""
        with self._lock:
            wrong = wrong_cardinality(call)  # looked at first: the end may come between the two
            payload = call.request()
            if not waiting or (payload is None and not wrong):
                return
            handler, context = waiting.pop()
        call.unwatch()
        if payload is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], WRONG_CARDINALITY, None)
        elif (job := self._admitted(_Job(self, call, handler, payload, context))) is not None:
            self._submit(job)

    def _submit(self, job: _Job) -> None:
        """Whatever comes of it, who submits goes on: it reads for others, too."""
        queue = self._queue_of(job)
        if queue is not None:
            queue.put(job, self._work)
        elif job.call.active:
            self._run(job)
        else:
            job.left()

    def _queue_of(self, job: _Job) -> CallQueue[_Job] | None:
        """In which pool the call is answered; None: where it was read."""
        handler = job.handler
        pool = own_pool(handler)
        if pool is not None:
            with self._lock:
                queue = self._own_queues.get(pool)
                if queue is None:
                    queue = self._own_queues[pool] = self._queue_for(pool)
                return queue
        if self._queue is None and (handler.request_streaming or handler.response_streaming):
            if self._stream_queue is None:
                self._stream_queue = self._queue_for(ThreadPoolExecutor(thread_name_prefix="rpc streams"))
            return self._stream_queue
        return self._queue

    def _work(self, queue: CallQueue[_Job]) -> None:
        """In the pool. Nothing holds on to a call that was served: it holds what it was sent."""
        job = queue.take()
        while job is not None:
            self._run(job)
            job = None
            if queue is self._queue and not self._stopped.is_set():
                for came in self._jobs(self._linger.calls(self._hub, alone=not self._running)):
                    if job is None and self._queue_of(came) is queue:
                        job = came
                    else:
                        self._submit(came)
                    del came

    def _run(self, job: _Job) -> None:
        """Whatever users' code raises is the end of its own call, and not of this thread."""
        try:
            job.context.run(self._answer, job)
        except BaseException as error:
            unserved(job.call, error)

    def _answer(self, job: _Job) -> None:
        call = job.call
        context = ServicerContext(call)
        context.max_send = self._max_send
        if self._compression:
            call.compress(self._compression)
        if sends_later(job.handler):
            self._begin(context, job)
            return
        try:
            serve_call(context, job.handler, job.payload)
        finally:
            self._done()
            context.run_callbacks()

    def _begin(self, context: ServicerContext, job: _Job) -> None:
        """As in grpcio the limit counts the call until its handler has returned; a grace is for it until it is over."""
        with self._lock:
            self._later += 1
        try:
            begin_call(context, job.handler, job.payload)
        finally:
            self._done()
            if not context.add_callback(self._over):
                self._over()

    def _over(self) -> None:
        with self._lock:
            self._later -= 1

    def _done(self) -> None:
        with self._lock:
            self._running -= 1


def _serve(server: weakref.ref[Server], hub: Hub, stopped: threading.Event) -> None:
    """The serving thread. It holds the server only while there is something to do: else that could never be freed."""
    while not stopped.is_set():
        calls = hub.poll(None)
        if (alive := server()) is None:
            return
        alive._take(calls)  # noqa: SLF001 - the server's own thread
        del alive, calls  # a call holds its connection's descriptor


def server(
    thread_pool: futures.Executor | None,
    handlers: Iterable[grpc.GenericRpcHandler] | None = None,
    interceptors: Iterable[grpc.ServerInterceptor] | None = None,
    options: Options = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: grpc.Compression | None = None,
    xds: bool = False,
    *,
    mesh: PilotExchanger | None = None,
) -> Server:
    """`grpc.server` on our engine. ``thread_pool`` None: unary handlers run on the thread that reads connections.

    ``xds`` changes nothing: the ports follow the mesh whose credentials do (`rpc.xds_server_credentials`). ``mesh``:
    the exchanger that they follow it by; without it the process's own (`rpc.mesh`).

    >>> server = rpc.server(ThreadPoolExecutor(8))
    >>> add_GreeterServicer_to_server(Greeter(), server)
    >>> port = server.add_insecure_port("127.0.0.1:0")  # 0: one that is free
    >>> server.start()
    >>> with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    ...     GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10).message
    'Hello you, says somebody!'
    >>> server.stop(grace=5).wait()
    True
    """
    del xds
    interceptors = with_server_interceptors(interceptors)
    return Server(thread_pool, handlers, interceptors, options, maximum_concurrent_rpcs, compression, mesh)
