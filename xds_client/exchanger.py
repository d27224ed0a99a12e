"""`PilotExchanger`: one control plane, one stream, one thread; the package's front door. Methods are for any thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self, cast, overload

from xds_client.channels import Channels, preferred
from xds_client.errors import (
    ExchangerClosedError,
    ResourceMissingError,
    ResourceNotCachedError,
    ResourceTimeoutError,
)
from xds_client.fork import inherits
from xds_client.greenlets import refuse_greenlets
from xds_client.identity.opening import open_source, stream_access
from xds_client.loop import AdsLoop
from xds_client.model import VIRTUAL_INBOUND, InboundMissing
from xds_client.observers import Observer, ObserverHandle, ObserverMap
from xds_client.reconnect import ReconnectSchedule
from xds_client.resolve import Inbound, Interest, Observed, Selected, Selection
from xds_client.resource_type import ResourceType
from xds_client.threads import Complaint, must_begin
from xds_client.transport import GrpcTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xds_client.bootstrap import Bootstrap
    from xds_client.decode import Value
    from xds_client.identity import IdentitySource
    from xds_client.model import (
        Cluster,
        ClusterLoadAssignment,
        ExtensionConfig,
        Listener,
        RouteConfiguration,
        Target,
        TargetConfig,
        TargetMissing,
    )
    from xds_client.status import Status
    from xds_client.transport import AdsTransport

logger = logging.getLogger(f"proxyless.{__name__}")


class PilotExchanger:
    """Keeps whole, typed, current configuration for whoever observes it.

    Opening never fails and never waits: with no control plane in reach it logs a warning, keeps trying, and `status`
    tells. ``channels`` make the connections to it: those of our engine once `rpc` is
    imported, else grpcio's. Observers are called on the exchanger's thread, one at a time, each with values in order;
    they should be quick, because the stream reads on only after them. They may call every method here.

    >>> with PilotExchanger(Bootstrap.load()) as exchanger:  # of the process: rpc.mesh()
    ...     cluster = exchanger.get(ResourceType.CLUSTER, "outbound|9080||greeter.demo.svc.cluster.local", timeout=10)
    >>> cluster.name
    'outbound|9080||greeter.demo.svc.cluster.local'
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        *,
        channels: Channels | None = None,
        transport: AdsTransport | None = None,
        identity: IdentitySource | None = None,
        schedule: ReconnectSchedule | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_greenlets()
        channels = channels or preferred()
        self._node_id = bootstrap.node.id
        self._own_identity = None if identity else open_source(bootstrap, channels)
        self.identity: IdentitySource | None = identity or self._own_identity  # None: plaintext
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._observers: ObserverMap[Interest, Observed] = ObserverMap()
        self._waiting: set[queue.SimpleQueue[Observed | None]] = set()
        self._closing = False
        self._loop = AdsLoop(
            node=bootstrap.node,
            transport=transport
            or GrpcTransport(bootstrap.discovery_address, stream_access(bootstrap, self.identity, channels), channels),
            observers=self._observers,
            post=self._post,
            clock=clock,
            schedule=schedule or ReconnectSchedule(),
        )
        self._complaint = Complaint()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        try:
            self._begin()
        except BaseException:  # no thread to be had: nothing was opened, and another attempt may follow
            if self._own_identity is not None:
                self._own_identity.close()
            raise
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: sleep with what is known, until something is wanted (`resume`)."""
        self._starting = threading.Lock()
        self._thread = None
        self._inbox = queue.SimpleQueue()
        self._waiting = set()
        self._observers.inherit()
        self._loop.inherit()

    def resume(self) -> None:
        """In the child of a fork: open a stream of its own, once. Otherwise nothing; cheap, any thread.

        Where there is no thread to be had now, what is known stays in use, and the next call of this tries again.
        """
        try:
            self._begin()
        except RuntimeError as error:
            self._complaint.say("xds-exchanger", error)

    def _begin(self) -> None:
        """Raises RuntimeError where there is no thread to be had."""
        if self._thread is not None or self._closing:
            return
        if self._own_identity is not None:
            self._own_identity.resume()
        with self._starting:
            if self._thread is None:
                self._thread = must_begin(self._run, "xds-exchanger")

    def observe_target(
        self, target: Target, callback: Callable[[TargetConfig | TargetMissing], object]
    ) -> ObserverHandle:
        """Call back with the target's whole configuration now and at every change, or with why there is none.

        While something of a new configuration is still missing the last good one stays, and nothing is called.
        """
        return self._observe(target, cast("Callable[[Observed], object]", callback))

    def observe_inbound(self, callback: Callable[[Listener | InboundMissing], object]) -> ObserverHandle:
        """Call back with the node's inbound listener now and at every change, or with why there is none.

        Listeners are asked for only while somebody observes. Once there was one, the last good one stays in use,
        whatever comes after it.
        """
        return self._observe(Inbound(), cast("Callable[[Observed], object]", callback))

    def observe(
        self, kind: ResourceType, names: Iterable[str], callback: Callable[[Selected], object]
    ) -> ObserverHandle:
        """Call back with what is known of these resources, at every change; close the handle to end it."""
        chosen = frozenset([names] if isinstance(names, str) else names)
        if not chosen or not all(chosen):
            raise ValueError(f"observe({kind}) needs names, and none of them empty")
        return self._observe(Selection(kind, chosen), cast("Callable[[Observed], object]", callback))

    @overload
    def get(self, kind: Literal[ResourceType.CLUSTER], name: str, timeout: float = ...) -> Cluster: ...
    @overload
    def get(self, kind: Literal[ResourceType.ENDPOINT], name: str, timeout: float = ...) -> ClusterLoadAssignment: ...
    @overload
    def get(self, kind: Literal[ResourceType.LISTENER], name: str, timeout: float = ...) -> Listener: ...
    @overload
    def get(self, kind: Literal[ResourceType.ROUTE], name: str, timeout: float = ...) -> RouteConfiguration: ...
    @overload
    def get(self, kind: Literal[ResourceType.EXTENSION], name: str, timeout: float = ...) -> ExtensionConfig: ...
    def get(self, kind: ResourceType, name: str, timeout: float = 5.0) -> Value:
        """One resource by name; waits up to ``timeout`` seconds for the control plane's answer.

        Raises `ResourceMissingError` or `ResourceTimeoutError`. From inside an observer it returns what is cached or
        raises `ResourceNotCachedError` at once: waiting there would stop the stream that brings the answer.
        """
        selected = cast("Selected", self._answer(Selection(kind, frozenset([name])), kind, name, timeout))
        if name in selected.found:
            return selected.found[name]
        raise ResourceMissingError(self._node_id, kind, name, selected.missing[name])

    def get_inbound(self, timeout: float = 5.0) -> Listener:
        """The node's inbound listener; waits and raises as `get` does."""
        listener = self._answer(Inbound(), ResourceType.LISTENER, VIRTUAL_INBOUND, timeout)
        if isinstance(listener, InboundMissing):
            raise ResourceMissingError(self._node_id, ResourceType.LISTENER, VIRTUAL_INBOUND, listener.reason)
        return cast("Listener", listener)

    def status(self) -> Status:
        """How it stands: connection, subscriptions, what is known, missing and rejected."""
        own = self._own_identity
        return replace(self._loop.status(), identity=own.status if own else None)

    @property
    def closed(self) -> bool:
        return self._closing

    @property
    def observed(self) -> bool:
        """Whether anybody observes anything: a channel, a port, or whoever has called one of the observing methods."""
        return bool(self._observers.keys())

    def close(self, timeout: float = 2.0) -> None:
        """End stream and thread; nobody is called afterwards. Waiting `get` calls raise `ExchangerClosedError`."""
        if not self._closing:
            self._closing = True
            self._inbox.put(lambda: None)  # wakes the thread
        if self._own_identity is not None:
            self._own_identity.close()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _observe(self, interest: Interest, callback: Callable[[Observed], object]) -> ObserverHandle:
        if self._closing:
            raise ExchangerClosedError(f"{interest} cannot be observed: this exchanger is closed; open a new one")
        observer = Observer(interest, callback, self._unobserve)
        self._observers.add(observer)
        try:
            self._begin()
        except BaseException:
            self._observers.remove(observer)
            raise
        # Replayed on the exchanger's thread: registered first, so nothing is missed, and in order with what comes.
        self._post(lambda: self._loop.added(observer))
        return observer.handle

    def _unobserve(self, observer: Observer[Interest, Observed]) -> None:
        # On the exchanger's thread: the garbage collector closes handles, in whatever thread and behind whatever lock.
        self._post(lambda: self._forget(observer))

    def _forget(self, observer: Observer[Interest, Observed]) -> None:
        self._observers.remove(observer)
        self._loop.removed()

    def _post(self, job: Callable[[], None]) -> None:
        self._inbox.put(job)

    def _answer(self, interest: Interest, kind: ResourceType, name: str, timeout: float) -> Observed:
        """What is announced about it; ``kind`` and ``name`` are for messages."""
        if threading.current_thread() is self._thread:
            observed = self._loop.peek(interest)
            if observed is None:
                advice = "not cached; observe() it instead of waiting for it inside an observer"
                raise ResourceNotCachedError(self._node_id, kind, name, advice)
            return observed
        answers: queue.SimpleQueue[Observed | None] = queue.SimpleQueue()
        self._waiting.add(answers)
        try:
            with self._observe(interest, answers.put):
                answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise ResourceTimeoutError(self._node_id, kind, name, self._no_answer(timeout)) from None
        finally:
            self._waiting.discard(answers)
        if answer is None:
            raise ExchangerClosedError(f"closed while {kind} {name!r} was waited for")
        return answer

    def _no_answer(self, timeout: float) -> str:
        status = self.status()
        why = f", last error: {status.connection.last_error}" if status.connection.last_error else ""
        return f"no answer within {timeout:g} s; {status.address} is {status.connection.phase.value}{why}"

    def _run(self) -> None:
        self._thread = threading.current_thread()  # observers are called before whoever begins it has the result
        self._loop.start()
        while not self._closing:
            try:
                jobs = [self._inbox.get(timeout=self._loop.wait())]
            except queue.Empty:
                jobs = [self._loop.tick]
            # What else is there by now (this thread is the only one that takes), and one settling for all of it.
            jobs += [self._inbox.get() for _ in range(self._inbox.qsize())]
            for job in (*jobs, self._loop.settle):
                if self._closing:
                    break
                try:
                    job()
                except Exception:  # a bug of ours must cost one event, not all configuration from now on
                    logger.exception("an event of the exchanger failed; it goes on")
        self._loop.stop()
        for answers in tuple(self._waiting):
            answers.put(None)
