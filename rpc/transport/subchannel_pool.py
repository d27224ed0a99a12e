"""The subchannels of one channel, by key. Reconciled with each configuration: equal keys keep their subchannel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rpc.transport.subchannel import Subchannel, SubchannelKey
from xds_client.backoff import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rpc._native import ClientTransport


class SubchannelPool:
    """``on_change`` is told when a subchannel's state changes, ``on_missed`` when one failed or was lost.

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
        self.bound = 1  # transports of one subchannel; before the first `reconcile`, as what follows
        self.backoff = USUAL
        self._subchannels: dict[SubchannelKey, Subchannel] = {}

    @property
    def subchannels(self) -> tuple[Subchannel, ...]:
        return tuple(self._subchannels.values())

    def reconcile(self, wanted: Mapping[SubchannelKey, float]) -> Mapping[SubchannelKey, Subchannel]:
        """Keep what is still wanted (key → connect time-out in seconds), add what is new.

        What is gone is not closed here: the snapshot that calls work from still names it. See `retire`.
        """
        subchannels = dict(self._subchannels)
        reached = {(key.address, key.port) for key, known in subchannels.items() if known.transport is not None}
        for key, connect_timeout in wanted.items():
            known = subchannels.get(key)
            if known is None:
                subchannels[key] = Subchannel(
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
        self._subchannels = subchannels
        return subchannels

    def retire(self, wanted: Mapping[SubchannelKey, float]) -> None:
        """Let go of subchannels that nothing wants any more; calls in progress on them finish."""
        gone = [subchannel for key, subchannel in self._subchannels.items() if key not in wanted]
        self._subchannels = {key: kept for key, kept in self._subchannels.items() if key in wanted}
        for subchannel in gone:
            subchannel.close(drain=True)

    def drain(self) -> list[ClientTransport]:
        """No new calls on any; returns the transports that still carry some. The pool is empty then."""
        subchannels, self._subchannels = self._subchannels, {}
        transports = [transport for subchannel in subchannels.values() for transport in subchannel.transports.values()]
        for subchannel in subchannels.values():
            subchannel.close(drain=True)
        return transports

    def forget_transports(self, why: str) -> None:
        """Every subchannel is dialled again when it is needed."""
        for subchannel in self._subchannels.values():
            transports = subchannel.transports.values()
            subchannel.inherit()
            for transport in transports:
                transport.close(why)

    def inherit(self) -> None:
        """In the child of a fork: dial anew, when needed."""
        for subchannel in self._subchannels.values():
            subchannel.inherit()

    def close(self) -> None:
        """End every subchannel now."""
        subchannels, self._subchannels = self._subchannels, {}
        for subchannel in subchannels.values():
            subchannel.close(drain=False)
