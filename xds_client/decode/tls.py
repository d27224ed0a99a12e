"""Upstream transport sockets to the model (envoy/extensions/transport_sockets/tls/v3). Pure functions.

A transport socket that is not understood is an error: guessing plaintext would send it in the clear.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2  # type: ignore[import-untyped]
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError as WireError

from xds_client.decode.fields import FieldError, each, inside, string_labels, string_match
from xds_client.model import StringMatch, TransportSocketMatch, UpstreamTls


def transport_socket(message: Any) -> UpstreamTls | None:
    """The TLS that a core.v3.TransportSocket demands; None for raw_buffer, which is plaintext."""
    config = message.typed_config
    if config.Is(raw_buffer_pb2.RawBuffer.DESCRIPTOR):
        return None
    if not config.Is(tls_pb2.UpstreamTlsContext.DESCRIPTOR):
        raise FieldError("typed_config", f"{config.type_url or message.name} is not a transport this release speaks")
    try:
        context = tls_pb2.UpstreamTlsContext.FromString(config.value)
    except WireError as error:
        raise FieldError("typed_config", f"not an UpstreamTlsContext: {error}") from None
    return inside("typed_config", _upstream_tls, context)


def transport_socket_match(message: Any) -> TransportSocketMatch:
    return TransportSocketMatch(
        name=message.name,
        labels=inside("match", string_labels, message.match),
        tls=inside("transport_socket", transport_socket, message.transport_socket),
    )


def _upstream_tls(context: Any) -> UpstreamTls:
    common = context.common_tls_context
    kind = common.WhichOneof("validation_context_type")
    sans: tuple[StringMatch, ...] = ()
    if kind == "combined_validation_context":
        sans = inside(kind, _subject_alt_names, common.combined_validation_context.default_validation_context)
    elif kind == "validation_context":
        sans = inside(kind, _subject_alt_names, common.validation_context)
    return UpstreamTls(sni=context.sni, alpn=tuple(common.alpn_protocols), subject_alt_names=sans)


def _subject_alt_names(validation: Any) -> tuple[StringMatch, ...]:
    # gRFC A29: the typed field first, the deprecated one only if that is empty; istiod may send both.
    if validation.match_typed_subject_alt_names:
        typed = (m.matcher for m in validation.match_typed_subject_alt_names)
        return each("match_typed_subject_alt_names", string_match, typed)
    return each("match_subject_alt_names", string_match, validation.match_subject_alt_names)
