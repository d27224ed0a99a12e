"""Settings of a chain's connection manager: each is obeyed, changes nothing, or closes the chain by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import grpc
import pytest

from rpc.authorization.demands import Demands
from rpc.authorization.manager_settings import CLOSES, HARMLESS, OBEYED, settings_not_carried_out
from tests.rpc.authorization.policies import ROUTER, path, plaintext_chain, policy, rbac, rules
from tests.rpc.script import request
from tests.rpc.tls.ends import MeshWorld, hello, refused
from tests.rpc.tls.mesh import Mesh, listener
from tests.xds_client.captured import captured
from tests.xds_client.test_decode_listener import ROUTE
from xds_client.decode import parse
from xds_client.inbound import chains_for_port
from xds_client.model import ConnectionManager, Http2, HttpCommon

EXTENSION = {"name": "e", "typed_config": {"@type": ROUTER["typed_config"]["@type"]}}
DENY = rbac(rules=rules("DENY", admin=policy(path(exact="/admin"))))


def common(**said):
    return {"common_http_protocol_options": said}


def routes(*, table=None, host=None, **route):
    entry = ROUTE | {"route": ROUTE["route"] | route}
    hosts = [{"name": "v", "domains": ["*"], "routes": [entry], **(host or {})}]
    return {"route_config": {"virtual_hosts": hosts, **(table or {})}}


SCHEME = {"scheme_to_overwrite": "https"}
MALFORMED = {"rate_limits": [{"actions": [{}]}]}
CLOSING = [
    ("codec_type (HTTP1)", {"codec_type": "HTTP1"}),
    ("common_http_protocol_options.max_headers_count (10)", common(max_headers_count=10)),
    ("common_http_protocol_options.max_headers_count (200)", common(max_headers_count=200)),
    (
        "common_http_protocol_options.headers_with_underscores_action (REJECT_REQUEST)",
        common(headers_with_underscores_action="REJECT_REQUEST"),
    ),
    (
        "common_http_protocol_options.headers_with_underscores_action (DROP_HEADER)",
        common(headers_with_underscores_action="DROP_HEADER"),
    ),
    ("max_request_headers_kb (8)", {"max_request_headers_kb": 8}),
    ("original_ip_detection_extensions", {"original_ip_detection_extensions": [EXTENSION]}),
    ("early_header_mutation_extensions", {"early_header_mutation_extensions": [EXTENSION]}),
    ("path_normalization_options", {"path_normalization_options": {}}),
    ("typed_header_validation_config", {"typed_header_validation_config": EXTENSION}),
    ("forward_client_cert_matcher", {"forward_client_cert_matcher": {}}),
    ("scheme_header_transformation", {"scheme_header_transformation": SCHEME}),
    ("add_user_agent", {"add_user_agent": True}),
    ("via (front)", {"via": "front"}),
    ("append_x_forwarded_port", {"append_x_forwarded_port": True}),
    ("unreadable fields: ", common(idle_timeout="-1s")),
    ("route_config.internal_only_headers", routes(table={"internal_only_headers": ["x-internal"]})),
    ("route_config: prefix_rewrite", routes(prefix_rewrite="/other")),
    ("route_config: host_rewrite_literal", routes(host_rewrite_literal="other")),
    ("route_config: rate_limits", routes(host=MALFORMED)),
    ("route_config: route.", routes(**MALFORMED)),
]
SERVED = [
    {"codec_type": "HTTP2"},
    common(max_headers_count=100, headers_with_underscores_action="ALLOW", idle_timeout="5s"),
    {"max_request_headers_kb": 96, "add_user_agent": False},
    {"http2_protocol_options": {"max_concurrent_streams": 100, "allow_connect": True}},
    {"server_name": "istio-envoy", "use_remote_address": True, "xff_num_trusted_hops": 1, "skip_xff_append": True},
]


@pytest.mark.parametrize("model", [ConnectionManager, HttpCommon, Http2])
def test_each_field_has_one_verdict(model):
    served = [name for table in (OBEYED, HARMLESS) for names in table[model].values() for name in names]
    assert Counter([*served, *CLOSES[model]]) == Counter(field.name for field in fields(model))


def test_each_field_that_may_close_a_chain_has_a_case():
    named = " ".join(what for what, _ in CLOSING)
    shown = {
        "routes": "route_config",
        "left_out": "unreadable fields",
        "http2_protocol_options": "",
    }  # nothing of it does
    assert [name for table in CLOSES.values() for name in table if shown.get(name, name) not in named] == []


def refusal(*filters, **manager):
    port = chains_for_port(listener(plaintext_chain(*filters, **manager)), 80)
    [chain] = port.chains
    return Demands(None).of(port, chain).refusal


@pytest.mark.parametrize("filters", [(), (DENY,)], ids=["no filters", "a policy"])
@pytest.mark.parametrize(("what", "said"), CLOSING, ids=[what for what, _ in CLOSING])
def test_what_nobody_obeys_closes_the_chain_by_name(what, said, filters):
    assert f"its connection manager's {what}" in refusal(*filters, **said)


@pytest.mark.parametrize("said", SERVED, ids=str)
def test_what_is_done_anyhow_does_not(said):
    assert refusal(DENY, **said) == ""


def test_what_istiod_sends_does_not():
    sent = {name: parse(kind, name, kind.value, data).value() for kind, name, data in captured("sidecar-LDS.json")}
    managers = [chain.http for chain in sent["virtualInbound"].filter_chains if chain.http is not None]
    assert managers
    assert {settings_not_carried_out(manager) for manager in managers} == {""}


@pytest.fixture(params=["sync", "aio"])
def our_world(request):
    world = MeshWorld(request.param)
    yield world
    world.close()


def test_servers_let_nobody_in_who_may_send_what_they_cannot_refuse(our_world, caplog):
    mesh = Mesh(plaintext=True)
    address = our_world.serve_in(mesh, listener(plaintext_chain()))
    old = our_world.connect(address)
    hello(old, metadata=[("x_user", "ann")])
    mesh.inbound.set(listener(plaintext_chain(**common(headers_with_underscores_action="REJECT_REQUEST"))))
    assert old.call("unary", request("Ann")).code is grpc.StatusCode.PERMISSION_DENIED
    refused(our_world.connect(address))
    assert "headers_with_underscores_action (REJECT_REQUEST)" in caplog.text
    mesh.inbound.set(listener(plaintext_chain()))
    hello(our_world.connect(address))
