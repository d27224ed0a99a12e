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
from typing import TYPE_CHECKING

import grpc

from rpc._native import Reactor
from rpc.blocking.call_queue import CallQueue
from rpc.blocking.context import ServicerContext
from rpc.blocking.later import begin_call, own_pool, sends_later
from rpc.blocking.linger import Linger
from rpc.blocking.serve import serve_call, unserved
from rpc.extension import with_server_interceptors
from rpc.serving.core import ServerCore
from rpc.serving.intake import Job
from xds_client.greenlets import refuse_greenlets
from xds_client.threads import begun, must_begin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent import futures

    from rpc._native import ServerCall
    from rpc.options import Options
    from rpc.serving.intake import Handler
    from xds_client import PilotExchanger

_log = logging.getLogger(f"proxyless.{__name__}")
_STOPPED = "the server stopped"
_LOOK = 0.005  # seconds that handlers on the serving thread may take before it looks who has left meanwhile


class Server(ServerCore, grpc.Server):
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
        self._reactor: Reactor = Reactor()
        self._pool = thread_pool
        self._linger = Linger(thread_pool)
        self._thread: threading.Thread | None = None
        self._let_in: deque[ServerCall] = deque()  # later than they came: the serving thread goes on with them
        self._stopping: threading.Event | None = None
        self._stopped = threading.Event()
        self._make_locks()
        super().__init__(handlers, interceptors, options, maximum_concurrent_rpcs, compression, mesh)

    def inherit(self) -> None:
        super().inherit()
        self._make_locks()
        self._stopped = threading.Event()
        self._linger.inherit()
        self._let_in.clear()
        if self._started:
            self._stopping = self._stopping or threading.Event()
            self._stopped.set()
        else:
            self._reactor = Reactor()

    def _make_locks(self) -> None:
        self._lock = threading.RLock()  # the garbage collector may end a call under it, which tells another
        self._asking = threading.Lock()
        self._queue = None if self._pool is None else self._queue_for(self._pool)
        self._stream_queue: CallQueue[Job] | None = None  # made for the first stream, where the user gave no pool
        self._own_queues: dict[futures.Executor, CallQueue[Job]] = {}  # of handlers with a pool of their own

    @staticmethod
    def _queue_for(pool: futures.Executor) -> CallQueue[Job]:
        return CallQueue(pool.submit)

    # ---- grpc.Server

    def start(self) -> None:
        """Listen and serve; returns at once."""
        refuse_greenlets()
        if self._started:
            raise ValueError("Cannot start already-started server!")
        if self._busy_poll is not None:
            self._reactor.busy_poll(self._busy_poll)
        self._listeners.start(self._reactor)
        self._intake.context = contextvars.copy_context()
        try:
            self._thread = must_begin(_serve, "rpc server", weakref.ref(self), self._reactor, self._stopped)
        except (RuntimeError, MemoryError):
            self._listeners.close()
            self._reactor.close(_STOPPED)
            raise
        self._started = True

    def stop(self, grace: float | None) -> threading.Event:
        """No new calls; those in progress get ``grace`` seconds, then they are cancelled. The event: all is over."""
        with self._lock:
            requested, self._stopping = self._stopping, self._stopping or threading.Event()
        if requested is None:
            self._no_more_connections()
            if begun(self._stop, "rpc stop", self._stopping, grace, daemon=False) is None:
                self._stop(self._stopping, grace)  # who asks waits, but the server stops
        elif grace is None:
            self._reactor.close(_STOPPED)
        return self._stopped

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Block until the server stopped; True if ``timeout`` seconds passed before."""
        return not self._stopped.wait(timeout)

    def __del__(self) -> None:
        """A server that nobody holds any more stops, as in grpcio."""
        if getattr(self, "_started", False) and not self._stopped.is_set():
            self._stopped.set()
            self._listeners.close()
            self._reactor.close(_STOPPED)
            self._reactor.wake()

    # ---- serving

    def _take(self, calls: list[ServerCall]) -> None:
        """On the serving thread. Who leaves while users' code takes its time here is found before more of it begins."""
        came, jobs, looked = deque(calls), deque[Job](), time.monotonic()
        del calls[:]  # the caller's list would hold calls, and their connections, until all are handed over
        while came or jobs or self._let_in:
            if self._let_in:
                jobs.extend(self._jobs([self._let_in.popleft()], let_in=True))
            if came:
                jobs.extend(self._jobs([came.popleft()]))
            if jobs and not (came and self._queue is None):  # in place all that came are counted before one is run
                self._hand_over(jobs.popleft())
            if (came or jobs) and time.monotonic() - looked > _LOOK:
                came.extend(self._reactor.poll(0.0))
                looked = time.monotonic()

    def _hand_over(self, job: Job) -> None:
        free = self._queue is None or self._linger.others_free(self._intake.running)
        self.begin(job)
        if not free:
            self._linger.call_back(self._reactor)

    def _jobs(self, calls: list[ServerCall], *, let_in: bool = False) -> Iterator[Job]:
        accept = self._intake.readmit if let_in else self._intake.accept
        for call in calls:
            try:
                job = accept(call, self) if call.active or let_in else None
            except BaseException as error:
                unserved(call, error)
            else:
                if job is not None:
                    yield job

    def _stop(self, requested: threading.Event, grace: float | None) -> None:
        requested.set()
        idle = threading.Event()
        self._intake.when_idle(idle.set)
        idle.wait(grace or 0.0)
        self._reactor.close(_STOPPED)
        while self._let_in:  # since the serving thread last looked
            self._let_in.popleft()
            self._intake.release()
        self._is_over()
        self._stopped.set()
        self._reactor.wake()

    def look_up(self, call: ServerCall) -> Handler | None:
        table = self._intake.table
        details, continuation = table.details(call), table.find
        for interceptor in reversed(table.interceptors):
            continuation = functools.partial(interceptor.intercept_service, continuation)
        with self._asking:  # one call at a time, as in grpcio: who lingers asks, too
            return continuation(details)

    def again(self, call: ServerCall) -> None:
        """On the serving thread: whoever has decided is no thread for users' code."""
        self._let_in.append(call)
        self._reactor.wake()

    def begin(self, job: Job) -> None:
        """Whatever comes of it, who submits goes on: it reads for others, too."""
        queue = self._queue_of(job)
        if queue is not None:
            queue.put(job, self._work)
        elif job.call.active:
            self._run(job)
        else:
            job.left()

    def _queue_of(self, job: Job) -> CallQueue[Job] | None:
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

    def _work(self, queue: CallQueue[Job]) -> None:
        """In the pool. Nothing holds on to a call that was served: it holds what it was sent."""
        job = queue.take()
        while job is not None:
            self._run(job)
            job = None
            if queue is self._queue and not self._stopped.is_set():
                for came in self._jobs(self._linger.calls(self._reactor, alone=not self._intake.running)):
                    if job is None and self._queue_of(came) is queue:
                        job = came
                    else:
                        self.begin(came)
                    del came

    def _run(self, job: Job) -> None:
        """Whatever users' code raises is the end of its own call, and not of this thread."""
        try:
            job.context.run(self._answer, job)
        except BaseException as error:
            unserved(job.call, error)

    def _answer(self, job: Job) -> None:
        call = job.call
        context = ServicerContext(call)
        context.max_send = self._max_send
        if self._compression:
            call.compress(self._compression)
        if sends_later(job.handler):
            self._begin_call(context, job)
            return
        try:
            serve_call(context, job.handler, job.payload)
        finally:
            self._intake.left()
            context.run_callbacks()

    def _begin_call(self, context: ServicerContext, job: Job) -> None:
        """As in grpcio the limit counts the call until its handler has returned; a grace is for it until it is over."""
        self._intake.hold()
        try:
            begin_call(context, job.handler, job.payload)
        finally:
            self._intake.left()
            if not context.add_callback(self._over):
                self._over()

    def _over(self) -> None:
        """Who answers later holds the server by this."""
        self._intake.release()


def _serve(server: weakref.ref[Server], reactor: Reactor, stopped: threading.Event) -> None:
    """The serving thread. It holds the server only while there is something to do: else that could never be freed."""
    while not stopped.is_set():
        calls = reactor.poll(None)
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
