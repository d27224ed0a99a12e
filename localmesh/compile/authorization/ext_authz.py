"""Providers that are asked who may call: the ext_authz filters for requests and for connections. Pure.

Follows istiod's `pilot/pkg/security/authz/builder/extauthz.go`.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from localmesh import xds
from localmesh.compile.authorization.matchers import metadata, prefix
from localmesh.config.extension_providers import ExtAuthzGrpc, ExtAuthzHttp
from localmesh.config.service_entry import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localmesh.compile.registry import Registry
    from localmesh.config import MeshConfig
    from localmesh.config.extension_providers import RequestBody

HTTP_RBAC, NETWORK_RBAC = "envoy.filters.http.rbac", "envoy.filters.network.rbac"
SHADOW_PREFIX = "istio_ext_authz_"  # of what RBAC leaves for the filter behind it
_POLICY_ID = f"{SHADOW_PREFIX}shadow_effective_policy_id"
_USUAL_TIMEOUT = timedelta(seconds=600)
_LONGEST_NAME = 63
_OF_NAMES = frozenset(f"{string.ascii_lowercase}{string.digits}-")


class BadProvider(Exception):  # noqa: N818  # who is to be asked by it is refused
    """Why nobody can be asked, in a few words."""


def policy_prefix(provider: str) -> str:
    """What the names of a provider's policies begin with: it is asked where RBAC has found one of these."""
    return f"istio-ext-authz-{provider}"


@dataclass(frozen=True, slots=True)
class ExtAuthz:
    """``network`` is None for a provider that only understands requests."""

    http: Any
    network: Any


class Providers:
    def __init__(self, mesh: MeshConfig, registry: Registry) -> None:
        self._registry = registry
        self._by_name = {one.name: one.authorizer for one in mesh.extension_providers}  # of one name the last counts

    def find(self, name: str) -> ExtAuthz:
        """Raises `BadProvider`."""
        found = self._by_name.get(name)
        if found is None:
            raise BadProvider("no extensionProvider of the MeshConfig that has this name can be asked")
        if fault := _fault_of_name(name):
            raise BadProvider(fault)
        if not 0 < found.port <= MAX_PORT:
            raise BadProvider(f"port {found.port} is not between 1 and {MAX_PORT}")
        host = self._host(found.service)
        status = _status(found.status_on_error)
        cluster = f"outbound|{found.port}||{host}"
        if isinstance(found, ExtAuthzGrpc):
            return _grpc(name, found, host, cluster, status)
        return _http(name, found, host, cluster, status)

    def _host(self, service: str) -> str:
        """``HOST``, which must be of one namespace only, or ``NAMESPACE/HOST`` (`LookupCluster`)."""
        namespace, slash, host = service.rpartition("/")
        namespaces = self._registry.namespaces_of(host)
        if not service or "*" in service or (namespace not in namespaces if slash else not namespaces):
            raise BadProvider(f"no service has the name {service!r}")
        if not slash and len(namespaces) > 1:
            raise BadProvider(f"{service} is in several namespaces: say NAMESPACE/{service}")
        return host


def _fault_of_name(name: str) -> str | None:
    if not name or len(name) > _LONGEST_NAME:
        return f"its name has not between 1 and {_LONGEST_NAME} letters"
    if not _OF_NAMES.issuperset(name) or name.startswith("-") or name.endswith("-"):
        return "its name may have a-z, 0-9 and, within, -"
    return None


def _status(text: str) -> Any:
    if not text:
        return None
    digits = text.removeprefix("+")
    is_number = digits.isascii() and digits.isdigit() and len(digits) < len("1" * 10)
    if not is_number or int(digits) not in xds.types.StatusCode.values():
        raise BadProvider(f"statusOnError {text!r} is no status that Envoy knows")
    return xds.types.HttpStatus(code=int(digits))


def _enabled(rbac: str, provider: str) -> Any:
    value = xds.matcher.ValueMatcher(string_match=prefix(policy_prefix(provider)))
    return metadata(rbac, (_POLICY_ID,), value)


def _body(asked: RequestBody | None) -> Any:
    if asked is None:
        return None
    return xds.ext_authz.BufferSettings(
        max_request_bytes=asked.max_request_bytes,
        allow_partial_message=asked.allow_partial_message,
        pack_as_bytes=asked.pack_as_bytes,
    )


def _timeout(given: timedelta | None) -> timedelta:
    return _USUAL_TIMEOUT if given is None else given


def _grpc(name: str, provider: ExtAuthzGrpc, host: str, cluster: str, status: Any) -> ExtAuthz:
    service = xds.core.GrpcService(
        envoy_grpc={"cluster_name": cluster, "authority": host}, timeout=_timeout(provider.timeout)
    )
    http = xds.ext_authz.ExtAuthz(
        grpc_service=service,
        status_on_error=status,
        failure_mode_allow=provider.fail_open,
        transport_api_version=xds.core.ApiVersion.V3,
        filter_enabled_metadata=_enabled(HTTP_RBAC, name),
        with_request_body=_body(provider.include_request_body_in_check),
    )
    network = xds.network_ext_authz.ExtAuthz(
        stat_prefix="tcp.",
        grpc_service=service,
        failure_mode_allow=provider.fail_open,
        transport_api_version=xds.core.ApiVersion.V3,
        filter_enabled_metadata=_enabled(NETWORK_RBAC, name),
    )
    return ExtAuthz(http, network)


def _http(name: str, provider: ExtAuthzHttp, host: str, cluster: str, status: Any) -> ExtAuthz:
    if provider.path_prefix and not provider.path_prefix.startswith("/"):
        raise BadProvider(f"pathPrefix {provider.path_prefix!r} does not begin with /")
    lists = (
        *(provider.include_request_headers_in_check, provider.include_headers_in_check),
        *(provider.headers_to_upstream_on_allow, provider.headers_to_downstream_on_deny),
        provider.headers_to_downstream_on_allow,
    )
    if any("*" in headers for headers in lists):
        raise BadProvider("a list of headers has a lone *")
    http = xds.ext_authz.ExtAuthz(
        http_service=_service(provider, host, cluster),
        status_on_error=status,
        failure_mode_allow=provider.fail_open,
        transport_api_version=xds.core.ApiVersion.V3,
        filter_enabled_metadata=_enabled(HTTP_RBAC, name),
        with_request_body=_body(provider.include_request_body_in_check),
        allowed_headers=_headers(provider.include_request_headers_in_check or provider.include_headers_in_check),
    )
    return ExtAuthz(http, None)


def _service(provider: ExtAuthzHttp, host: str, cluster: str) -> Any:
    service = xds.ext_authz.HttpService(
        path_prefix=provider.path_prefix,
        server_uri={"uri": f"http://{host}", "cluster": cluster, "timeout": _timeout(provider.timeout)},
    )
    more = provider.include_additional_headers_in_check
    if more:
        headers = [{"key": key, "value": more[key]} for key in sorted(more)]
        service.authorization_request.CopyFrom(xds.ext_authz.AuthorizationRequest(headers_to_add=headers))
    upstream, on_deny = (
        _headers(provider.headers_to_upstream_on_allow),
        _headers(provider.headers_to_downstream_on_deny),
    )
    on_allow = _headers(provider.headers_to_downstream_on_allow)
    if upstream or on_deny or on_allow:
        response = xds.ext_authz.AuthorizationResponse(
            allowed_upstream_headers=upstream,
            allowed_client_headers=on_deny,
            allowed_client_headers_on_success=on_allow,
        )
        service.authorization_response.CopyFrom(response)
    return service


def _headers(names: Sequence[str]) -> Any:
    if not names:
        return None
    return xds.matcher.ListStringMatcher(patterns=[_header(name) for name in names])


def _header(name: str) -> Any:
    if name.startswith("*"):
        return xds.matcher.StringMatcher(suffix=name[1:], ignore_case=True)
    if name.endswith("*"):
        return xds.matcher.StringMatcher(prefix=name[:-1], ignore_case=True)
    return xds.matcher.StringMatcher(exact=name, ignore_case=True)
