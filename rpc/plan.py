"""The call plan: what a call does next, decided once for the blocking and the asyncio world.

A plan is a generator. It yields a step, is sent what came of it, and returns the call's outcome. It never waits, dials
or sends by itself: the drivers (`rpc.blocking`, `rpc.aio`) do, and both are a loop over these steps.

    no configuration yet ── Wait ──┐
    route → cluster → pick ────────┤ nothing ready: Dial, or Wait while others dial
                                   └ Attempt ── not processed by the peer: once more, for free (gRFC A6)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc

from rpc.errors import ChannelClosedError, failed
from rpc.routing import RequestHead

if TYPE_CHECKING:
    from collections.abc import Generator

    from rpc._native import ClientLink, Outcome, Pairs
    from rpc.core import ChannelCore
    from rpc.routing.table import CompiledRoute
    from rpc.snapshot import ClusterSnapshot, Snapshot
    from rpc.transport import Connection

    Plan = Generator["Step", Outcome | None, Outcome]


class Attempt:
    """Send the request on ``link``; answered with the `Outcome`. ``deadline`` on the monotonic clock."""

    __slots__ = ("authority", "deadline", "link")

    def __init__(self, link: ClientLink, authority: str, deadline: float | None) -> None:
        self.link = link
        self.authority = authority
        self.deadline = deadline


@dataclass(frozen=True, slots=True)
class Dial:
    """Begin to connect ``connection``, without waiting for it. No answer: the core's generation changes."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the core's generation is not ``generation`` any more, or ``until`` (monotonic). No answer."""

    generation: int
    until: float | None


Step = Attempt | Dial | Wait

# A stream that the peer never processed is sent again without counting as a retry. gRFC A6 allows it once per call for
# streams that reached the server's transport. A link that is lost or draining is not picked again: going on to the next
# one is not a retry of the same thing, and ends with the last link.
_TRANSPARENT_RETRIES = 1


class _EndedError(Exception):
    """The call is over before it was sent."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.outcome = failed(code, details)


def plan_call(
    core: ChannelCore,
    path: str,
    metadata: Pairs | None,
    deadline: float | None,
    *,
    wait_for_ready: bool | None,
) -> Plan:
    """The plan of one call. ``deadline`` on the monotonic clock. Raises `ChannelClosedError` at its first step."""
    if core.closed:
        raise ChannelClosedError
    retries = _TRANSPARENT_RETRIES
    routed: float | None = None
    try:
        while True:
            snapshot = core.snapshot or (yield from _configuration(core, deadline))
            route = _route(core, snapshot, RequestHead(path, snapshot.authority, metadata))
            limit = deadline
            if route.timeout is not None:
                # Envoy's route time-out spans all attempts, from when the request was whole.
                routed = routed or time.monotonic()
                limit = routed + route.timeout
                if deadline is not None and deadline < limit:
                    limit = deadline
            link = yield from _link(core, route.pick_cluster(), limit, wait_for_ready=wait_for_ready)
            if link is None:
                continue
            outcome = cast("Outcome", (yield Attempt(link, snapshot.authority, limit)))
            if not outcome[6] or retries == 0 or _passed(limit):
                return outcome
            if link.usable:
                retries -= 1
    except _EndedError as ended:
        return ended.outcome


def _configuration(core: ChannelCore, deadline: float | None) -> Generator[Step, Outcome | None, Snapshot]:
    """Wait for the first configuration."""
    while True:
        generation = core.generation
        if (snapshot := core.snapshot) is not None:
            return snapshot
        if core.problem is not None:
            raise _EndedError(grpc.StatusCode.CANCELLED if core.closed else grpc.StatusCode.UNAVAILABLE, core.problem)
        if _passed(deadline):
            raise _late(f"{core.target}: no configuration yet: {core.waiting_for()}")
        yield Wait(generation, deadline)


def _route(core: ChannelCore, snapshot: Snapshot, head: RequestHead) -> CompiledRoute:
    route = snapshot.table.route(head)
    if route is None:
        raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: no route matches {head.path}")
    if route.unsupported is not None:
        what = f"route {route.name!r} says {route.unsupported}, which this release does not carry out"
        raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: {what}")
    return route


def _link(
    core: ChannelCore, name: str, deadline: float | None, *, wait_for_ready: bool | None
) -> Generator[Step, Outcome | None, ClientLink | None]:
    """A connection of the cluster that can take the call; None: the configuration changed, route again."""
    while True:
        generation = core.generation
        snapshot = core.snapshot
        if snapshot is None:
            return None
        cluster = snapshot.clusters.get(name)
        if cluster is None:
            raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: cluster {name} is not in the configuration")
        if cluster.error is not None:
            raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: {cluster.error}")
        ready, idle = cluster.next()
        if idle is not None:
            yield Dial(idle)
        if ready is not None:
            link = _live(core, ready)
            if link is not None:
                return link
            continue
        if _passed(deadline):
            raise _late(f"{core.target}: no connection to cluster {name}: {_errors(cluster)}")
        if idle is None:
            yield Wait(generation, _next_chance(core, cluster, deadline, wait_for_ready=wait_for_ready))


def _live(core: ChannelCore, connection: Connection) -> ClientLink | None:
    """The connection's link; None: it was lost since it was picked. Fails the call once our certificate has expired."""
    security = connection.key.security
    if security is not None and (lapsed := security.lapsed()) is not None:
        raise _EndedError(grpc.StatusCode.UNAVAILABLE, f"{core.target}: {lapsed}")
    return connection.link


def _next_chance(
    core: ChannelCore, cluster: ClusterSnapshot, deadline: float | None, *, wait_for_ready: bool | None
) -> float | None:
    """Until when waiting for a change makes sense, while every connection is being dialled or has failed."""
    connections = cluster.connections()
    if any(connection.dialling for connection in connections):
        return deadline
    if not wait_for_ready and all(connection.error is not None for connection in connections):
        raise _EndedError(
            grpc.StatusCode.UNAVAILABLE,
            f"{core.target}: failed to connect to all addresses of cluster {cluster.name}: {_errors(cluster)}",
        )
    retry_at = time.monotonic() + min(connection.retry_in for connection in connections)
    return retry_at if deadline is None else min(deadline, retry_at)


def _passed(deadline: float | None) -> bool:
    return deadline is not None and deadline <= time.monotonic()


def _late(what: str) -> _EndedError:
    return _EndedError(grpc.StatusCode.DEADLINE_EXCEEDED, f"Deadline Exceeded while waiting: {what}")


def _errors(cluster: ClusterSnapshot) -> str:
    reasons = sorted(f"{c.key}: {why}" for c in cluster.connections() if (why := c.error or _waits_for(c)))
    return "; ".join(reasons) or "still connecting"


def _waits_for(connection: Connection) -> str | None:
    """What a connection needs before it can be dialled at all."""
    security = connection.key.security
    return security.lapsed() if security is not None else None
