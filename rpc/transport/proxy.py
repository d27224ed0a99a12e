"""HTTP CONNECT proxies from the environment, by gRPC's rules (grpc/doc/environment_variables.md; gRFC A1)."""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpc.transport.subchannel import SubchannelKey

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
HEAD_LIMIT = 16 * 1024  # bytes of a proxy's answer
_DEFAULT_PORT = 80


class ProxyError(OSError):
    """The proxy did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """``authorization``: what the Proxy-Authorization header says, where the URL has a user."""

    host: str
    port: int
    authorization: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def request(self, key: SubchannelKey) -> bytes:
        lines = [f"CONNECT {key} HTTP/1.1", f"Host: {key}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode()

    def accepted(self, head: bytes) -> bool:
        """The answer is whole, and a yes; False: more is to come. Raises `ProxyError`."""
        if not head.endswith((b"\n\r\n", b"\n\n")):
            return False
        status = head.splitlines()[0].decode("latin-1")
        if not status.startswith(("HTTP/1.1 2", "HTTP/1.0 2")):
            raise ProxyError(f"the HTTP proxy {self} answered {status!r}")
        return True


def proxy_for(host: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """What connections to this host go through; None: nothing. An unreadable URL counts as none, as in grpcio, and so
    does an empty one, whatever the next variable says.
    """
    environment = os.environ if environment is None else environment
    url = next((environment[name] for name in _PROXIES if name in environment), None)
    if not url:
        return None
    exceptions = next((environment[name] for name in _EXCEPTIONS if name in environment), "")
    if any(_excepted(host, entry.strip()) for entry in exceptions.split(",") if entry.strip()):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname:
        return None
    authorization = None
    if parts.username is not None:
        user = unquote(parts.username if parts.password is None else f"{parts.username}:{parts.password}")
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(parts.hostname, port, authorization)


def _excepted(host: str, entry: str) -> bool:
    """A name and what is below it, an address, or a range of addresses."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return f".{host}".lower().endswith(f".{entry.removeprefix('.')}".lower())
