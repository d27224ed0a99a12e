"""The connections of one channel, by key. Reconciled with each configuration: equal keys keep their connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rpc.transport.connection import Connection, ConnectionKey
from xds_client.backoff import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpc._native import ClientLink


class Pool:
    """``on_change`` is told when a connection's state changes, ``on_missed`` when one failed or was lost.

    `reconcile` and `close` have one caller at a time.
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        on_missed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change = on_change
        self._on_missed = on_missed
        self._clock = clock
        self.bound = 1  # links of one connection; before the first `reconcile`, as what follows
        self.backoff = USUAL
        self._connections: dict[ConnectionKey, Connection] = {}

    @property
    def connections(self) -> tuple[Connection, ...]:
        return tuple(self._connections.values())

    def reconcile(self, wanted: Mapping[ConnectionKey, float]) -> Mapping[ConnectionKey, Connection]:
        """Keep what is still wanted (key → connect time-out in seconds), add what is new.

        What is gone is not closed here: the snapshot that calls work from still names it. See `retire`.
        """
        connections = dict(self._connections)
        reached = {(key.address, key.port) for key, known in connections.items() if known.link is not None}
        for key, connect_timeout in wanted.items():
            known = connections.get(key)
            if known is None:
                connections[key] = Connection(
                    key,
                    connect_timeout,
                    self._on_change,
                    on_missed=self._on_missed,
                    backoff=self.backoff,
                    follows=(key.address, key.port) in reached,
                    bound=self.bound,
                    clock=self._clock,
                )
            else:
                known.connect_timeout = connect_timeout
        self._connections = connections
        return connections

    def retire(self, wanted: Mapping[ConnectionKey, float]) -> None:
        """Let go of connections that nothing wants any more; calls in progress on them finish."""
        gone = [connection for key, connection in self._connections.items() if key not in wanted]
        self._connections = {key: kept for key, kept in self._connections.items() if key in wanted}
        for connection in gone:
            connection.close(drain=True)

    def drain(self) -> list[ClientLink]:
        """No new calls on any; returns the links that still carry some. The pool is empty then."""
        connections, self._connections = self._connections, {}
        links = [link for connection in connections.values() for link in connection.sockets.values()]
        for connection in connections.values():
            connection.close(drain=True)
        return links

    def forget_links(self, why: str) -> None:
        """Every connection is dialled again when it is needed."""
        for connection in self._connections.values():
            links = connection.sockets.values()
            connection.inherit()
            for link in links:
                link.close(why)

    def inherit(self) -> None:
        """In the child of a fork: dial anew, when needed."""
        for connection in self._connections.values():
            connection.inherit()

    def close(self) -> None:
        """End every connection now."""
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close(drain=False)
