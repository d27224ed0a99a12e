"""What the exchanger says about itself, to people and to the admin page. Frozen values, safe on any thread."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xds_client.errors import DecodeError
    from xds_client.identity import IdentityStatus
    from xds_client.model import InboundMissing, Listener
    from xds_client.resource_type import ResourceType


class Phase(Enum):
    """Where the stream to the control plane is between two attempts.

    >>> rpc.mesh().status().connection.phase
    <Phase.CONNECTED: 'connected'>
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"  # the control plane has answered on this stream
    WAITING = "waiting"  # for the next attempt
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """How the stream to the control plane stands.

    ``retry_at`` is on the monotonic clock; ``streams`` counts the attempts so far, ``attempts`` those since the last
    one that was answered.

    >>> connection = rpc.mesh().status().connection
    >>> connection.phase, connection.last_error
    (<Phase.CONNECTED: 'connected'>, '')
    """

    phase: Phase
    streams: int = 0
    last_error: str = ""
    retry_at: float | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """How an exchanger stands; `proxyless status` prints it.

    ``wanted``: what is subscribed to (``*`` is all); ``known``: how many of it arrived.

    ``rejected``: what is malformed now; its last good form, if there was one, stays in use. ``retry_in``: seconds until
    the next attempt, while waiting for one. ``inbound``: what servers go by, or why they have nothing to go by; None
    while no server asks or istiod has not answered yet. ``left_out``: what routes and clusters of
    observed targets ask for and this release does not carry out.

    >>> status = rpc.mesh().status()
    >>> status.connected, status.left_out, status.rejected
    (True, (), ())
    """

    node_id: str
    address: str
    connection: ConnectionStatus
    wanted: Mapping[ResourceType, frozenset[str]]
    known: Mapping[ResourceType, int]
    missing: Mapping[ResourceType, Mapping[str, str]]
    rejected: tuple[DecodeError, ...]
    retry_in: float | None = None
    inbound: Listener | InboundMissing | None = None
    left_out: tuple[str, ...] = ()
    identity: IdentityStatus | None = None  # None: there is no source of identities, or it is not the exchanger's own

    @property
    def connected(self) -> bool:
        return self.connection.phase is Phase.CONNECTED

    @property
    def ready(self) -> bool:
        """Connected, and with a certificate if there is to be one."""
        return self.connected and (self.identity is None or (self.identity.expires_in or 0) > 0)
