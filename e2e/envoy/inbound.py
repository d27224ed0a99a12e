"""What a virtualInbound listener means for one port: its filter chains in few words, and the mTLS mode they make.

Read from JSON as Envoy dumps it; no decoder of ours takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    transport: str  # tls, raw_buffer, or "" for any
    alpn: tuple[str, ...]  # what a client must have offered one of; empty for any
    http: bool  # an HTTP connection manager; else bytes are passed on
    mutual: bool  # TLS ends here and asks for a client certificate


def chains(listener: dict[str, Any], port: int) -> list[Chain]:
    """The chains for this destination port, or those of the catch-all when no chain names it."""
    found = [(one.get("filter_chain_match", {}), one) for one in listener["filter_chains"]]
    named = [one for match, one in found if match.get("destination_port") == port]
    return [_chain(one) for one in named or [one for match, one in found if "destination_port" not in match]]


def mode(found: list[Chain]) -> str:
    """The mode of PeerAuthentication that these chains carry out: STRICT, PERMISSIVE or DISABLE."""
    mutual = any(chain.mutual for chain in found)
    plaintext = any(chain.transport in ("raw_buffer", "") and not chain.mutual for chain in found)
    if mutual:
        return "PERMISSIVE" if plaintext else "STRICT"
    return "DISABLE" if plaintext else "NONE"


def _chain(said: dict[str, Any]) -> Chain:
    match, tls = said.get("filter_chain_match", {}), said.get("transport_socket", {}).get("typed_config", {})
    return Chain(
        name=said.get("name", ""),
        transport=match.get("transport_protocol", ""),
        alpn=tuple(match.get("application_protocols", ())),
        http=any("http_connection_manager" in one["name"] for one in said.get("filters", [])),
        mutual=bool(tls.get("require_client_certificate")),
    )
