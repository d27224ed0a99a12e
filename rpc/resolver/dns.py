"""``dns:`` and plain ``host:port``: a name with all its addresses, for every policy but pick first.

With pick first the name itself is the one endpoint, which is looked up whenever it is dialled (`static`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from rpc.resolver.addressed import host_and_port, without_server, written
from rpc.resolver.name import Name
from rpc.resolver.policy import chosen
from rpc.resolver.resolver import Resolver
from rpc.resolver.static import StaticResolver, one_pool
from rpc.weakly import weakly
from xds_client.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.resolver.resolver import ChannelTarget
    from rpc.resolver.values import Told

_DEFAULT_PORT = "443"  # as gRPC's DNS resolver has it


def resolver(target: ChannelTarget) -> Resolver:
    """Raises `InvalidTargetError`."""
    host, port = host_and_port(target, unquote(without_server(target)), _DEFAULT_PORT)
    policy = chosen(target.policy)
    if policy == "pick_first":
        return StaticResolver(one_pool(written(host, port), (Endpoint(host, port),), policy, host, port))
    return DnsResolver(host, port, target.dns_pause, target.dns_refresh, policy)


class DnsResolver(Resolver):
    """For ``pause`` and ``refresh_after`` see `Name`."""

    def __init__(
        self, host: str, port: int, pause: float, refresh_after: float | None = None, policy: str = "round_robin"
    ) -> None:
        self._host, self._port, self._policy = host, port, policy
        self._observer: Callable[[Told], None] | None = None
        self._last: tuple[Endpoint, ...] = ()
        self._name = Name(host, port, pause, refresh_after, weakly(self._changed))

    def start(self, observer: Callable[[Told], None]) -> None:
        self._observer = observer
        self._name.refresh()

    def resume(self) -> None:
        self._name.resume()

    def refresh(self) -> None:
        """Something is wrong with an address. Any thread."""
        if self._observer is not None:
            self._name.refresh()

    def waiting_for(self) -> str:
        return f"the addresses of {self._host}"

    def close(self) -> None:
        self._observer = None
        self._name.close()

    def _changed(self) -> None:
        """One look-up follows the other, so this is never called twice at once."""
        # a name that never had an address is dialled, and fails by its name
        addresses = self._name.addresses or (self._host,)
        endpoints = tuple(Endpoint(address, self._port) for address in addresses)
        observer = self._observer
        if observer is not None and endpoints != self._last:
            self._last = endpoints
            observer(one_pool(written(self._host, self._port), endpoints, self._policy, self._host, self._port))
