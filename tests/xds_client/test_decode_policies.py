"""What a listener's filters say, policies above all: values that anybody would build, or kept with the reason."""

from __future__ import annotations

import ipaddress

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from tests.xds_client.test_decode_listener import HTTP, V3, a_chain, ending_in
from tests.xds_client.test_decode_route import with_unknown_field
from xds_client import model as m
from xds_client.decode import parse
from xds_client.resource_type import ResourceType


def configured(config, **said):
    """What an inbound HTTP filter of this type and JSON is decoded to."""
    kind = f"{V3}.http.{config}"
    manager = {
        "@type": HTTP["typed_config"]["@type"],
        "http_filters": [{"name": "f", "typed_config": {"@type": f"type.googleapis.com/{kind}", **said}}],
    }
    [found] = a_chain(filters=[{"name": "http", "typed_config": manager}]).http_filters
    return found.config


def test_a_policy_is_the_value_that_anybody_would_build():
    policy = {
        "permissions": [
            {"and_rules": {"rules": [{"url_path": {"path": {"prefix": "/a"}}}, {"not_rule": {"destination_port": 80}}]}}
        ],
        "principals": [
            {"authenticated": {"principal_name": {"exact": "spiffe://a/ns/b/sa/c"}}},
            {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}},
            {
                "metadata": {
                    "filter": "envoy.filters.http.jwt_authn",
                    "path": [{"key": "payload"}, {"key": "iss"}],
                    "value": {"list_match": {"one_of": {"string_match": {"exact": "me"}}}},
                }
            },
        ],
    }
    found = configured("rbac.v3.RBAC", rules={"action": "DENY", "policies": {"ns[demo]-policy[a]-rule[0]": policy}})
    prefix, exact = m.StringMatchKind.PREFIX, m.StringMatchKind.EXACT
    jwt = ("payload", "iss")
    issuer = m.MetadataMatch("envoy.filters.http.jwt_authn", jwt, m.ListMatch(m.StringMatch(exact, "me")))
    built = m.RbacPolicy(
        permissions=(m.AllOf((m.UrlPath(m.StringMatch(prefix, "/a")), m.Not(m.DestinationPorts(80, 81)))),),
        principals=(
            m.Authenticated(m.StringMatch(exact, "spiffe://a/ns/b/sa/c")),
            m.CallerIp(ipaddress.ip_network("10.0.0.0/8"), m.Address.REMOTE),
            m.SourcedMetadata(issuer),
        ),
    )
    assert found == m.HttpRbac(rules=m.Rbac(m.RbacAction.DENY, (("ns[demo]-policy[a]-rule[0]", built),)))
    assert hash(found)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"permissions": [{"matcher": {"name": "x"}}]}, "permissions[0].matcher: is an extension"),
        ({"principals": [{}]}, "principals[0].identifier: says nothing"),
        (
            {"principals": [{"not_id": {"header": {"name": "a", "string_match": {"safe_regex": {"regex": "("}}}}}]},
            "safe_regex",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_kept_with_the_reason_and_is_no_policy(rule, problem):
    found = configured("rbac.v3.RBAC", rules={"policies": {"p": rule}})
    assert isinstance(found, m.Opaque)
    assert found.type == f"{V3}.http.rbac.v3.RBAC"
    assert problem in found.problem
    assert found.problem.startswith("rules.policies['p'].")


def test_a_policy_of_a_later_envoy_is_kept_with_the_reason_and_is_no_policy():
    policy = rbac_pb2.RBAC()
    with_unknown_field(policy.rules)
    message = http_connection_manager_pb2.HttpConnectionManager()
    message.http_filters.add(name="f").typed_config.Pack(policy)
    listener = listener_pb2.Listener(name="virtualInbound")
    listener.filter_chains.add().filters.add(name="http").typed_config.Pack(message)
    data = listener.SerializeToString()
    kind = ResourceType.LISTENER
    [chain] = parse(kind, "virtualInbound", kind.value, data).value().filter_chains
    assert chain.http_filters[0].config.problem == "rules.field 1000: is not known to this release"


def test_token_providers_and_what_is_required():
    found = configured(
        "jwt_authn.v3.JwtAuthentication",
        providers={"origins-0": {"issuer": "me", "local_jwks": {"inline_string": "{}"}, "from_params": ["t"]}},
        rules=[
            {
                "match": {"prefix": "/"},
                "requires": {"requires_any": {"requirements": [{"provider_name": "origins-0"}, {"allow_missing": {}}]}},
            }
        ],
    )
    assert found == m.JwtAuthentication(
        providers=(("origins-0", m.JwtProvider("me", local_jwks=m.DataSource(inline=b"{}"), from_params=("t",))),),
        rules=(
            m.JwtRule(
                m.RouteMatch(m.PathMatch(m.PathMatchKind.PREFIX, "/")),
                m.AnyRequirement((m.OfProvider("origins-0"), m.AllowMissing())),
            ),
        ),
    )


def test_a_token_rule_whose_match_cannot_be_evaluated_is_no_rule():
    found = configured(
        "jwt_authn.v3.JwtAuthentication", rules=[{"match": {"prefix": "/", "dynamic_metadata": [{"filter": "f"}]}}]
    )
    assert "dynamic_metadata: is not a condition this release evaluates" in found.problem


def test_what_a_connection_manager_says_besides_its_filters():
    found = ending_in(xff_num_trusted_hops=2, normalize_path=True, merge_slashes=True, stream_idle_timeout="0s")
    assert (found.http.xff_num_trusted_hops, found.http.normalize_path, found.http.merge_slashes) == (2, True, True)
    assert (found.http.stream_idle_timeout, found.http.request_timeout) == (0.0, None)
    assert found.http.routes.virtual_hosts[0].routes[0].forward.cluster.startswith("inbound|")


def test_routes_of_a_chain_that_cannot_be_read_are_left_out_by_name():
    found = ending_in(route_config={"virtual_hosts": [{"name": "v"}]})
    assert found.http.routes is None
    assert found.http.left_out == ("route_config.virtual_hosts[0].domains: at least one is required",)
