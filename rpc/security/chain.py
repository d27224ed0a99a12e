"""What one filter chain of a port is to the engine, and what holds for the calls that come in by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpc._native import Rbac, ServerTls
    from rpc.authorization.decision import Authorize


@dataclass(frozen=True, slots=True)
class Policy:
    """Of the calls of one filter chain; the engine hands it back with each (`ServerCall.policy`)."""

    local: bool = False  # the peer is on this machine: plaintext is as good as TLS
    probes_only: bool = False
    authorize: Authorize | None = None  # asked for each call; None: whoever the chain lets in may call everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Chosen by what a connection's first bytes say (native/tls/src/chains.rs); the engine reads it by these names."""

    name: str
    server_names: Sequence[str] = ()  # exact, or *.suffix; empty: any
    transport: str = ""  # tls, raw_buffer, or empty for any
    protocols: Sequence[str] = ()  # what the client offers; empty: any
    tls: ServerTls | None = None  # how it answers; None: in plaintext
    refusal: str | None = None  # why nobody may use it
    lapse: str | None = None  # why nobody may come in by it for now; whoever is in may stay
    policy: Policy = Policy()
    admits: Rbac | None = None  # asked for each connection, without Python; None: all that fit

    @property
    def closed(self) -> str | None:
        """Why nobody is let in; None: somebody may be."""
        return self.refusal or self.lapse
