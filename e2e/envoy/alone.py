"""The bootstrap of an Envoy that has no agent: token in, all the rest from localmesh's secure port. Pure.

Its token goes with every request to the control plane (`credential_injector` as an upstream filter), so that its
secrets can come from there, too: in a pod that is pilot-agent's work, and istiod serves none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.envoy.bootstrap import SidecarNode

_TYPE = "type.googleapis.com/envoy."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_SDS = {
    "api_config_source": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    },
    "resource_api_version": "V3",
}
_ADS = {"ads": {}, "resource_api_version": "V3"}


@dataclass(frozen=True, slots=True)
class Alone:
    """It listens on ``outbound`` for calls that take ``route``, on ``inbound`` for mTLS that goes to ``backend``."""

    node: SidecarNode
    control_plane: str
    root: Path
    token: Path  # a file with a secret of Envoy's, as `token_file` writes it
    outbound: str
    route: str
    inbound: str
    backend: str
    admin: Path

    def bootstrap(self) -> dict[str, Any]:
        return {
            "node": {"id": self.node.id, "cluster": self.node.name, "metadata": self.node.metadata()},
            "admin": {"address": {"pipe": {"path": str(self.admin)}}},
            "dynamic_resources": {
                "cds_config": _ADS,
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
                },
            },
            "static_resources": {
                "listeners": [self._outbound(), self._inbound()],
                "clusters": [
                    *(_cluster(name, self.control_plane, self._tls(), self._with_token()) for name in _CONTROL),
                    _cluster("backend", self.backend),
                ],
            },
        }

    def _outbound(self) -> dict[str, Any]:
        return _listener(self.outbound, {"rds": {"route_config_name": self.route, "config_source": _ADS}})

    def _inbound(self) -> dict[str, Any]:
        route = {"match": {"prefix": "/"}, "route": {"cluster": "backend"}}
        hosts = [{"name": "backend", "domains": ["*"], "routes": [route]}]
        seen = {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": {"uri": True}}
        found = _listener(self.inbound, {"route_config": {"name": "in", "virtual_hosts": hosts}} | seen)
        secrets = {
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": _SDS}],
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": _SDS},
            "alpn_protocols": ["h2"],
        }
        context = {"common_tls_context": secrets, "require_client_certificate": True}
        found["filter_chains"][0]["transport_socket"] = _socket("DownstreamTlsContext", context)
        return found

    def _tls(self) -> dict[str, Any]:
        validation = {"trusted_ca": {"filename": str(self.root)}}
        context = {"common_tls_context": {"validation_context": validation, "alpn_protocols": ["h2"]}}
        return _socket("UpstreamTlsContext", context | {"sni": "istiod.istio-system.svc"})

    def _with_token(self) -> list[dict[str, Any]]:
        file = {"path_config_source": {"path": str(self.token)}, "resource_api_version": "V3"}
        bearer = _typed(
            "extensions.http.injected_credentials.generic.v3.Generic",
            {"credential": {"name": "token", "sds_config": file}, "header": "authorization"},
        )
        injector = {"credential": {"name": "bearer", "typed_config": bearer}, "overwrite": True}
        return [
            {
                "name": "envoy.filters.http.credential_injector",
                "typed_config": _typed("extensions.filters.http.credential_injector.v3.CredentialInjector", injector),
            },
            {
                "name": "envoy.filters.http.upstream_codec",
                "typed_config": _typed("extensions.filters.http.upstream_codec.v3.UpstreamCodec", {}),
            },
        ]


_CONTROL = ("xds-grpc", "sds-grpc")  # the second is what istiod's clusters call the server of secrets


def token_file(token: str) -> dict[str, Any]:
    secret = {"name": "token", "generic_secret": {"secret": {"inline_string": f"Bearer {token}"}}}
    return {"resources": [_typed("extensions.transport_sockets.tls.v3.Secret", secret)]}


def _typed(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"@type": _TYPE + name, **value}


def _socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    config = _typed(f"extensions.transport_sockets.tls.v3.{kind}", context)
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _listener(address: str, manager: dict[str, Any]) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": _typed("extensions.filters.http.router.v3.Router", {}),
    }
    http = _typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        {"stat_prefix": address, "http_filters": [router], **manager},
    )
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]
    return {"name": address, "address": _address(address), "filter_chains": [{"filters": filters}]}


def _cluster(
    name: str, address: str, tls: dict[str, Any] | None = None, filters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    options: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    if filters:
        options["http_filters"] = filters
    found = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _typed(_HTTP_OPTIONS.removeprefix("envoy."), options)},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address)}}]}],
        },
    }
    return found | ({"transport_socket": tls} if tls else {})
