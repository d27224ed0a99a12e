"""A name with all its addresses, for round robin.

With pick first the name itself is the one endpoint, which is looked up whenever it is dialled (`static`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.resolver.name import Name
from rpc.resolver.static import endpoints_config, written
from rpc.weakly import weakly
from xds_client.model import Endpoint, LbPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.model import TargetConfig, TargetMissing


class DnsResolution:
    """For ``pause`` and ``refresh_after`` see `Name`."""

    identity = None
    authority = None

    def __init__(self, host: str, port: int, pause: float, refresh_after: float | None = None) -> None:
        self._host, self._port = host, port
        self._on_config: Callable[[TargetConfig | TargetMissing], None] | None = None
        self._last: tuple[Endpoint, ...] = ()
        self._name = Name(host, port, pause, refresh_after, weakly(self._changed))

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        self._on_config = on_config
        self._name.refresh()

    def resume(self) -> None:
        self._name.resume()

    def refresh(self) -> None:
        """Something is wrong with an address. Any thread."""
        if self._on_config is not None:
            self._name.refresh()

    def waiting_for(self) -> str:
        return f"the addresses of {self._host}"

    def close(self) -> None:
        self._on_config = None
        self._name.close()

    def _changed(self) -> None:
        """One look-up follows the other, so this is never called twice at once."""
        # a name that never had an address is dialled, and fails by its name
        addresses = self._name.addresses or (self._host,)
        endpoints = tuple(Endpoint(address, self._port) for address in addresses)
        on_config = self._on_config
        if on_config is not None and endpoints != self._last:
            self._last = endpoints
            name = written(self._host, self._port)
            on_config(endpoints_config(name, endpoints, LbPolicy.ROUND_ROBIN, self._host, self._port))
