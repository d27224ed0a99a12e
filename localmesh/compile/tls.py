"""TLS: of a cluster, explicit or istiod's auto-mTLS by transport socket matches, and of a server's ports. Pure.

Follows istiod's `pilot/pkg/networking/core/cluster_tls.go` and `pilot/pkg/security/authn/utils`.
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
_FILE_ROOT, _FILE_CERTIFICATE = "file-root:", "file-cert:"
IDENTITY, ROOTS = "default", "ROOTCA"  # the secrets that every workload has
_CIPHERS = (
    *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    *("AES256-GCM-SHA384", "AES128-GCM-SHA256"),
)
_IN_MESH_ALPN = ("istio-peer-exchange", "istio")


def plaintext_socket() -> xds.core.TransportSocket:
    return xds.core.TransportSocket(name=_RAW, typed_config=xds.any_of(xds.raw_buffer.RawBuffer()))


def _socket(context: xds.tls.UpstreamTlsContext) -> xds.core.TransportSocket:
    return xds.core.TransportSocket(name=_TLS, typed_config=xds.any_of(context))


def auto_mtls_matches(socket: xds.core.TransportSocket) -> list[xds.cluster.Cluster.TransportSocketMatch]:
    """Endpoints that carry tlsMode=istio get mTLS, the others plaintext."""
    return [
        xds.cluster.Cluster.TransportSocketMatch(
            name=f"tlsMode-{ISTIO_TLS}", match=xds.struct({"tlsMode": ISTIO_TLS}), transport_socket=socket
        ),
        xds.cluster.Cluster.TransportSocketMatch(
            name="tlsMode-disabled", match=xds.struct({}), transport_socket=plaintext_socket()
        ),
    ]


def hides_its_secret(tls: ClientTls) -> bool:
    """A secret by name is not for every sidecar that a DestinationRule reaches: istiod then leaves TLS out."""
    return tls.originates and bool(tls.credential_name)


def upstream_socket(
    tls: ClientTls, default_sni: str, accounts: Sequence[str], *, http2: bool
) -> xds.core.TransportSocket | None:
    """The transport socket of an explicit (or auto-detected) mode; None for DISABLE."""
    names = tls.subject_alt_names or tuple(accounts)
    if tls.mode is TlsMode.ISTIO_MUTUAL:
        context = _context([*_IN_MESH_ALPN, "h2"] if http2 else list(_IN_MESH_ALPN), tls.sni or default_sni)
        common = context.common_tls_context
        common.tls_certificate_sds_secret_configs.append(sds_config(IDENTITY))
        common.combined_validation_context.CopyFrom(_verified(ROOTS, _validation(names)))
        return _socket(context)
    if tls.originates and not hides_its_secret(tls):
        context = _context(["h2"] if http2 else [], tls.sni)
        common = context.common_tls_context
        if tls.mode is TlsMode.MUTUAL:
            pair = f"{_FILE_CERTIFICATE}{tls.client_certificate}~{tls.private_key}"
            common.tls_certificate_sds_secret_configs.append(sds_config(pair))
        if tls.insecure_skip_verify:
            common.validation_context.SetInParent()
        else:
            validation = _validation(names)
            if tls.ca_crl:
                validation.crl.filename = tls.ca_crl
            root = _FILE_ROOT + (tls.ca_certificates or "system")
            common.combined_validation_context.CopyFrom(_verified(root, validation))
        return _socket(context)
    return None


def downstream_socket(alpn: Sequence[str], trust_domains: Sequence[str]) -> xds.core.TransportSocket:
    """A server's end of the mesh's own TLS (BuildInboundTLS): every client of the trust domains, and no other."""
    # a field that Envoy deprecated and istiod sends
    prefixes = [{"prefix": f"spiffe://{name}/"} for name in trust_domains]
    validation = xds.tls.CertificateValidationContext(match_subject_alt_names=prefixes)
    common = _common(list(alpn))
    common.tls_params.cipher_suites.extend(_CIPHERS)
    common.tls_certificate_sds_secret_configs.append(sds_config(IDENTITY))
    common.combined_validation_context.CopyFrom(_verified(ROOTS, validation))
    context = xds.tls.DownstreamTlsContext(common_tls_context=common, require_client_certificate={"value": True})
    return xds.core.TransportSocket(name=_TLS, typed_config=xds.any_of(context))


def _context(alpn: list[str], sni: str) -> xds.tls.UpstreamTlsContext:
    return xds.tls.UpstreamTlsContext(common_tls_context=_common(alpn), sni=sni)


def _common(alpn: list[str]) -> xds.tls.CommonTlsContext:
    return xds.tls.CommonTlsContext(
        tls_params=xds.tls.TlsParameters(
            tls_minimum_protocol_version=xds.tls.TlsParameters.TLSv1_2,
            tls_maximum_protocol_version=xds.tls.TlsParameters.TLSv1_3,
        ),
        alpn_protocols=alpn,
    )


def _verified(
    root: str, validation: xds.tls.CertificateValidationContext
) -> xds.tls.CommonTlsContext.CombinedCertificateValidationContext:
    return xds.tls.CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=validation, validation_context_sds_secret_config=sds_config(root)
    )


def _validation(names: Sequence[str]) -> xds.tls.CertificateValidationContext:
    # a field that Envoy deprecated and istiod sends
    return xds.tls.CertificateValidationContext(match_subject_alt_names=[{"exact": name} for name in names])


def sds_config(name: str) -> xds.tls.SdsSecretConfig:
    """A secret from the agent's SDS server, which the sidecar's bootstrap calls sds-grpc."""
    source = xds.core.ApiConfigSource(
        api_type=xds.core.ApiConfigSource.GRPC,
        grpc_services=[{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
        set_node_on_first_message_only=True,
        transport_api_version=xds.core.ApiVersion.V3,
    )
    config = xds.core.ConfigSource(api_config_source=source, resource_api_version=xds.core.ApiVersion.V3)
    if name in (IDENTITY, ROOTS):
        config.initial_fetch_timeout.FromTimedelta(timedelta(0))
    return xds.tls.SdsSecretConfig(name=name, sds_config=config)
