"""Delta ADS as istiod speaks it, without I/O and without a clock. Confined to the exchanger's thread.

The theory, from the protocol (envoy xds_protocol.rst) and from istiod (pilot/pkg/xds/delta.go):

* A type's first request on a stream names everything wanted, and in ``initial_resource_versions`` everything held:
  istiod reports a removal during the outage only for names found there, though its versions are all empty. It also
  *subscribes* to the names found there, so a name no longer wanted must not be in it.
* A first request without names is a wildcard, for EDS and RDS too. So no request ever says "all" by saying nothing:
  a wildcard is written out (``*``), and a type is not mentioned before a name of it is wanted.
* A subscription change is a request of its own with an empty nonce. Names in a NACK are dropped for good, names in an
  ACK are an error in istiod's eyes, and a change that changes nothing is one too.
* An ACK or NACK carries the nonce just received and no names. A response of a type never asked for gets neither.
* The node goes into the first request of a stream only.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xds_client.codec import DeltaRequest, DeltaResponse, WireResource, decode_delta_response
from xds_client.decode import content
from xds_client.envelope import LONGEST_NAME
from xds_client.errors import DecodeError
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.session.update import Names, Update
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from xds_client.decode import Content
    from xds_client.node import Node

logger = logging.getLogger(f"proxyless.{__name__}")

# How long a name may stay unanswered before it counts as missing (envoy xds_protocol.rst, "knowing when a requested
# resource does not exist").
PATIENCE = 15.0

_NOBODY: frozenset[str] = frozenset()
# What a control plane makes us say, or remember, is bounded.
_MOST_WARNED = 16  # types
_MOST_SAID, _LONGEST_SAID = 20, 1000  # errors in one NACK, characters of each
_LONGEST_SHOWN = 200  # characters of a type


@dataclass(slots=True)
class _Stream:
    """What dies with the stream."""

    introduced: bool = False
    on_wire: bool = False
    asked: set[ResourceType] = field(default_factory=set)
    nonces: dict[ResourceType, str] = field(default_factory=dict)
    deadlines: dict[tuple[ResourceType, str], float] = field(default_factory=dict)


class DeltaSession:
    """See `AdsSession` for what each method promises."""

    method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    def __init__(self, node: Node, patience: float = PATIENCE, held: Names | None = None) -> None:
        """``held``: what is known from elsewhere. Its removal is heard of, and it is sent again: it has no version."""
        self._node = node
        self._patience = patience
        self._wanted: dict[ResourceType, frozenset[str]] = {}
        self._held: dict[ResourceType, dict[str, str]] = {
            kind: dict.fromkeys(held.get(kind, _NOBODY) if held else _NOBODY, "") for kind in ResourceType
        }
        self._stream: _Stream | None = None
        self._warned: set[str] = set()

    def open(self) -> list[DeltaRequest]:
        self._stream = _Stream()
        return [self._first(self._stream, kind) for kind in ResourceType if self._wanted.get(kind)]

    def on_wire(self, now: float) -> None:
        assert self._stream is not None, "only an open stream can reach the wire"
        self._stream.on_wire = True
        for kind in self._stream.asked:
            self._start_timers(self._stream, kind, self._wanted[kind], now)

    def close(self) -> None:
        self._stream = None

    def want(self, names: Names, now: float) -> list[DeltaRequest]:
        requests = []
        for kind in ResourceType:
            before, after = self._wanted.get(kind, _NOBODY), names.get(kind, _NOBODY)
            if before == after:
                continue
            self._wanted[kind] = after
            if WILDCARD not in after:
                self._held[kind] = {n: v for n, v in self._held[kind].items() if n in after}
            if self._stream is None:
                continue
            if kind in self._stream.asked:
                requests.append(self._change(self._stream, kind, before, after))
            else:
                requests.append(self._first(self._stream, kind))
            if self._stream.on_wire:
                self._start_timers(self._stream, kind, after - before, now)
        return requests

    def ask_again(self, kind: ResourceType, names: Collection[str], now: float) -> list[DeltaRequest]:
        for name in names:
            self._held[kind].pop(name, None)
        if self._stream is None or kind not in self._stream.asked:
            return []  # the first request of the next stream asks anyway
        if self._stream.on_wire:
            self._start_timers(self._stream, kind, names, now)
        # Asking for what is subscribed already changes nothing and is not answered; so leave and come back.
        again = tuple(sorted(names))
        return [DeltaRequest(kind, unsubscribe=again), DeltaRequest(kind, subscribe=again)]

    def receive(self, data: bytes | DeltaResponse, now: float) -> Update | None:  # noqa: ARG002 - state of the world will need it
        assert self._stream is not None, "a response can only come on an open stream"
        response = decode_delta_response(data) if isinstance(data, bytes) else data
        kind = next((k for k in self._stream.asked if k.value == response.type_url), None)
        if kind is None:
            self._warn_once(response.type_url)
            return None
        self._stream.nonces[kind] = response.nonce
        update = self._read(kind, response)
        held = self._held[kind]
        held.update((r.name, _kept(r.version)) for r in response.resources if r.name in update.accepted)
        for name in update.removed:
            held.pop(name, None)
        answered = (update.accepted, update.removed, {error.name for error in update.rejected})
        deadlines = self._stream.deadlines
        for name in [n for k, n in deadlines if k is kind and any(n in names for names in answered)]:
            del deadlines[kind, name]
        deadlines.pop((kind, WILDCARD), None)
        return update

    def refuse(self, kind: ResourceType, names: Iterable[str]) -> None:
        for name in names:
            self._held[kind].pop(name, None)

    def reply(self, update: Update, late: Sequence[DecodeError] = ()) -> DeltaRequest:
        return DeltaRequest(update.kind, nonce=update.nonce, error=_summary((*update.rejected, *late)))

    def complain(self, kind: ResourceType, late: Sequence[DecodeError]) -> DeltaRequest | None:
        nonce = self._stream.nonces.get(kind) if self._stream else None
        return DeltaRequest(kind, nonce=nonce, error=_summary(late)) if nonce else None

    def expire(self, now: float) -> list[Update]:
        if self._stream is None:
            return []
        due = [key for key, deadline in self._stream.deadlines.items() if deadline <= now]
        removed: dict[ResourceType, dict[str, str]] = {}
        for kind, name in due:
            del self._stream.deadlines[kind, name]
            reason = f"the control plane did not answer for {self._patience:g} s after it was asked"
            removed.setdefault(kind, {})[name] = reason
        return [Update(kind, removed=names) for kind, names in removed.items()]

    def next_expiry(self) -> float | None:
        return min(self._stream.deadlines.values(), default=None) if self._stream else None

    def _first(self, stream: _Stream, kind: ResourceType) -> DeltaRequest:
        node = None if stream.introduced else self._node
        stream.introduced = True
        stream.asked.add(kind)
        held = tuple(sorted(self._held[kind].items()))
        return DeltaRequest(kind, subscribe=tuple(sorted(self._wanted[kind])), initial_versions=held, node=node)

    def _change(
        self, stream: _Stream, kind: ResourceType, before: frozenset[str], after: frozenset[str]
    ) -> DeltaRequest:
        for name in before - after:
            stream.deadlines.pop((kind, name), None)
        return DeltaRequest(kind, subscribe=tuple(sorted(after - before)), unsubscribe=tuple(sorted(before - after)))

    def _start_timers(self, stream: _Stream, kind: ResourceType, names: Iterable[str], now: float) -> None:
        """For names not held; a wildcard is unanswered as long as nothing at all is held."""
        for name in names:
            if not self._held[kind] if name == WILDCARD else name not in self._held[kind]:
                stream.deadlines[kind, name] = now + self._patience

    def _read(self, kind: ResourceType, response: DeltaResponse) -> Update:
        """Sort the resources of one response: those not asked for are none of our business."""
        wanted = self._wanted.get(kind, _NOBODY)
        times = Counter(in_turns(response.resources.names))
        accepted: dict[str, Content] = {}
        rejected: dict[str, DecodeError] = {}
        for resource in response.resources:
            name = resource.name
            if not (name in wanted or WILDCARD in wanted) or resource.data is None:
                continue
            if times[name] > 1:
                rejected[name] = DecodeError(kind, name, "", "appears twice in one response")
                continue
            try:
                accepted[name] = _content(kind, resource, resource.data)
            except DecodeError as error:
                rejected[name] = error.kept()
        gone = {n: "the control plane removed it" for n in response.removed if n in wanted or WILDCARD in wanted}
        return Update(
            kind,
            response.version,
            response.nonce,
            accepted,
            tuple(rejected.values()),
            {name: reason for name, reason in gone.items() if name not in accepted and name not in rejected},
            whole=WILDCARD in wanted,
        )

    def _warn_once(self, type_url: str) -> None:
        shown = type_url[:_LONGEST_SHOWN]
        if shown in self._warned or len(self._warned) > _MOST_WARNED:
            return
        self._warned.add(shown)
        if len(self._warned) > _MOST_WARNED:
            logger.warning("ignoring resources of more types that node %s never asked for", self._node.id)
        else:
            logger.warning("ignoring resources of type %r: node %s never asked for any", shown, self._node.id)


def _kept(version: str) -> str:
    """Without its version a resource is sent again."""
    return version if len(version) <= LONGEST_NAME else ""


def _summary(errors: Sequence[DecodeError]) -> str:
    """As much as a reader needs; 10,000 clusters may be wrong in one and the same way."""
    said = "; ".join(str(error)[:_LONGEST_SAID] for error in errors[:_MOST_SAID])
    return said if len(errors) <= _MOST_SAID else f"{said}; and {len(errors) - _MOST_SAID} more"


def _content(kind: ResourceType, resource: WireResource, data: bytes | memoryview) -> Content:
    parsed = resource.parsed
    if parsed is None:
        return content(kind, resource.name, resource.type_url, data)
    if isinstance(parsed, DecodeError):
        raise parsed
    return parsed
