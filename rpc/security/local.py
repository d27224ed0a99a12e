"""Credentials without TLS: peers on this machine, whom the kernel vouches for, and none at all.

Local connections are plaintext, and good enough for call credentials; both ends see to it that nobody else can be at
the other one, as grpc/src/core/credentials/transport/local does.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpc import LocalConnectionType

from rpc.security.chain import Chain, Policy
from rpc.security.material import SecurityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.security.context import Sessions
    from rpc.security.credentials import ChannelCredentials
    from rpc.security.inbound import Following, SecuredPort, ServerCredentials
    from rpc.security.outbound import Protection, Security
    from xds_client import ObserverHandle
    from xds_client.identity import IdentitySource
    from xds_client.model import UpstreamTls


def is_local(kind: LocalConnectionType, own: socket.socket) -> bool:
    """A Unix domain, or a loopback address of our own: nobody on another machine is at the other end."""
    if own.family == socket.AF_UNIX:
        return kind is LocalConnectionType.UDS
    address = ipaddress.ip_address(own.getsockname()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)  # a listener for both families
    return kind is LocalConnectionType.LOCAL_TCP and (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class LocalSecurity:
    """A `Security` whose connections are plaintext."""

    kind: LocalConnectionType

    @property
    def prepared(self) -> bool:
        return True

    def observe(self, callback: Callable[[], object]) -> ObserverHandle:
        raise NotImplementedError  # nobody waits for what is prepared

    def context(self, timeout: float) -> None:
        """No TLS."""

    def admit(self, connected: int) -> None:
        """Raises `SecurityError` for a connection (a descriptor) that is not local."""
        with socket.socket(fileno=connected) as own:
            try:
                local = is_local(self.kind, own)
            finally:
                own.detach()
        if not local:
            raise SecurityError("Endpoint is neither UDS or TCP loopback address.")  # grpcio's words

    def lapsed(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class _LocalChannelCredentials:
    kind: LocalConnectionType
    scheme: str = "http"

    def protection(self, identity: IdentitySource | None, target_name: str | None, sessions: Sessions) -> Protection:
        del identity, target_name, sessions
        return self

    def of(self, tls: UpstreamTls | None, host: str) -> Security:
        """Whatever a mesh would demand: the caller has said how."""
        del tls, host
        return LocalSecurity(self.kind)


def local_channel_credentials(
    local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP,
) -> ChannelCredentials:
    """`grpc.local_channel_credentials`: a server by loopback, or by a Unix domain; others are refused.

    >>> channel = rpc.secure_channel("127.0.0.1:50051", rpc.local_channel_credentials())
    >>> channel.close()
    """
    return _LocalChannelCredentials(LocalConnectionType(local_connect_type))


@dataclass(frozen=True, slots=True)
class _PlainServerCredentials:
    """Who may call without TLS. ``kind`` None: anybody."""

    kind: LocalConnectionType | None

    def follow(self, secured_port: SecuredPort) -> Following:
        secured_port.set([Chain(name="plaintext", transport="raw_buffer", policy=Policy(local=self.kind is not None))])
        return self

    def check(self, listener: socket.socket) -> None:
        """Raises `SecurityError` where others than local peers could connect."""
        if self.kind is not None and not is_local(self.kind, listener):
            raise SecurityError(
                f"local credentials ({self.kind.name}) need a Unix domain or a loopback address to listen on"
            )

    def close(self) -> None:
        """Nothing is followed."""


def local_server_credentials(
    local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP,
) -> ServerCredentials:
    """`grpc.local_server_credentials`, for a port that only this machine reaches: else adding it is a RuntimeError.

    >>> port = rpc.server(None).add_secure_port("127.0.0.1:0", rpc.local_server_credentials())
    """
    return _PlainServerCredentials(LocalConnectionType(local_connect_type))


def insecure_server_credentials() -> ServerCredentials:
    """`grpc.insecure_server_credentials`: `add_secure_port` with them is `add_insecure_port`.

    >>> port = rpc.server(None).add_secure_port("127.0.0.1:0", rpc.insecure_server_credentials())
    """
    return _PlainServerCredentials(None)
