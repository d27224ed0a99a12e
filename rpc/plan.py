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

from rpc.errors import failed
from rpc.routing import RequestHead

if TYPE_CHECKING:
    from collections.abc import Generator

    from rpc._native import ClientLink, Outcome, Pairs
    from rpc.core import ChannelCore
    from rpc.snapshot import ClusterSnapshot
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
# streams that reached the server's transport; more would let a draining fleet pass a call around.
_TRANSPARENT_RETRIES = 1


def plan_call(
    core: ChannelCore,
    path: str,
    metadata: Pairs | None,
    deadline: float | None,
    *,
    wait_for_ready: bool,
) -> Plan:
    """The plan of one call. ``deadline`` on the monotonic clock."""
    retries = _TRANSPARENT_RETRIES
    while True:
        generation = core.generation
        snapshot = core.snapshot
        if snapshot is None:
            if (problem := core.problem) is not None:
                return failed(grpc.StatusCode.UNAVAILABLE, problem)
            if _passed(deadline):
                return _too_late(f"{core.target}: no configuration yet: {core.waiting_for()}")
            yield Wait(generation, deadline)
            continue
        route = snapshot.table.route(RequestHead(path, snapshot.authority, metadata))
        if route is None:
            return failed(grpc.StatusCode.UNAVAILABLE, f"{core.target}: no route matches {path}")
        if route.unsupported is not None:
            return failed(
                grpc.StatusCode.UNAVAILABLE,
                f"{core.target}: route {route.name!r} says {route.unsupported}, which this release does not carry out",
            )
        name = route.pick_cluster()
        cluster = snapshot.clusters.get(name)
        if cluster is None or cluster.error is not None:
            reason = cluster.error if cluster else f"cluster {name} is not in the configuration"
            return failed(grpc.StatusCode.UNAVAILABLE, f"{core.target}: {reason}")
        limit = deadline
        if route.timeout is not None:
            limit = time.monotonic() + route.timeout
            if deadline is not None and deadline < limit:
                limit = deadline
        found = yield from _ready_link(core, cluster, limit, wait_for_ready=wait_for_ready)
        if isinstance(found, tuple):
            return found
        outcome = cast("Outcome", (yield Attempt(found, snapshot.authority, limit)))
        if not outcome[6] or retries == 0 or _passed(limit):
            return outcome
        retries -= 1


def _ready_link(
    core: ChannelCore, cluster: ClusterSnapshot, deadline: float | None, *, wait_for_ready: bool
) -> Generator[Step, Outcome | None, ClientLink | Outcome]:
    """A link of the cluster that can take the call, or the outcome if there is none to be had."""
    while True:
        generation = core.generation
        ready, waiting = cluster.next()
        if ready is not None:
            if waiting is not None:
                yield Dial(waiting)
            link = ready.link
            if link is not None:  # it may have been lost since
                return link
            continue
        if _passed(deadline):
            return _too_late(f"{core.target}: no connection to cluster {cluster.name}: {_errors(cluster)}")
        if waiting is not None:
            yield Dial(waiting)
            continue
        connections = cluster.connections()
        if core.closed:
            return failed(grpc.StatusCode.CANCELLED, "Channel closed!")
        if not wait_for_ready and not any(connection.dialling or connection.idle for connection in connections):
            return failed(
                grpc.StatusCode.UNAVAILABLE,
                f"{core.target}: failed to connect to all addresses of cluster {cluster.name}: {_errors(cluster)}",
            )
        retry_at = time.monotonic() + min(connection.retry_in for connection in connections)
        if any(connection.dialling for connection in connections):
            retry_at = float("inf")
        until = retry_at if deadline is None else min(deadline, retry_at)
        yield Wait(generation, None if until == float("inf") else until)
        if core.snapshot is None or core.snapshot.clusters.get(cluster.name) is not cluster:
            newer = core.snapshot.clusters.get(cluster.name) if core.snapshot else None
            if newer is not None and newer.error is None:
                cluster = newer


def _passed(deadline: float | None) -> bool:
    return deadline is not None and deadline <= time.monotonic()


def _too_late(what: str) -> Outcome:
    return failed(grpc.StatusCode.DEADLINE_EXCEEDED, f"Deadline Exceeded while waiting: {what}")


def _errors(cluster: ClusterSnapshot) -> str:
    reasons = sorted(f"{connection.key}: {connection.error}" for connection in cluster.connections() if connection.error)
    return "; ".join(reasons) or "still connecting"
