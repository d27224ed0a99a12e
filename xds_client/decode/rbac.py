"""RBAC, of HTTP and of connections (envoy/config/rbac/v3): a policy that says more than this release knows is refused.

What is refused here is kept as it came (`xds_client.decode.extensions.packed`), so that its chain can close by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoy.config.rbac.v3 import rbac_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.extensions import as_it_came, known_extension, packed
from xds_client.decode.fields import UnsupportedError, each, inside, string_match
from xds_client.decode.filter_chain_match import network
from xds_client.decode.matching import filter_state_match, header_match, metadata_match
from xds_client.decode.shape import OneOf, Shape, enum_name, required

if TYPE_CHECKING:
    from collections.abc import Callable


def _url_path(message: Any) -> m.UrlPath:
    return m.UrlPath(required(string_match, message, "path"))


_source = enum_name(rbac_pb2.SourcedMetadata.DESCRIPTOR.fields_by_name["metadata_source"].enum_type)


def _sourced(message: Any) -> m.SourcedMetadata:
    return m.SourcedMetadata(required(metadata_match, message, "metadata_matcher"), _source(message.metadata_source))


def _dynamic(message: Any) -> m.SourcedMetadata:
    return m.SourcedMetadata(metadata_match(message))


def _anything(said: bool) -> m.Anything:
    if not said:
        raise UnsupportedError("", "must be true")
    return m.Anything()


def _uri_template(message: Any) -> m.UriTemplate:
    found = packed(message.typed_config)
    if not isinstance(found, m.UriTemplate):
        raise UnsupportedError("typed_config", f"{getattr(found, 'type', found)} is no template of a path")
    return found


def _authenticated(message: Any) -> m.Authenticated:
    named = message.HasField("principal_name")
    return m.Authenticated(inside("principal_name", string_match, message.principal_name) if named else None)


def _caller(address: m.Address) -> Callable[[Any], m.CallerIp]:
    return lambda message: m.CallerIp(network(message), address)


permission: OneOf = OneOf(
    rbac_pb2.Permission,
    "rule",
    {
        "and_rules": lambda said: m.AllOf(each("rules", permission, said.rules)),
        "or_rules": lambda said: m.AnyOf(each("rules", permission, said.rules)),
        "not_rule": lambda said: m.Not(permission(said)),
        "any": _anything,
        "header": header_match,
        "url_path": _url_path,
        "destination_ip": lambda said: m.DestinationIp(network(said)),
        "destination_port": lambda port: m.DestinationPorts(port, port + 1),
        "destination_port_range": lambda said: m.DestinationPorts(said.start, said.end),
        "metadata": _dynamic,
        "sourced_metadata": _sourced,
        "requested_server_name": lambda said: m.RequestedServerName(string_match(said)),
        "uri_template": _uri_template,
    },
    not_kept={"matcher": "is an extension that this release does not know"},
)
principal: OneOf = OneOf(
    rbac_pb2.Principal,
    "identifier",
    {
        "and_ids": lambda said: m.AllOf(each("ids", principal, said.ids)),
        "or_ids": lambda said: m.AnyOf(each("ids", principal, said.ids)),
        "not_id": lambda said: m.Not(principal(said)),
        "any": _anything,
        "authenticated": _authenticated,
        "source_ip": _caller(m.Address.DIRECT),
        "direct_remote_ip": _caller(m.Address.DIRECT),
        "remote_ip": _caller(m.Address.REMOTE),
        "header": header_match,
        "url_path": _url_path,
        "metadata": _dynamic,
        "sourced_metadata": _sourced,
        "filter_state": filter_state_match,
    },
    not_kept={"custom": "is an extension that this release does not know"},
)


def _action(number: int) -> m.RbacAction:
    name = enum_name(rbac_pb2.RBAC.DESCRIPTOR.fields_by_name["action"].enum_type)(number)
    if name not in m.RbacAction.__members__:
        raise UnsupportedError("", f"{name} is no action that this release knows")
    return m.RbacAction[name]


policy = Shape(
    m.RbacPolicy,
    rbac_pb2.Policy,
    by={"condition": as_it_came, "checked_condition": as_it_came, "cel_config": as_it_came},
)
rbac = Shape(m.Rbac, rbac_pb2.RBAC, by={"action": _action, "audit_logging_options": as_it_came})
_trees = {"matcher": as_it_came, "shadow_matcher": as_it_came}
http_rbac = Shape(m.HttpRbac, http_pb2.RBAC, by=_trees)
http_rbac_per_route = Shape(m.HttpRbacPerRoute, http_pb2.RBACPerRoute)
network_rbac = Shape(m.NetworkRbac, network_pb2.RBAC, by=_trees)
known_extension(http_pb2.RBAC, http_rbac)
known_extension(http_pb2.RBACPerRoute, http_rbac_per_route)
known_extension(network_pb2.RBAC, network_rbac)
