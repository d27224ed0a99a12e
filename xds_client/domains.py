"""Which virtual host serves a host name: Envoy's rule as a pure function (route_components.proto, VirtualHost.domains).

Exact beats suffix (``*.example.org``) beats prefix (``example.*``) beats ``*``; within one kind the longest wins.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model import RouteConfiguration, VirtualHost


class _Kind(IntEnum):
    ANY = 1
    PREFIX = 2
    SUFFIX = 3
    EXACT = 4


def virtual_host_for(host: str, port: int, table: RouteConfiguration) -> VirtualHost | None:
    """The virtual host for the authority ``host:port``; of equal ones the first."""
    authority = host if table.ignore_port_in_host_matching else f"{host}:{port}"
    best: tuple[_Kind, int] | None = None
    chosen = None
    for virtual_host in table.virtual_hosts:
        for domain in virtual_host.domains:
            rank = _rank(domain.lower(), authority.lower())
            if rank is not None and (best is None or rank > best):
                best, chosen = rank, virtual_host
    return chosen


def _rank(domain: str, authority: str) -> tuple[_Kind, int] | None:
    """How well a domain matches, or None. A wildcard stands for at least one character."""
    if domain == "*":
        return _Kind.ANY, 0
    if domain == authority:
        return _Kind.EXACT, len(domain)
    if len(domain) > len(authority):
        return None
    if domain.startswith("*") and authority.endswith(domain[1:]):
        return _Kind.SUFFIX, len(domain)
    if domain.endswith("*") and authority.startswith(domain[:-1]):
        return _Kind.PREFIX, len(domain)
    return None
