"""Targets that are written host and port (grpc/doc/naming.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.resolver.schemes import understood
from xds_client.model import InvalidTargetError

if TYPE_CHECKING:
    from rpc.resolver.resolver import ChannelTarget

_MAX_PORT = 65535
_NAMED_PORTS = {"http": "80", "https": "443"}  # the two that gRPC's DNS resolver knows


def written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_server(target: ChannelTarget) -> str:
    """What is behind the scheme. Raises `InvalidTargetError` where a name server is told, which nobody asks."""
    if not target.rest.startswith("//"):
        return target.rest
    server, slash, rest = target.rest[2:].partition("/")
    if server or not slash:
        raise InvalidTargetError(
            f"{target.text!r}: a name server of its own is not understood; write {target.scheme}:///…"
        )
    return rest


def host_and_port(target: ChannelTarget, text: str, default_port: str | None) -> tuple[str, int]:
    """Raises `InvalidTargetError` that says what is understood."""
    host, colon, port = text.rpartition(":")
    if default_port is not None:
        if not colon or text.endswith("]") or (":" in host and not text.startswith("[")):  # the last is of IPv6
            host, port = text, default_port
        port = _NAMED_PORTS.get(port, port or default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in host or not port.isascii() or not _is_port(port):
        raise InvalidTargetError(f"{target.text!r}: a target is written host:port, or xds:///host:port; {understood()}")
    return host, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and 0 < int(text) <= _MAX_PORT
