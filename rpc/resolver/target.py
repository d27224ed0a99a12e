"""Which resolver a target string means (grpc/doc/naming.md)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from rpc.resolver.dns import DnsResolution
from rpc.resolver.static import NowhereResolution, StaticResolution, written
from rpc.resolver.xds import XdsResolution
from xds_client.model import Endpoint, InvalidTargetError, LbPolicy, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client import PilotExchanger
    from xds_client.identity import IdentitySource
    from xds_client.model import TargetConfig, TargetMissing

_POLICIES = {"pick_first": LbPolicy.PICK_FIRST, "round_robin": LbPolicy.ROUND_ROBIN}
_MAX_PORT = 65535
_DEFAULT_PORT = "443"  # as gRPC's DNS resolver has it
_NAMED_PORTS = {"http": "80", "https": "443"}  # the two that it knows
_UNDERSTOOD = "dns:, ipv4:, ipv6:, unix:, unix-abstract: and xds: are understood"


class Resolution(Protocol):
    """Where a channel's configuration comes from. ``identity``: the process's in the mesh, on a mesh target."""

    @property
    def identity(self) -> IdentitySource | None: ...

    @property
    def authority(self) -> str | None:
        """What requests say as their authority; None: the target of the configuration."""

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        """Begin; ``on_config`` may be called at once, and from another thread later."""

    def resume(self) -> None:
        """Go on in the child of a fork; otherwise nothing. Cheap; any thread."""

    @property
    def refresh(self) -> Callable[[], None] | None:
        """A connection failed or was lost: what is known may be out of date. Cheap; any thread. None: it is not."""

    def waiting_for(self) -> str:
        """What is missing while there is no configuration yet, for messages."""

    def close(self) -> None:
        """End; ``on_config`` is not called afterwards."""


def parse(
    target: str,
    mesh: PilotExchanger | None,
    policy: str | None = None,
    dns_pause: float = 30.0,
    dns_refresh: float | None = None,
) -> Resolution:
    """``policy``: how endpoints are picked from, where the target has several; for the rest see `Name`.

    Raises `InvalidTargetError` that says what is understood.
    """
    if target == "":  # and not None, which is an AttributeError, as in grpcio
        return NowhereResolution()
    scheme, colon, rest = target.partition(":")
    if any(c < " " or c == "\x7f" for c in target):
        raise InvalidTargetError(f"{target!r}: no name has control characters")
    scheme = scheme.lower()
    if not colon or scheme not in {"xds", "dns", "ipv4", "ipv6", "unix", "unix-abstract"}:
        scheme, rest = "dns", target
    if scheme == "xds":
        return XdsResolution(Target.parse(target), mesh, dns_pause, dns_refresh)
    if scheme in {"unix", "unix-abstract"}:
        return _unix(target, scheme, unquote(rest))
    rest = _without_server(target, scheme, rest)
    lb_policy = _POLICIES.get(policy or "pick_first", LbPolicy.PICK_FIRST)
    if scheme == "dns":
        host, port = _host_and_port(target, unquote(rest), _DEFAULT_PORT)
        if lb_policy is LbPolicy.ROUND_ROBIN:
            return DnsResolution(host, port, dns_pause, dns_refresh)
        return StaticResolution(written(host, port), (Endpoint(host, port),), lb_policy, host, port)
    pairs = [_address(target, part, scheme) for part in unquote(rest).split(",") if part]
    if not pairs:
        raise InvalidTargetError(f"{target!r}: it has no address; write {scheme}:address:port")
    endpoints = tuple(Endpoint(host, port) for host, port in pairs)
    return StaticResolution(target, endpoints, lb_policy, *pairs[0])


def _without_server(target: str, scheme: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    server, slash, rest = rest[2:].partition("/")
    if server or not slash:
        raise InvalidTargetError(f"{target!r}: a name server of its own is not understood; write {scheme}:///…")
    return rest


def _unix(target: str, scheme: str, rest: str) -> Resolution:
    path = rest[2:] if rest.startswith("///") else rest
    if not path or path.startswith("//"):
        raise InvalidTargetError(f"{target!r}: a Unix domain target is written unix:path or unix:///absolute/path")
    return StaticResolution(
        target, (Endpoint(f"{scheme}:{path}", 0),), LbPolicy.PICK_FIRST, "localhost", 0, "localhost"
    )


def _address(target: str, text: str, scheme: str) -> tuple[str, int]:
    """No name: nothing is looked up for these schemes."""
    host, port = _host_and_port(target, text, None)
    try:
        IPv4Address(host) if scheme == "ipv4" else IPv6Address(host)
    except ValueError:
        raise InvalidTargetError(f"{target!r}: {host!r} is no address of {scheme}") from None
    return host, port


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and 0 < int(text) <= _MAX_PORT


def _host_and_port(target: str, text: str, default_port: str | None) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if default_port is not None:
        if not colon or text.endswith("]") or (":" in host and not text.startswith("[")):  # the last is of IPv6
            host, port = text, default_port
        port = _NAMED_PORTS.get(port, port or default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in host or not port.isascii() or not _is_port(port):
        raise InvalidTargetError(f"{target!r}: a target is written host:port, or xds:///host:port; {_UNDERSTOOD}")
    return host, int(port)
