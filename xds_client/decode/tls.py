"""Transport sockets to the model, both ends (envoy/extensions/transport_sockets/tls/v3). Pure functions.

A transport socket that is not understood is an error: guessing plaintext would send it in the clear.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2  # type: ignore[import-untyped]
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # type: ignore[import-untyped]

from xds_client.decode.fields import FieldError, UnsupportedError, inside, refuse_unknown_fields, unpacked
from xds_client.decode.tls_trust import demand, own_certificate
from xds_client.model import DownstreamTls, TlsVersion, UpstreamTls

_CURVES = frozenset({"X25519", "P-256", "P-384"})  # the engine's


def upstream_socket(message: Any) -> UpstreamTls | None:
    """The TLS that a cluster's core.v3.TransportSocket demands; None for raw_buffer, which is plaintext."""
    context = _context(message, tls_pb2.UpstreamTlsContext)
    return None if context is None else inside("typed_config", _upstream, context)


def downstream_socket(message: Any) -> DownstreamTls | None:
    """The TLS that a filter chain's core.v3.TransportSocket demands; None for raw_buffer, which is plaintext."""
    context = _context(message, tls_pb2.DownstreamTlsContext)
    return None if context is None else inside("typed_config", _downstream, context)


def _context(message: Any, message_type: Any) -> Any | None:
    config = message.typed_config
    if config.Is(raw_buffer_pb2.RawBuffer.DESCRIPTOR):
        return None
    if not config.Is(message_type.DESCRIPTOR):
        what = config.type_url or message.name
        raise UnsupportedError("typed_config", f"{what} is not a transport this release speaks")
    context = inside("typed_config", lambda packed: unpacked(packed, message_type), config)
    inside("typed_config", refuse_unknown_fields, context)
    return context


def _upstream(context: Any) -> UpstreamTls:
    if context.auto_host_sni:
        raise UnsupportedError("auto_host_sni", "is not supported")
    if context.auto_sni_san_validation:
        raise UnsupportedError("auto_sni_san_validation", "is not supported")
    common = context.common_tls_context
    wanted = inside("common_tls_context", demand, common)
    oldest, newest = inside("common_tls_context.tls_params", _versions, common.tls_params)
    return UpstreamTls(
        sni=context.sni,
        alpn=tuple(common.alpn_protocols),
        subject_alt_names=wanted.subject_alt_names,
        certificate=inside("common_tls_context", own_certificate, common),
        roots=wanted.roots,
        min_version=oldest,
        max_version=newest,
    )


def _downstream(context: Any) -> DownstreamTls:
    if context.require_sni.value:
        raise UnsupportedError("require_sni", "is not supported")
    if context.ocsp_staple_policy == context.MUST_STAPLE:
        raise UnsupportedError("ocsp_staple_policy", "MUST_STAPLE is not supported")
    common = context.common_tls_context
    certificate = inside("common_tls_context", own_certificate, common)
    if certificate is None:
        raise FieldError("common_tls_context.tls_certificates", "a server needs a certificate")
    wanted = inside("common_tls_context", demand, common)
    required = context.require_client_certificate.value
    if required and wanted.roots is None:
        # Envoy would take any certificate at all here, and then anybody would be whom he says he is.
        reason = "client certificates are required and nothing says how to verify them"
        raise UnsupportedError("common_tls_context.validation_context_type", reason)
    oldest, newest = inside("common_tls_context.tls_params", _versions, common.tls_params)
    return DownstreamTls(
        alpn=tuple(common.alpn_protocols),
        certificate=certificate,
        roots=wanted.roots,
        require_client_certificate=required,
        subject_alt_names=wanted.subject_alt_names,
        min_version=oldest,
        max_version=newest,
    )


def _versions(params: Any) -> tuple[TlsVersion, TlsVersion]:
    """The oldest and the newest version. Not said, or older than TLS 1.2: the safest that we have."""
    for field in ("signature_algorithms", "compliance_policies"):
        if getattr(params, field):
            raise UnsupportedError(field, "cannot be restricted by this release")
    if params.ecdh_curves and _CURVES.isdisjoint(params.ecdh_curves):
        raise UnsupportedError("ecdh_curves", f"none of {', '.join(params.ecdh_curves)} is supported")
    only_1_3 = params.tls_minimum_protocol_version == params.TLSv1_3
    newest = params.tls_maximum_protocol_version
    if newest in (params.TLSv1_0, params.TLSv1_1):
        raise UnsupportedError("tls_maximum_protocol_version", "versions older than TLS 1.2 are not spoken")
    if only_1_3 and newest == params.TLSv1_2:
        raise FieldError("tls_maximum_protocol_version", "is older than the minimum")
    return (
        TlsVersion.TLS_1_3 if only_1_3 else TlsVersion.TLS_1_2,
        TlsVersion.TLS_1_2 if newest == params.TLSv1_2 else TlsVersion.TLS_1_3,
    )
