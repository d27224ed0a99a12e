"""What a cluster demands of its connections: its socket, those by endpoint, names from calls. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # type: ignore[import-untyped]

from xds_client.decode.fields import FieldError, UnsupportedError, each, inside, string_labels, unpacked
from xds_client.decode.tls import upstream_socket
from xds_client.model import TransportSocketMatch, UpstreamTls

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True)
class ClusterTls:
    tls: UpstreamTls | None = None
    matches: tuple[TransportSocketMatch, ...] = ()
    unusable: str = ""


def cluster_tls(message: Any) -> ClusterTls:
    """``unusable`` says which field asks for more than this release can do: the cluster must not be called then."""
    try:
        names = _names_from_calls(message)
        tls = inside("transport_socket", upstream_socket, message.transport_socket) if _has_socket(message) else None
        matches = each("transport_socket_matches", _match, message.transport_socket_matches)
    except UnsupportedError as error:
        return ClusterTls(unusable=f"{error.field}: {error.reason}")
    return ClusterTls(
        None if tls is None else _with(names, tls),
        tuple(match if match.tls is None else replace(match, tls=_with(names, match.tls)) for match in matches),
    )


def _has_socket(message: Any) -> bool:
    return bool(message.HasField("transport_socket"))


def _match(message: Any) -> TransportSocketMatch:
    labels = inside("match", string_labels, message.match)
    if not _has_socket(message):
        raise FieldError("transport_socket", "is missing")  # refused by Envoy too; in a cluster it means plaintext
    return TransportSocketMatch(
        message.name, labels, inside("transport_socket", upstream_socket, message.transport_socket)
    )


@dataclass(frozen=True, slots=True)
class _Names:
    sni: bool = False
    san: bool = False


def _names_from_calls(message: Any) -> _Names:
    """Whether the server name, and the certificate's, follow the call's authority (core/v3/protocol.proto)."""
    options = message.typed_extension_protocol_options
    if _HTTP_OPTIONS in options:
        place = f"typed_extension_protocol_options.{_HTTP_OPTIONS}"
        http = inside(
            place, lambda o: unpacked(o, http_protocol_options_pb2.HttpProtocolOptions), options[_HTTP_OPTIONS]
        )
        said = http.upstream_http_protocol_options
    else:
        place, said = "upstream_http_protocol_options", message.upstream_http_protocol_options
    if said.override_auto_sni_header:
        raise UnsupportedError(f"{place}.override_auto_sni_header", "is not supported")
    if said.auto_san_validation and not said.auto_sni:
        raise UnsupportedError(f"{place}.auto_san_validation", "is not supported without auto_sni")
    return _Names(said.auto_sni, said.auto_san_validation)


def _with(names: _Names, tls: UpstreamTls) -> UpstreamTls:
    if names.san and tls.roots is None:
        return replace(tls, auto_sni=names.sni)  # nothing is verified, so no name is either
    return replace(tls, auto_sni=names.sni, auto_san_validation=names.san)
