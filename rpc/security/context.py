"""From values (what the configuration demands, what the files and the identity hold) to the engine's TLS.

Cached by value: a rotated certificate is another one. A client's contexts hold its resumption tickets, which no other
channel is to show: each channel has contexts of its own, or those of its `grpc.ssl_session_cache`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from rpc._native import ClientTls, ServerTls
from rpc.fork import abandon, inherits
from rpc.security import material
from rpc.security.material import SecurityError
from xds_client.model import MeshSecret

if TYPE_CHECKING:
    from rpc._native import NameRule
    from xds_client.identity import Identity
    from xds_client.model import DownstreamTls, StringMatch, UpstreamTls

HTTP2 = ("h2",)
# What a real sidecar offers to HTTP/2 upstreams of the mesh, whatever the cluster lists (istio.io/istio
# pilot/pkg/networking/core/httproute: the istio.alpn filter). Without it a PERMISSIVE peer takes us for plain TCP.
MESH_HTTP2 = ("istio-h2", "istio", "h2")
_MESH_MARK = "istio"

_CONTEXTS = 256


class Sessions:
    """Whose connections resume each other's TLS sessions, where they are of one kind: one channel's, mostly."""

    def __init__(self) -> None:
        self.made = lru_cache(_CONTEXTS)(_client)
        inherits(self)

    def inherit(self) -> None:
        """Tickets are shared under locks of their own, whose holders may be threads that the child does not have."""
        abandon(self.made)
        self.made = lru_cache(_CONTEXTS)(_client)


@lru_cache(_CONTEXTS)
def sessions_of(cache: object) -> Sessions:
    """Of all channels that name this one as their `grpc.ssl_session_cache`."""
    del cache  # grpcio's own; it is only who it is, and what it can hold lies in C
    return Sessions()


def client(
    tls: UpstreamTls, host: str, identity: Identity | None, sessions: Sessions, *, as_grpc: bool = False
) -> ClientTls:
    """``host`` is the call's authority without its port; ``as_grpc``: the server is taken by grpcio's rules, which are
    for outside of the mesh. Raises `SecurityError`.
    """
    chain, key = material.certificate(tls.certificate, identity)
    roots = material.roots(tls.roots, identity)
    of_mesh = isinstance(tls.roots, MeshSecret)
    sni = host if tls.auto_sni else tls.sni
    # Without any name to look for, Envoy takes whatever the roots vouch for. We look for the host then: any other
    # site's certificate is good enough otherwise (docs/security.md).
    demanded = host if tls.auto_san_validation else None if of_mesh or tls.subject_alt_names else sni or host
    return sessions.made(
        roots,
        chain,
        key,
        sni,
        MESH_HTTP2 if _MESH_MARK in tls.alpn else HTTP2,
        identity.trust_domains if of_mesh and identity is not None else None,
        demanded,
        _rules(tls.subject_alt_names),
        _versions(tls),
        as_grpc,
    )


def server(tls: DownstreamTls, identity: Identity | None, *, as_grpc: bool = False) -> ServerTls:
    """``as_grpc``: as for `client`. Raises `SecurityError`."""
    chain, key = material.certificate(tls.certificate, identity)
    assert chain is not None
    assert key is not None
    of_mesh = isinstance(tls.roots, MeshSecret)
    return _server(
        chain,
        key,
        HTTP2,
        material.roots(tls.roots, identity),
        tls.require_client_certificate,
        identity.trust_domains if of_mesh and identity is not None else None,
        _rules(tls.subject_alt_names),
        _versions(tls),
        as_grpc,
    )


def _client(
    roots: bytes | None,
    chain: bytes | None,
    key: bytes | None,
    sni: str,
    alpn: tuple[str, ...],
    trust_domains: tuple[str, ...] | None,
    host: str | None,
    names: tuple[NameRule, ...],
    versions: tuple[str, ...],
    as_grpc: bool,
) -> ClientTls:
    try:
        return ClientTls(
            roots=roots,
            chain=chain,
            key=key,
            sni=sni,
            alpn=alpn,
            trust_domains=trust_domains,
            host=host,
            names=names,
            versions=versions,
            as_grpc=as_grpc,
        )
    except ValueError as error:
        raise SecurityError(f"TLS to {sni or host}: {error}") from error


@lru_cache(_CONTEXTS)
def _server(
    chain: bytes,
    key: bytes,
    alpn: tuple[str, ...],
    roots: bytes | None,
    require_client: bool,
    trust_domains: tuple[str, ...] | None,
    names: tuple[NameRule, ...],
    versions: tuple[str, ...],
    as_grpc: bool,
) -> ServerTls:
    try:
        return ServerTls(
            chain=chain,
            key=key,
            alpn=alpn,
            roots=roots,
            require_client=require_client,
            trust_domains=trust_domains,
            names=names,
            versions=versions,
            as_grpc=as_grpc,
        )
    except ValueError as error:
        raise SecurityError(f"TLS of a server: {error}") from error


def _in_child() -> None:
    """As `Sessions.inherit`."""
    global _server  # noqa: PLW0603 - one cache per process
    abandon(_server)
    _server = lru_cache(_CONTEXTS)(_server.__wrapped__)


os.register_at_fork(after_in_child=_in_child)


def _rules(matches: tuple[StringMatch, ...]) -> tuple[NameRule, ...]:
    return tuple((match.kind.value, match.value, match.ignore_case) for match in matches)


def _versions(tls: UpstreamTls | DownstreamTls) -> tuple[str, ...]:
    versions = type(tls.min_version)
    ordered = list(versions)
    return tuple(
        version.value for version in ordered[ordered.index(tls.min_version) : ordered.index(tls.max_version) + 1]
    )
