"""Which channels and servers this process has, numbered, for those who ask (`rpc.channelz`). It keeps none alive, and
what is closed or has stopped is none any more, whoever still holds it.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Protocol

from rpc._native import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import grpc

    from rpc._native import ClientTransport

number = itertools.count(1).__next__  # one C call: atomic under the GIL


class Connecting(Protocol):
    """What a subchannel tells; `rpc.transport.subchannel.Subchannel` says what each means."""

    @property
    def number(self) -> int: ...
    @property
    def key(self) -> object: ...
    @property
    def transport(self) -> ClientTransport | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def transports(self) -> Mapping[int, ClientTransport]: ...
    @property
    def dialling(self) -> bool: ...

    def tally(self) -> Tally: ...


class Calling(Protocol):
    """What a channel tells."""

    @property
    def target(self) -> str: ...
    @property
    def subchannels(self) -> Sequence[Connecting]: ...

    def connectivity(self) -> grpc.ChannelConnectivity: ...


class Serving(Protocol):
    """What a server tells."""

    def sockets(self) -> list[tuple[int, str, str, Tally]]:
        """Its connections; see the engine's `Reactor.sockets`."""

    def tally(self) -> Tally:
        """What all connections that it had have carried."""

    def listening(self) -> dict[int, str]:
        """Where it accepts, by number, as the engine writes addresses."""


channels: weakref.WeakValueDictionary[int, Calling] = weakref.WeakValueDictionary()
servers: weakref.WeakValueDictionary[int, Serving] = weakref.WeakValueDictionary()


def total(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, start=Tally())
