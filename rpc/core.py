"""What a channel is, whichever world it lives in: a target, its configuration, its subchannels.

Configurations come in from one thread at a time (the exchanger's, or the loop). Calls read `snapshot` without a lock.
Whoever can make or has a call holds the driver, which holds this and all below it; nothing below holds what is above.
So a channel that is dropped without being closed ends with its last call.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import grpc

from rpc import channelz_registry
from rpc.configuration import configuration_of
from rpc.errors import listed
from rpc.resolver.values import Unresolved
from rpc.retrying import Throttle
from rpc.routing import InvalidPatternError
from rpc.security import MeshProtection, Protection
from rpc.snapshot import Snapshot, keys, place
from rpc.transport import SubchannelPool
from rpc.transport.proxy import proxy_for
from rpc.transport.subchannel import CHANNEL_CLOSED
from rpc.weakly import weakly
from xds_client.greenlets import refuse_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpc._native import ClientTransport
    from rpc.choice import CallTerms
    from rpc.configuration import Configuration
    from rpc.credentials import CallCredentials
    from rpc.options import ChannelOptions
    from rpc.resolver.values import Told
    from rpc.transport import Subchannel, SubchannelKey
    from rpc.transport.proxy import Proxy

_log = logging.getLogger(f"proxyless.{__name__}")


class ChannelCore:
    """``notify`` wakes the calls that wait for a change; ``waiting_for`` tells what the first configuration needs.

    ``clock`` is the one of the calls' deadlines; plans, subchannels and balancing go by it too.
    """

    def __init__(self, target: str, notify: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        refuse_greenlets()
        self.target = target
        self.clock = clock
        self.snapshot: Snapshot | None = None
        self.problem: str | None = None
        self.closed = False
        self.closing = False  # no new calls; those that wait may still find a transport
        self.generation = 0
        # Told, from any thread, that the connectivity may have changed. One listener: the world's own channel.
        self.on_state: Callable[[], None] | None = None
        self.waiting_for: Callable[[], str] = lambda: "nothing was resolved"
        self.protection: Protection = MeshProtection(None)
        self.resume: Callable[[], None] = lambda: None  # before waiting and dialling: the resolution may sleep
        self.authority: str | None = None  # grpc.default_authority
        self.credentials: CallCredentials = ()
        self.user_agent = ""
        self.terms_of: Callable[[str], CallTerms | None] | None = None  # what the program says of a path's calls
        self.throttle: Throttle | None = None
        self.refresh: Callable[[], None] = lambda: None  # what is known of the endpoints may be out of date
        self._connect_timeout: float | None = None  # None: as the configuration says
        self.proxied = True  # the resolver's addresses may be called through the environment's HTTP proxy
        self._proxies = True
        self._warned: frozenset[str] = frozenset()  # of the configuration in use
        self._notify = notify
        self._number = channelz_registry.number()
        channelz_registry.channels[self._number] = self
        self._lock = threading.Lock()
        self._pool = SubchannelPool(weakly(self.changed), weakly(self.missed), clock)
        self._draining: list[ClientTransport] = []

    def configure(self, options: ChannelOptions, credentials: CallCredentials) -> None:
        """What the channel was made with; before the first configuration."""
        self.credentials = credentials
        self.user_agent = options.user_agent
        service = options.service_config
        self._proxies = options.http_proxy
        self._pool.bound = options.max_connections
        self._pool.backoff = options.backoff
        self._connect_timeout = options.connect_timeout
        if service is not None:
            self.terms_of = service.method
            self.throttle = Throttle(service.throttling) if service.throttling is not None else None

    def changed(self) -> None:
        """Something that a waiting call may wait for is different now. Any thread."""
        with self._lock:
            self.generation += 1
        self._notify()
        if (on_state := self.on_state) is not None:
            on_state()

    def missed(self) -> None:
        """A subchannel failed or was lost, politely or not; or a call found a cluster that has no endpoints to call."""
        if not self.closed:
            self.refresh()

    def proxy(self, key: SubchannelKey) -> Proxy | None:
        """What a transport is made through: the environment's HTTP proxy, for names and addresses of no mesh."""
        if not self._proxies or key.address.startswith("unix") or not self.proxied:
            return None
        return proxy_for(key.address)

    def on_config(self, told: Told) -> None:
        """A new configuration. One that cannot be used leaves the last good one in place.

        Raises `UnusableError` for what no configuration can be made of.
        """
        if self.closed:
            return
        try:
            configuration = configuration_of(told)
        except InvalidPatternError as error:
            _log.warning("%s: configuration not used, the last good one stays: %s", self.target, error)
            return
        if isinstance(configuration, Unresolved):
            _log.debug("%s: %s", self.target, configuration.reason)
            self.problem, self.snapshot = configuration.reason, None
            self._pool.retire({})
        else:
            for why in sorted(configuration.never - self._warned):
                _log.warning("%s: %s", self.target, why)
            self._warned = configuration.never
            placements = place(configuration, self.protection)
            wanted = keys(placements)
            if self._connect_timeout is not None:
                wanted = dict.fromkeys(wanted, self._connect_timeout)
            subchannels = self._pool.reconcile(wanted)
            self.snapshot = Snapshot(
                configuration, placements, subchannels, self.authority, self.snapshot, clock=self.clock
            )
            self.problem = None
            self._pool.retire(wanted)
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s: in use: %s", self.target, _summed_up(configuration, wanted))
        self.changed()

    @property
    def subchannels(self) -> tuple[Subchannel, ...]:
        return self._pool.subchannels

    def connectivity(self) -> grpc.ChannelConnectivity:
        """The best that any subchannel is. Who failed has failed until it is ready, as gRPC's policies say it."""
        state = grpc.ChannelConnectivity
        if self.closed:
            return state.SHUTDOWN
        subchannels = self._pool.subchannels
        if any(subchannel.transport is not None for subchannel in subchannels):
            return state.READY
        if any(subchannel.dialling and subchannel.error is None for subchannel in subchannels):
            return state.CONNECTING
        if self.problem is not None or (subchannels and all(subchannel.error for subchannel in subchannels)):
            return state.TRANSIENT_FAILURE
        return state.IDLE

    def to_connect(self) -> list[Subchannel]:
        """What to dial for the channel to become ready: one subchannel of each cluster that has none."""
        snapshot = self.snapshot
        if snapshot is None:
            return []
        chances = (cluster.to_dial(self.generation) for cluster in snapshot.clusters.values())
        return [subchannel for subchannel in chances if subchannel is not None]

    def retry_in(self) -> float | None:
        """Seconds until a subchannel that failed may be dialled again; None: none waits for that."""
        waits = [subchannel.retry_in for subchannel in self._pool.subchannels if not subchannel.dialling]
        return min((wait for wait in waits if wait > 0), default=None)

    def drain(self) -> None:
        """No new calls; those in progress go on."""
        self.closed = True
        self.problem, self.snapshot = CHANNEL_CLOSED, None
        self._draining = self._pool.drain()
        self.changed()

    def busy(self) -> bool:
        """Whether calls go on since `drain`: a transport ends after its last."""
        return any(transport.ended is None for transport in self._draining)

    def forget_transports(self, why: str) -> None:
        """Close them all, and dial anew when needed."""
        self._pool.forget_transports(why)

    def inherit(self) -> None:
        """In the child of a fork: the configuration stays, transports are made anew."""
        self._lock = threading.Lock()
        self._pool.inherit()
        if self.snapshot is not None:
            self.snapshot.forget_counts()
        self.generation += 1

    def close(self) -> None:
        """End every subchannel; calls in progress fail with CANCELLED."""
        self.closed = True
        channelz_registry.channels.pop(self._number, None)
        self.problem, self.snapshot = CHANNEL_CLOSED, None
        self._pool.close()
        draining, self._draining = self._draining, []  # a transport's descriptor lives as long as somebody holds it
        for transport in draining:
            transport.close(CHANNEL_CLOSED)
        self._draining = []  # whoever keeps a closed channel keeps no descriptors
        self.changed()


def _summed_up(configuration: Configuration, wanted: Mapping[SubchannelKey, float]) -> str:
    """A configuration in one line."""
    clusters = ", ".join(one.name for one in configuration.clusters)
    endpoints = listed([str(key) for key in wanted])
    return f"{configuration.rules}, clusters {clusters or 'none'}, endpoints {endpoints or 'none'}"
