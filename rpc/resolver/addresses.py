"""Between the exchanger and `Newest`: clusters whose endpoints are names get the addresses of these, as they change.

STRICT_DNS, where each address is an endpoint, and ORIGINAL_DST, where the program's own look-up says where to go
(`xds_client.dialled`). The one name of LOGICAL_DNS is looked up whenever it is dialled.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from rpc.address import is_ip
from rpc.fork import generation
from rpc.resolver.name import Name
from rpc.weakly import weakly
from xds_client.model import ClusterConfig, DiscoveryType, TargetConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xds_client.model import Endpoint, LocalityEndpoints, TargetMissing

    Told = TargetConfig | TargetMissing

_log = logging.getLogger(f"proxyless.{__name__}")

_BY_NAME = frozenset({DiscoveryType.STRICT_DNS, DiscoveryType.ORIGINAL_DST})
_NEXT_STEP = {
    DiscoveryType.STRICT_DNS: "check the endpoints of its ServiceEntry, and the DNS of this pod",
    DiscoveryType.ORIGINAL_DST: (
        "the mesh leaves it to DNS where this goes, as behind a sidecar; a headless Service has addresses while it has "
        "ready pods (kubectl get endpointslices)"
    ),
}


class Addresses:
    """A configuration waits until each of its names was looked up once; until then the one before is used.

    ``on_told`` is called by one thread at a time. For ``pause`` and ``refresh_after`` see `Name`.
    """

    def __init__(self, on_told: Callable[[Told], None], pause: float, refresh_after: float) -> None:
        self._on_told = on_told
        self._pause, self._refresh_after = pause, refresh_after
        self._lock = threading.Lock()
        self._told: Told | None = None
        self._names: dict[str, Name] = {}
        self._warned = ""
        self._untold = self._telling = False  # something changed; somebody is at telling it
        self._generation = generation()

    def put(self, told: Told) -> None:
        """What the control plane says. On the exchanger's thread."""
        wanted = frozenset(_names(told))
        self._warn(told)
        with self._lock:
            gone = [self._names.pop(host) for host in self._names.keys() - wanted]
            new = {host: self._name(host) for host in wanted - self._names.keys()}
            self._names |= new
            self._told = told
        for name in gone:
            name.close()
        for name in new.values():
            name.refresh()
        self._tell()

    def refresh(self) -> None:
        """A connection failed or was lost."""
        for name in tuple(self._names.values()):
            name.refresh()

    def resume(self) -> None:
        """In the child of a fork: whoever held the lock is not here."""
        if self._generation != generation():
            self._generation, self._lock, self._telling = generation(), threading.Lock(), False
            for name in tuple(self._names.values()):
                name.resume()

    def waiting_for(self) -> str | None:
        """Names without which the configuration that came is not whole."""
        unasked = sorted(name.host for name in tuple(self._names.values()) if not name.asked)
        return f"the addresses of {', '.join(unasked)}" if unasked else None

    def close(self) -> None:
        for name in tuple(self._names.values()):
            name.close()

    def _warn(self, told: Told) -> None:
        """In plaintext, and to nobody that the mesh vouches for: that is told once. An egressProxy is of the mesh."""
        by_name = isinstance(told, TargetConfig) and any(map(_localities_by_name, told.clusters))
        why = told.past_the_mesh if isinstance(told, TargetConfig) and by_name else ""
        if why and why != self._warned:
            _log.warning("%s is called past the mesh, as ALLOW_ANY has it, in plaintext: %s", told.target, why)
        self._warned = why

    def _name(self, host: str) -> Name:
        return Name(host, 0, self._pause, self._refresh_after, weakly(self._tell))

    def _tell(self) -> None:
        """What is known by now, once it is whole. Outside the lock; who comes meanwhile leaves it to who is at it."""
        with self._lock:
            self._untold = True
            if self._telling:
                return
            self._telling = True
        try:
            while (told := self._whole()) is not None:
                self._on_told(told)
        except BaseException:
            self._telling = False
            raise

    def _whole(self) -> Told | None:
        """What was not told yet, with addresses; None: there is nothing, and this is whose turn ends."""
        with self._lock:
            untold, self._untold = self._untold, False
            waits = any(not name.asked for name in self._names.values())
            if not untold or self._told is None or waits:
                self._telling = False
                return None
            return _with_addresses(self._told, self._names) if self._names else self._told


def _names(told: Told) -> Iterator[str]:
    for config in told.clusters if isinstance(told, TargetConfig) else ():
        for locality in _localities_by_name(config):
            yield from (endpoint.address for endpoint in locality.endpoints if not is_ip(endpoint.address))


def _localities_by_name(config: ClusterConfig) -> tuple[LocalityEndpoints, ...]:
    if config.cluster is None or config.endpoints is None or config.cluster.discovery not in _BY_NAME:
        return ()
    return config.endpoints.localities


def _with_addresses(told: Told, names: dict[str, Name]) -> Told:
    if not isinstance(told, TargetConfig):
        return told
    past = told.past_the_mesh
    return replace(told, clusters=tuple(_resolved(config, names, past) for config in told.clusters))


def _resolved(config: ClusterConfig, names: dict[str, Name], past_the_mesh: str) -> ClusterConfig:
    localities = _localities_by_name(config)
    if not localities:
        return config
    assert config.cluster is not None
    assert config.endpoints is not None
    found = tuple(replace(locality, endpoints=tuple(_each(locality.endpoints, names))) for locality in localities)
    if any(locality.endpoints for locality in found):
        return replace(config, endpoints=replace(config.endpoints, localities=found))
    reasons = sorted({f"{one.address!r} is not resolved: {names[one.address].error}" for one in _endpoints(localities)})
    why = f"cluster {config.name}: {'; '.join(reasons)}; {past_the_mesh or _NEXT_STEP[config.cluster.discovery]}"
    return ClusterConfig(config.name, None, None, why)


def _endpoints(localities: tuple[LocalityEndpoints, ...]) -> Iterator[Endpoint]:
    for locality in localities:
        yield from locality.endpoints


def _each(endpoints: tuple[Endpoint, ...], names: dict[str, Name]) -> Iterator[Endpoint]:
    """An endpoint for each address; one that has several shares is as likely as its weight says for each, as Envoy."""
    for endpoint in endpoints:
        name = names.get(endpoint.address)
        if name is None:
            yield endpoint
        else:
            yield from (replace(endpoint, address=address) for address in name.addresses)
