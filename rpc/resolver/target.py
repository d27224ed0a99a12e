"""Which resolver a target string means (grpc/doc/naming.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.resolver import dns, static, xds
from rpc.resolver.resolver import ChannelTarget
from rpc.resolver.schemes import register, resolver_of
from xds_client.model import InvalidTargetError

if TYPE_CHECKING:
    from rpc.resolver.resolver import Resolver
    from xds_client import PilotExchanger

_DEFAULT = "dns"
register("xds", xds.resolver)
register("dns", dns.resolver)
register("ipv4", static.addresses)
register("ipv6", static.addresses)
register("unix", static.unix)
register("unix-abstract", static.unix)


def parse(
    text: str,
    mesh: PilotExchanger | None,
    policy: str | None = None,
    dns_pause: float = 30.0,
    dns_refresh: float | None = None,
) -> Resolver:
    """What was registered for the target's scheme, and for those of none what ``dns:`` means.

    Raises `InvalidTargetError` that says what is understood.
    """
    if text == "":  # and not None, which is an AttributeError, as in grpcio
        return static.nowhere()
    scheme, colon, rest = text.partition(":")
    if any(c < " " or c == "\x7f" for c in text):
        raise InvalidTargetError(f"{text!r}: no name has control characters")
    if colon:
        found = resolver_of(ChannelTarget(text, scheme.lower(), rest, mesh, policy, dns_pause, dns_refresh))
        if found is not None:
            return found
    resolver = resolver_of(ChannelTarget(text, _DEFAULT, text, mesh, policy, dns_pause, dns_refresh))
    assert resolver is not None
    return resolver
