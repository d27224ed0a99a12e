"""The TLS of a cluster: explicit, or istiod's auto-mTLS by transport socket matches. Pure.

Follows istiod's `pilot/pkg/networking/core/cluster_tls.go`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.registry import ISTIO_TLS
from localmesh.config.destination_rule import ClientTls, TlsMode

if TYPE_CHECKING:
    from collections.abc import Sequence

_TLS = "envoy.transport_sockets.tls"
_RAW = "envoy.transport_sockets.raw_buffer"
_MATCH_SUBJECT_ALT_NAMES = 9  # the deprecated field number, as istiod
_FILE_ROOT = "file-root:"
_IN_MESH_ALPN = ("istio-peer-exchange", "istio")


def plaintext_socket() -> xds.core.TransportSocket:
    return xds.core.TransportSocket(name=_RAW, typed_config=xds.any_of(xds.raw_buffer.RawBuffer()))


def _socket(context: xds.tls.UpstreamTlsContext) -> xds.core.TransportSocket:
    return xds.core.TransportSocket(name=_TLS, typed_config=xds.any_of(context))


def auto_mtls_matches(socket: xds.core.TransportSocket) -> list[xds.cluster.ClusterTransportSocketMatch]:
    """Endpoints that carry tlsMode=istio get mTLS, the others plaintext."""
    return [
        xds.cluster.ClusterTransportSocketMatch(
            name=f"tlsMode-{ISTIO_TLS}", match=xds.struct({"tlsMode": ISTIO_TLS}), transport_socket=socket
        ),
        xds.cluster.ClusterTransportSocketMatch(
            name="tlsMode-disabled", match=xds.struct({}), transport_socket=plaintext_socket()
        ),
    ]


def upstream_socket(
    tls: ClientTls, default_sni: str, accounts: Sequence[str], *, http2: bool
) -> xds.core.TransportSocket | None:
    """The transport socket of an explicit (or auto-detected) mode; None for DISABLE."""
    names = tls.subject_alt_names or tuple(accounts)
    if tls.mode is TlsMode.ISTIO_MUTUAL:
        context = _context([*_IN_MESH_ALPN, "h2"] if http2 else list(_IN_MESH_ALPN), "ROOTCA", names)
        assert context.common_tls_context is not None
        context.common_tls_context.tls_certificate_sds_secret_configs = [_sds("default")]
        context.sni = tls.sni or default_sni
        return _socket(context)
    if tls.mode is TlsMode.SIMPLE:
        context = _context(["h2"] if http2 else [], _FILE_ROOT + (tls.ca_certificates or "system"), names)
        context.sni = tls.sni
        return _socket(context)
    return None


def _context(alpn: list[str], root: str, names: Sequence[str]) -> xds.tls.UpstreamTlsContext:
    return xds.tls.UpstreamTlsContext(
        common_tls_context=xds.tls.CommonTlsContext(
            tls_params=xds.tls.TlsParameters(
                tls_minimum_protocol_version=xds.tls.TlsParametersTlsProtocol.TLSv1_2,
                tls_maximum_protocol_version=xds.tls.TlsParametersTlsProtocol.TLSv1_3,
            ),
            alpn_protocols=alpn,
            combined_validation_context=xds.tls.CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=_validation(names),
                validation_context_sds_secret_config=_sds(root),
            ),
        )
    )


def _validation(names: Sequence[str]) -> xds.tls.CertificateValidationContext:
    context = xds.tls.CertificateValidationContext()
    matchers = (bytes(matcher) for matcher in xds.exact_matchers(names))
    xds.add_deprecated(context, _MATCH_SUBJECT_ALT_NAMES, *matchers)
    return context


def _sds(name: str) -> xds.tls.SdsSecretConfig:
    """A secret from the agent's SDS server, which the sidecar's bootstrap calls sds-grpc."""
    service = xds.core.GrpcService(envoy_grpc=xds.core.GrpcServiceEnvoyGrpc(cluster_name="sds-grpc"))
    source = xds.core.ApiConfigSource(
        api_type=xds.core.ApiConfigSourceApiType.GRPC,
        grpc_services=[service],
        set_node_on_first_message_only=True,
        transport_api_version=xds.core.ApiVersion.V3,
    )
    config = xds.core.ConfigSource(api_config_source=source, resource_api_version=xds.core.ApiVersion.V3)
    if not name.startswith(_FILE_ROOT):
        config.initial_fetch_timeout = timedelta(0)
    return xds.tls.SdsSecretConfig(name=name, sds_config=config)
