"""All that happens on the exchanger's thread: what the stream, the users and the clock cause. No thread of its own.

The one way of the data: bytes → session → caches → resolutions → subscriptions → observers → ACK or NACK → read on.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from xds_client.bulk import BulkDecoding
from xds_client.cache import Caches, Departure, Key
from xds_client.codec import decode_delta_response
from xds_client.errors import DecodeError, ProtocolError
from xds_client.fork import abandon
from xds_client.model import InboundMissing, Listener
from xds_client.omissions import Omissions
from xds_client.rejections import Rejections
from xds_client.resolve import Inbound, Interest, Observed, Resolution, resolve
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.session import PATIENCE, DeltaSession
from xds_client.status import ConnectionStatus, Phase, Status
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xds_client.codec import DeltaResponse
    from xds_client.node import Node
    from xds_client.observers import Observer, ObserverMap
    from xds_client.reconnect import ReconnectSchedule
    from xds_client.session import AdsSession, Names, Request
    from xds_client.transport import AdsStream, AdsTransport

logger = logging.getLogger(f"proxyless.{__name__}")

Late = dict[ResourceType, list[DecodeError]]

# Every target needs clusters and istiod sends them only all at once: they are asked for as soon as there is a stream.
_ALWAYS: dict[ResourceType, frozenset[str]] = {ResourceType.CLUSTER: frozenset({WILDCARD})}


class AdsLoop:
    """Session, caches, schedule and resolutions, confined to the one thread that calls these methods (asserted)."""

    def __init__(
        self,
        *,
        node: Node,
        transport: AdsTransport,
        observers: ObserverMap[Interest, Observed],
        post: Callable[[Callable[[], None]], None],
        clock: Callable[[], float],
        schedule: ReconnectSchedule,
    ) -> None:
        self._node = node
        self._transport = transport
        self._observers = observers
        self._post = post
        self._clock = clock
        self._schedule = schedule
        self._session: AdsSession = DeltaSession(node)
        self._stream: AdsStream | None = None
        self._bulk = BulkDecoding(post, self._decoded)
        self._owes_read = False  # the stream is not read on before some of the bulk is dealt with
        self._routes_due: float | None = None  # until when the routes have the chance to follow clusters that went
        self._serial = 0  # which stream an event belongs to; an older stream's are history
        self._resolutions: dict[Interest, Resolution] = {}
        self._announced: dict[Interest, Observed] = {}
        self._complained: dict[Key, DecodeError] = {}
        self._rejections = Rejections(clock)
        self._omissions = Omissions(clock)
        self._unsettled = False
        self._owner: int | None = None
        # Read by `status` on any thread: immutable values behind one reference each.
        self._caches = Caches()
        self._wanted: Names = {}
        self._connection = ConnectionStatus(Phase.CONNECTING)

    # What the thread calls

    def start(self) -> None:
        self._owner = threading.get_ident()
        late = self._settle()  # the child of a fork has caches and observers already
        if not self._wanted:
            self._subscribe()
        self._connect()
        self._complain(late)

    def settle(self) -> None:
        """Take account of observers added and removed; at the end of every turn.

        Starting a thousand channels is one change of the subscriptions, not a thousand, each over all targets.
        """
        self._confined()
        if self._unsettled:
            self._complain(self._settle())

    def wait(self) -> float | None:
        """Seconds until `tick` has something to do; None: nothing is due."""
        due = [t for t in (self._session.next_expiry(), self._connection.retry_at, self._routes_due) if t is not None]
        return max(0.0, min(due) - self._clock()) if due else None

    def tick(self) -> None:
        self._confined()
        now = self._clock()
        if self._connection.retry_at is not None and self._connection.retry_at <= now:
            self._connect()
        for update in self._session.expire(now):
            self._caches = self._caches.apply(update)
            self._complain(self._settle())
        if self._routes_due is not None and self._routes_due <= now:
            self._caches = replace(self._caches, departure=Departure())
            self._complain(self._settle())

    def inherit(self) -> None:
        """In the child of a fork: what is known stays; all that it led to is derived anew, by `start`.

        The fork may have come in the middle of it. The caches are one reference, and whole.
        """
        abandon(self._stream)
        self._stream = None
        self._bulk.inherit()
        self._caches = replace(self._caches, coming=False)
        self._routes_due = None
        self._serial += 1
        self._session = DeltaSession(self._node, held={k: frozenset(p.known) for k, p in self._caches.by_type.items()})
        self._resolutions, self._announced, self._wanted = {}, {}, {}
        self._connection = ConnectionStatus(
            Phase.WAITING, self._connection.streams, "not needed since the process was forked"
        )

    def stop(self) -> None:
        self._confined()
        self._serial += 1
        self._session.close()
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._connection = replace(self._connection, phase=Phase.CLOSED, retry_at=None)

    # What users cause

    def added(self, observer: Observer[Interest, Observed]) -> None:
        """Replay what is announced already, then see whether there is more."""
        self._confined()
        current = self._announced.get(observer.key)
        if current is not None:
            observer.deliver(current)
        self._unsettled = True

    def removed(self) -> None:
        self._confined()
        self._unsettled = True

    def peek(self, interest: Interest) -> Observed | None:
        """What the caches say now, without asking anybody."""
        self._confined()
        return resolve(interest, self._caches, self._node).observed

    def status(self) -> Status:
        """Any thread."""
        caches, wanted, connection = self._caches, self._wanted, self._connection
        return Status(
            node_id=self._node.id,
            address=self._transport.address,
            connection=connection,
            wanted=wanted,
            known={kind: len(cache.known) for kind, cache in caches.by_type.items()},
            missing={kind: {n: m.reason for n, m in cache.missing.items()} for kind, cache in caches.by_type.items()},
            rejected=tuple(error for cache in caches.by_type.values() for error in cache.errors()),
            retry_in=None if connection.retry_at is None else max(0.0, connection.retry_at - self._clock()),
            left_out=self._omissions.current,
            inbound=cast("Listener | InboundMissing | None", self._announced.get(Inbound())),
        )

    # What the stream causes

    def opened(self, serial: int) -> None:
        self._confined()
        if serial != self._serial:
            return
        self._caches = self._caches.new_stream()
        self._session.on_wire(self._clock())
        self._give_routes_time()

    def received(self, serial: int, data: bytes) -> None:
        self._confined()
        if serial != self._serial or self._stream is None:
            return
        if self._connection.phase is not Phase.CONNECTED:
            logger.info("control plane %s answers node %s", self._transport.address, self._node.id)
            self._connection = ConnectionStatus(Phase.CONNECTED, self._connection.streams)
            self._schedule.reset()
        try:
            response = decode_delta_response(data)
        except ProtocolError as error:
            self._stream.close()
            self.closed(serial, str(error))
            return
        if self._bulk.takes(response, len(data)):
            self._bulk.put(serial, response, len(data))
            self._owes_read = self._bulk.full
            self._note_what_comes()
        else:
            self._take(response)
        if not self._owes_read:
            self._stream.read()

    def _decoded(self, serial: int, response: DeltaResponse) -> None:
        """A large response is ready. One of an earlier stream says nothing: the session has not seen it, and asks."""
        self._confined()
        if serial != self._serial or self._stream is None:
            return
        self._note_what_comes()
        self._take(response)
        if self._owes_read and not self._bulk.full:
            self._owes_read = False
            self._stream.read()

    def _note_what_comes(self) -> None:
        coming = self._bulk.holds(ResourceType.CLUSTER)
        if coming != self._caches.coming:
            self._caches = replace(self._caches, coming=coming)
            self._unsettled = True

    def _give_routes_time(self) -> None:
        """To follow the clusters that went before them. Without a stream they cannot, and nothing is missing."""
        if not self._caches.departure.clusters or self._stream is None:
            self._routes_due = None
        elif self._routes_due is None:
            self._routes_due = self._clock() + PATIENCE

    def _take(self, response: DeltaResponse) -> None:
        update = self._session.receive(response, self._clock())
        if update is not None:
            self._caches = self._caches.apply(update)
            late = self._settle()
            # What is known to make no sense is NACKed every time it comes, on the next stream too.
            cache = self._caches.by_type[update.kind]
            self._session.refuse(update.kind, (n for n in in_turns(update.accepted) if n not in cache.known))
            again = [*cache.errors_among(update.accepted), *cache.refused(update.accepted)]
            errors = {error.name: error for error in (*again, *late.pop(update.kind, ()))}
            self._send([self._session.reply(update, tuple(errors.values()))])
            self._complain(late)
            for rejected in in_turns(update.rejected):
                self._rejections.say(rejected)

    def closed(self, serial: int, reason: str) -> None:
        self._confined()
        if serial != self._serial:
            return
        self._serial += 1
        self._stream = None
        self._session.close()
        self._give_routes_time()
        delay = self._schedule.failed()
        streams, attempts = self._connection.streams, self._connection.attempts
        self._connection = ConnectionStatus(Phase.WAITING, streams, reason, self._clock() + delay, attempts)
        # The first failure and every doubling: an outage of an hour is ten lines, not a thousand.
        failures = self._schedule.failures
        logger.log(
            logging.WARNING if failures & (failures - 1) == 0 else logging.DEBUG,
            "no stream to control plane %s for node %s (%s); what is known stays in use; attempt %d in %.1f s",
            self._transport.address,
            self._node.id,
            reason,
            attempts + 1,
            delay,
        )

    # How it is done

    def _connect(self) -> None:
        self._serial += 1
        self._owes_read = False
        last = self._connection
        self._connection = ConnectionStatus(
            Phase.CONNECTING, last.streams + 1, last.last_error, attempts=last.attempts + 1
        )
        logger.debug("attempt %d at control plane %s", self._connection.attempts, self._transport.address)
        try:
            self._stream = self._transport.connect(self._session.method, _Events(self, self._serial, self._post))
        except Exception as error:  # no descriptor, no thread, no memory: it may be otherwise at the next attempt
            logger.debug("no connection could be begun", exc_info=True)
            self.closed(self._serial, f"no connection could be begun: {type(error).__name__}: {error}")
            return
        self._send(self._session.open())

    def _settle(self) -> Late:
        """Bring subscriptions, then observers, in line with the caches. Returns malformed resources newly met."""
        self._unsettled = False
        self._give_routes_time()
        observed = self._observers.keys()
        gone = self._resolutions.keys() - observed
        for interest in gone:
            del self._resolutions[interest]
            self._announced.pop(interest, None)
        changed = [i for i in observed if i not in self._resolutions or not self._resolutions[i].stands(self._caches)]
        late: Late = defaultdict(list)
        changed = [interest for interest in changed if self._resolved(interest, late)]
        if changed or gone:
            self._subscribe()
        self._ask_again(key for interest in changed for key in self._resolutions[interest].again)
        for interest in changed:
            self._announce(interest, self._resolutions[interest].observed)
        self._omissions.take({interest: self._announced.get(interest) for interest in changed}, gone)
        return late

    def _resolved(self, interest: Interest, late: Late) -> bool:
        """Resolve anew. One that raises, which is ours to mend, costs only itself: it stays as it was."""
        try:
            resolution = resolve(interest, self._caches, self._node)
        except Exception:
            logger.exception("%.200r cannot be resolved", interest)
            return False
        self._resolutions[interest] = resolution
        for error in resolution.errors:
            if self._complained.get((error.kind, error.name)) is not error:
                self._complained[error.kind, error.name] = error
                late[error.kind].append(error)
                self._rejections.say(error)
        return True

    def _subscribe(self) -> None:
        """Subscriptions are derived from what the resolutions read: nobody watches, unwatches or counts."""
        names: dict[ResourceType, set[str]] = {kind: set(always) for kind, always in _ALWAYS.items()}
        for resolution in self._resolutions.values():
            for kind, name in resolution.read:
                names.setdefault(kind, set()).add(WILDCARD if kind.by_wildcard else name)
        read = {key for resolution in self._resolutions.values() for key in resolution.read}
        self._complained = {key: error for key, error in self._complained.items() if key in read}
        self._wanted = {kind: frozenset(wanted) for kind, wanted in names.items()}
        self._send(self._session.want(self._wanted, self._clock()))
        departure = self._caches.departure
        self._caches = self._caches.retain(self._wanted)
        self._unsettled |= self._caches.departure is not departure  # who waits for routes must look again

    def _ask_again(self, keys: Iterable[Key]) -> None:
        for kind, name in set(keys):
            self._caches = self._caches.forget([(kind, name)])
            self._send(self._session.ask_again(kind, [name], self._clock()))

    def _announce(self, interest: Interest, observed: Observed | None) -> None:
        """Only what is whole and new. Not whole: observers keep the last good one.

        A server keeps the last good listener too: without one it would have to refuse everybody.
        """
        current = self._announced.get(interest)
        if isinstance(observed, InboundMissing) and isinstance(current, Listener):
            logger.warning("%s; the last good one stays in use", observed.reason)
            return
        try:
            if observed is not None and observed != current:
                self._announced[interest] = observed
                self._observers.notify(interest, observed)
        except Exception:  # as in `_resolved`: the others hear of their own
            logger.exception("what is new of %.200r cannot be announced", interest)

    def _complain(self, late: Late) -> None:
        for kind, errors in late.items():
            request = self._session.complain(kind, errors)
            self._send([request] if request is not None else [])

    def _send(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if self._stream is not None:
                self._stream.send(request.encode())

    def _confined(self) -> None:
        assert threading.get_ident() == self._owner, "the loop is confined to the exchanger's thread"


class _Events:
    """Carries a stream's events onto the exchanger's thread, with the serial of the stream they belong to."""

    def __init__(self, loop: AdsLoop, serial: int, post: Callable[[Callable[[], None]], None]) -> None:
        self._loop = loop
        self._serial = serial
        self._post = post

    def opened(self) -> None:
        self._post(lambda: self._loop.opened(self._serial))

    def received(self, data: bytes) -> None:
        self._post(lambda: self._loop.received(self._serial, data))

    def closed(self, reason: str) -> None:
        self._post(lambda: self._loop.closed(self._serial, reason))
