"""What protects a connection to an endpoint. A `Security` is a value: connections whose securities are equal are one.

Values name sources (the process's identity, files), not certificates, so a rotation closes no connection.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from rpc.security import context
from rpc.security.context import Sessions
from rpc.security.material import SecurityError
from xds_client.model import MeshSecret, NamedSecret

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientTls
    from xds_client import ObserverHandle
    from xds_client.identity import IdentitySource
    from xds_client.model import UpstreamTls

_log = logging.getLogger(f"proxyless.{__name__}")


@lru_cache(1024)
def _warn_of_anybody(host: str) -> None:
    """Once a host, not at each of its configurations."""
    _log.warning("%s: the mesh says insecureSkipVerify: nobody checks who answers there", host)


class Security(Protocol):
    """How to reach an endpoint over TLS. Hashable; equal values may share a connection."""

    @property
    def prepared(self) -> bool:
        """`context` needs no waiting."""

    def observe(self, callback: Callable[[], object]) -> ObserverHandle:
        """Call back, on any thread, when `context` may need no waiting any more; for one that is not `prepared`."""

    def context(self, timeout: float) -> ClientTls | None:
        """The engine's TLS for a connection made now. May wait ``timeout`` seconds; raises `SecurityError`."""

    def admit(self, connected: int) -> None:
        """Look at the socket, connected and unused; raises `SecurityError` where nothing may be sent over it."""

    def lapsed(self) -> str | None:
        """Why open connections must not be used any more: our certificate has expired."""


class Protection(Protocol):
    """One per channel: what the channel's configuration and its credentials together demand of an endpoint."""

    def of(self, tls: UpstreamTls | None, host: str) -> Security | None:
        """None: plaintext. ``tls``: what the mesh demands. Raises `SecurityError`: nothing may be sent there."""


@dataclass(frozen=True, slots=True)
class TlsSecurity:
    """TLS as `UpstreamTls` says it; ``identity``: the process's, where its certificate or its roots are asked for;
    ``as_grpc``: outside of the mesh, where a server is taken as grpcio takes it.
    """

    tls: UpstreamTls
    host: str
    identity: IdentitySource | None
    sessions: Sessions = field(default_factory=Sessions)
    as_grpc: bool = False

    @property
    def prepared(self) -> bool:
        return self.identity is None or self.identity.current is not None

    def observe(self, callback: Callable[[], object]) -> ObserverHandle:
        assert self.identity is not None
        return self.identity.observe(lambda _: callback())

    def context(self, timeout: float) -> ClientTls:
        if self.identity is not None and self.identity.current is None:
            try:
                self.identity.wait(timeout)
            except Exception as error:
                raise SecurityError(self.lapsed() or str(error)) from error
        current = self.identity.current if self.identity is not None else None
        return context.client(self.tls, self.host, current, self.sessions, as_grpc=self.as_grpc)

    def admit(self, connected: int) -> None:
        """The handshake tells."""

    def lapsed(self) -> str | None:
        if self.identity is None or self.identity.current is not None:
            return None
        return f"no valid certificate of our own, and nothing is sent without: {self.identity.error or 'none came yet'}"


@dataclass(frozen=True, slots=True)
class MeshProtection:
    """What the mesh says, endpoint by endpoint (auto-mTLS). ``identity`` None: the control plane gives us none."""

    identity: IdentitySource | None
    sessions: Sessions = field(default_factory=Sessions)

    def of(self, tls: UpstreamTls | None, host: str) -> Security | None:
        if tls is None:
            return None
        needs_identity = MeshSecret() in (tls.certificate, tls.roots)
        if needs_identity and self.identity is None:
            raise SecurityError(
                "must be called over mutual TLS, and this process has no identity, because its control plane is spoken "
                "to in plaintext; set PROXYLESS_SECURITY=tls and istiod's port 15012"
            )
        for secret in (tls.certificate, tls.roots):
            if isinstance(secret, NamedSecret):
                raise SecurityError(f"wants the secret {secret.name!r}, which this release does not fetch")
        if tls.roots is None:
            _warn_of_anybody(host)
        return TlsSecurity(tls, host, self.identity if needs_identity else None, self.sessions)
