"""RBAC filters as a control plane sends them, and chains of a mesh that have them."""

from __future__ import annotations

from dataclasses import replace

from tests.rpc.authorization.enforced import V3
from tests.rpc.tls.mesh import MUTUAL
from tests.xds_client.test_decode_listener import HTTP, a_chain
from xds_client.model import FilterChainMatch

ANYBODY = [{"any": True}]
NETWORK = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{V3}.router.v3.Router"}}
ROUTES = {
    "virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "inbound|80||"}}]}
    ]
}


def exact(value):
    return {"exact": value}


def header(name, **match):
    return {"header": {"name": name, **match}}


def path(**match):
    return {"url_path": {"path": match}}


def caller(name):
    return {"authenticated": {"principal_name": exact(name)}}


def policy(*permissions, by=ANYBODY):
    return {"permissions": list(permissions) or ANYBODY, "principals": by}


def rules(action="ALLOW", /, **policies):
    return {"action": action, "policies": policies}


def rbac(**config):
    return {"name": "envoy.filters.http.rbac", "typed_config": {"@type": f"{V3}.rbac.v3.RBAC", **config}}


def http_chain(*filters, network=(), tls=MUTUAL, transport="tls", **manager):
    """A chain of these HTTP filters (and network filters before them), as it is read of a listener."""
    manager = {
        "@type": HTTP["typed_config"]["@type"],
        "http_filters": [*filters, ROUTER],
        "route_config": ROUTES,
        **manager,
    }
    found = a_chain(filters=[*network, {"name": "http", "typed_config": manager}])
    assert not found.unusable, found.unusable
    return replace(found, name="chain", match=FilterChainMatch(transport_protocol=transport), tls=tls)


def plaintext_chain(*filters, **how):
    return http_chain(*filters, tls=None, transport="raw_buffer", **how)


def network_rbac(**config):
    return {"name": "envoy.filters.network.rbac", "typed_config": {"@type": NETWORK, "stat_prefix": "tcp.", **config}}
