"""What is asked of a resolver, and what it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.resolver.values import Told
    from xds_client import PilotExchanger
    from xds_client.identity import IdentitySource


@dataclass(frozen=True, slots=True)
class ChannelTarget:
    """What a channel was made for: the target as ``text``, and what its options say of resolving.

    ``policy``: the balancing policy that the program asks for (grpc.lb_policy_name), or None. ``dns_pause``: seconds
    between two look-ups of a name at least; ``dns_refresh``: after so many it is looked up again.

    >>> target = ChannelTarget("toy:///cart", "toy", "///cart")
    >>> target.endpoint
    'cart'
    """

    text: str
    scheme: str
    rest: str  # behind the scheme and its colon
    mesh: PilotExchanger | None = None
    policy: str | None = None
    dns_pause: float = 30.0
    dns_refresh: float | None = None

    @property
    def server(self) -> str:
        """``toy://server/endpoint``: the server; empty: none is named."""
        return self.rest[2:].partition("/")[0] if self.rest.startswith("//") else ""

    @property
    def endpoint(self) -> str:
        """``toy://server/endpoint``, ``toy:endpoint``: the endpoint (grpc/doc/naming.md)."""
        return self.rest[2:].partition("/")[2] if self.rest.startswith("//") else self.rest


class Resolver(ABC):
    """Where one channel's endpoints and routes come from. Inherit from it: what is not needed has a sensible default.

    A channel starts its resolver once and closes it. Whatever a resolver raises is logged with its scheme and costs the
    channel nothing that it has: what was last told and good stays.

    >>> class Toy(Resolver):
    ...     def start(self, observer):
    ...         observer(Resolved((Pool("all", (Endpoint("127.0.0.1", 50051),)),)))
    ...     def close(self): ...
    >>> with rpc.insecure_channel("greeter", resolver=Toy()) as channel:
    ...     stub = GreeterStub(channel)
    """

    identity: IdentitySource | None = None  # the process's in a mesh, for pools that demand mutual TLS
    proxied: bool = True  # connections may go through the environment's HTTP proxy

    @abstractmethod
    def start(self, observer: Callable[[Told], None]) -> None:
        """Begin; ``observer`` is told everything anew whenever something changed, at once or later, on any thread."""

    @abstractmethod
    def close(self) -> None:
        """End; any thread. The observer may still be called, and does nothing then."""

    def resume(self) -> None:  # noqa: B027 - most have nothing to do
        """Before calls wait or dial: go on in the child of a fork, where threads are gone; otherwise nothing. Cheap."""

    def refresh(self) -> None:  # noqa: B027 - idem
        """A connection failed or was lost: what was told may be out of date. Cheap; any thread."""

    def waiting_for(self) -> str:
        """What is missing while nothing was told yet, for messages."""
        return "its resolver has told nothing yet"
