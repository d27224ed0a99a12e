"""Targets as written: their endpoints, and no mesh. ``ipv4:``, ``ipv6:``, ``unix:`` and ``unix-abstract:``."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rpc.resolver.addressed import host_and_port, without_server, written
from rpc.resolver.policy import chosen
from rpc.resolver.resolver import Resolver
from rpc.resolver.values import Pool, Resolved, Unresolved
from xds_client.model import Endpoint, InvalidTargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc.resolver.resolver import ChannelTarget
    from rpc.resolver.values import Told


class StaticResolver(Resolver):
    """Says one thing, at once and for good. Names are resolved when dialling."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def start(self, observer: Callable[[Told], None]) -> None:
        observer(self._told)

    def close(self) -> None:
        """There is nothing to end."""


def nowhere() -> StaticResolver:
    """A target that says nothing: calls fail, and not the making of the channel, as in grpcio.

    Clients that are generated make channels for no target, and throw them away.
    """
    return StaticResolver(Unresolved("the channel's target is empty; it is written host:port"))


def one_pool(name: str, endpoints: Sequence[Endpoint], policy: str, host: str, port: int) -> Resolved:
    """All calls go to these endpoints; ``name`` as messages say it, ``host:port`` is who is meant to answer."""
    return Resolved((Pool(name, tuple(endpoints), policy),), authority=written(host, port), host=host)


def addresses(target: ChannelTarget) -> StaticResolver:
    """``ipv4:address:port,…`` and ``ipv6:[address]:port,…``."""
    rest = without_server(target)
    pairs = [_address(target, part) for part in unquote(rest).split(",") if part]
    if not pairs:
        raise InvalidTargetError(f"{target.text!r}: it has no address; write {target.scheme}:address:port")
    endpoints = [Endpoint(host, port) for host, port in pairs]
    return StaticResolver(one_pool(target.text, endpoints, chosen(target.policy), *pairs[0]))


def unix(target: ChannelTarget) -> StaticResolver:
    """``unix:path``, ``unix:///absolute/path`` and ``unix-abstract:name``."""
    rest = unquote(target.rest)
    path = rest[2:] if rest.startswith("///") else rest
    if not path or path.startswith("//"):
        raise InvalidTargetError(f"{target.text!r}: a Unix domain target is written unix:path or unix:///absolute/path")
    pool = Pool(target.text, (Endpoint(f"{target.scheme}:{path}", 0),), "pick_first")
    return StaticResolver(Resolved((pool,), authority="localhost"))


def _address(target: ChannelTarget, text: str) -> tuple[str, int]:
    """No name: nothing is looked up for these schemes."""
    host, port = host_and_port(target, text, None)
    try:
        IPv4Address(host) if target.scheme == "ipv4" else IPv6Address(host)
    except ValueError:
        raise InvalidTargetError(f"{target.text!r}: {host!r} is no address of {target.scheme}") from None
    return host, port
