"""CUSTOM by gRPC on the wire: a server of ours asks a service of either make before it lets anybody in."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time

import grpc
import pytest

from examples.hello.hello_pb2_grpc import GreeterStub
from rpc.authorization import events
from rpc.authorization.clusters import channel_to
from rpc.authorization.ext_authz import filter as ext_authz
from tests.rpc.authorization.authorizers import allow, deny, header
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.mesh import Mesh as MeshOfOurs
from tests.rpc.script import PATIENCE, READ, greet, polite, request
from tests.rpc.tls.ends import hello, until
from tests.rpc.tls.mesh import MUTUAL, Mesh, chain, listener
from xds_client import Bootstrap, PilotExchanger

CLUSTER = "outbound|9000||authorizer.demo.svc.cluster.local"
DENIED = grpc.StatusCode.PERMISSION_DENIED


def asks(**how):
    """An inbound listener whose one chain asks; what is said replaces parts of the filter."""
    return listener(chain("plaintext", http_filters=http_filters(authz=config_of(**how))))


def config_of(**how):
    how.setdefault("timeout", f"{PATIENCE}s")
    service = {"envoy_grpc": {"cluster_name": CLUSTER, "authority": "authorizer.test"}, "timeout": how.pop("timeout")}
    return {"@type": f"{V3}.ext_authz.v3.ExtAuthz", "grpc_service": service, "transport_api_version": "V3", **how}


def serve(world, authorizer, script=polite, address=None, **how):
    """A client of a server of ours that asks the authorizer."""
    mesh = Mesh(plaintext=True).dials(address or authorizer.address, tls=None)
    return world.connect(world.serve_in(mesh, asks(**how), script))


def seen(metadata):
    """A script: put down the call's metadata, and answer."""

    def script():
        asked = yield READ
        yield lambda context: metadata.append([(key, value) for key, value in context.invocation_metadata()])
        yield greet(asked)

    return script


@pytest.mark.parametrize("authorizer", ["ours", "grpcio"], indirect=True)
@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_who_is_let_in_is_the_services_word(our_world, authorizer, kind):
    served = []
    authorizer.answers = lambda check: (
        deny() if check.attributes.request.http.headers.get("x-user") == "eve" else allow()
    )
    client = serve(our_world, authorizer, script=seen(served))
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    answer = client.call(kind, request("Eve"), metadata=[("x-user", "eve")])
    assert (answer.code, answer.details) == (DENIED, "")
    assert len(served) == 1


@pytest.mark.parametrize("authorizer", ["ours", "grpcio"], indirect=True)
def test_the_service_is_told_what_envoy_tells_it(our_world, authorizer):
    client = serve(our_world, authorizer)
    client.call("unary", request("Ann"), metadata=[("x-two", "a"), ("x-two", "b"), ("x-auth-bin", b"\xff\x00")])
    told = authorizer.asked[0].attributes
    http = told.request.http
    assert (http.method, http.path, http.scheme, http.protocol) == ("POST", "/hello.Greeter/SayHello", "http", "HTTP/2")
    assert http.headers["x-two"] == "a,b"
    assert http.headers["x-auth-bin"].rstrip("=") == "/wA"
    assert http.headers[":path"] == http.path
    assert http.headers["content-type"] == "application/grpc"
    assert http.host == http.headers[":authority"] != ""
    assert not http.body
    assert http.id
    assert told.source.address.socket_address.address == "127.0.0.1"
    assert told.source.address.socket_address.port_value > 0
    assert told.destination.address.socket_address.port_value > 0
    assert told.source.principal == told.destination.principal == ""
    assert abs(told.request.time.seconds - time.time()) < PATIENCE


def test_a_caller_s_certificate_is_its_principal_and_nobody_makes_one_up(our_world, authorizer, reviews, shop):
    mesh = Mesh(reviews)
    config = asks(include_peer_certificate=True)
    held = chain("strict", tls=MUTUAL, transport="tls", http_filters=config.filter_chains[0].http_filters)
    server = our_world.serve_in(mesh, listener(held))
    mesh.dials(authorizer.address, tls=None)
    ours = Mesh(shop)
    client = our_world.call_from(ours, server)
    hello(client, metadata=[("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/demo/sa/admin")])
    told = authorizer.asked[0].attributes
    assert told.source.principal == shop.spiffe_id
    assert told.destination.principal == reviews.spiffe_id
    assert told.source.certificate.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert "x-forwarded-client-cert" not in told.request.http.headers


def test_only_headers_that_may_be_told_are_told(our_world, authorizer):
    allowed = {"patterns": [{"exact": ":path"}, {"prefix": "x-"}]}
    client = serve(our_world, authorizer, allowed_headers=allowed, disallowed_headers={"patterns": [{"exact": "x-no"}]})
    hello(client, metadata=[("x-yes", "1"), ("x-no", "1"), ("other", "1")])
    assert sorted(authorizer.asked[0].attributes.request.http.headers) == [":path", "x-yes"]


@pytest.mark.parametrize("authorizer", ["ours", "grpcio"], indirect=True)
def test_what_the_service_changes_the_handler_and_the_caller_see(our_world, authorizer):
    authorizer.answers = lambda _: allow(
        headers=[header("x-user", "ann"), header("x-role", "more", append=True), header("x-none", "1", append=True)],
        headers_to_remove=["x-secret", ":path"],
        response_headers_to_add=[header("x-answer", "1"), header("x-answer", "2")],
    )
    metadata = []
    client = serve(our_world, authorizer, script=seen(metadata))
    sent = [("x-user", "admin"), ("x-user", "root"), ("x-role", "reader"), ("x-secret", "s")]
    answer = client.call("unary", request("Ann"), metadata=sent)
    assert answer.messages == ["Hello, Ann!"]
    assert sorted(pair for pair in metadata[0] if pair[0].startswith("x-")) == [
        ("x-role", "reader,more"),
        ("x-user", "ann"),
    ]
    assert answer.initial == [("x-answer", "1"), ("x-answer", "2")]


@pytest.mark.parametrize("authorizer", ["ours", "grpcio"], indirect=True)
@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "UNIMPLEMENTED"), (429, "UNAVAILABLE"),
     (503, "UNAVAILABLE"), (400, "INTERNAL"), (418, "UNKNOWN")],
)  # fmt: skip
def test_a_denial_is_the_answer_that_envoy_makes_of_it(sync_world, authorizer, status, code):
    headers = [header("x-why", "no"), header("X-Why", "never"), header("connection", "close"), header("bad name", "1")]
    authorizer.answers = lambda _: deny(status={"code": status}, body="go away, ü", headers=headers)
    answer = serve(sync_world, authorizer).call("unary", request("Ann"))
    assert (answer.code.name, answer.details) == (code, "go away, ü")
    assert answer.trailing == [("x-why", "no"), ("x-why", "never")]


def gone():
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def fails(check):
    raise ValueError(check)


BROKEN = {"hangs": ("0.2s", None), "is gone": ("30s", gone), "fails": ("30s", None), "answers nonsense": ("30s", None)}


@pytest.mark.parametrize("trouble", BROKEN)
def test_a_service_that_gives_no_answer_lets_nobody_in(our_world, authorizer, trouble, caplog):
    timeout, address = BROKEN[trouble]
    free = threading.Event()
    if trouble == "hangs":
        authorizer.answers = lambda _: free.wait(PATIENCE) and allow()
    elif trouble == "fails":
        authorizer.answers = fails
    elif trouble == "answers nonsense":
        authorizer.answers = Nonsense
    ext_authz._warnings._last = float("-inf")
    with caplog.at_level(logging.WARNING, "proxyless"):
        client = serve(our_world, authorizer, timeout=timeout, address=address() if address else None)
        answer = client.call("unary", request("Ann"))
    free.set()
    assert (answer.code, answer.details) == (DENIED, "")
    assert f"not let in: {CLUSTER} was asked and gave no answer" in caplog.text


class Nonsense:
    def __init__(self, _):
        pass

    def SerializeToString(self):  # noqa: N802 - protobuf's name
        return b"\xff\xff\xff\xff"


def test_what_a_failure_means_is_the_filter_s_word(our_world, authorizer):
    authorizer.answers = fails
    answer = serve(our_world, authorizer, status_on_error={"code": "ServiceUnavailable"}).call("unary", request("Ann"))
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    metadata = []
    opens = {"failure_mode_allow": True, "failure_mode_allow_header_add": True}
    hello(serve(our_world, authorizer, script=seen(metadata), **opens))
    assert ("x-envoy-auth-failure-mode-allowed", "true") in metadata[0]


def test_who_leaves_is_asked_about_no_longer(our_world, authorizer):
    free = threading.Event()
    authorizer.answers = lambda _: free.wait(PATIENCE) and allow()
    client = serve(our_world, authorizer)
    call = client.begin("unary", request("Ann"))
    until(lambda: authorizer.asked)
    call.cancel()
    until(lambda: not authorizer.contexts[0].is_active())
    free.set()
    hello(client)


def test_so_many_are_asked_about_at_a_time_and_the_others_are_refused(our_world, authorizer, monkeypatch):
    monkeypatch.setattr(ext_authz, "MOST_CHECKS", 2)
    free = threading.Event()
    authorizer.answers = lambda _: free.wait(PATIENCE) and allow()
    client = serve(our_world, authorizer)
    calls = [client.begin("unary", request("Ann")) for _ in range(2)]
    until(lambda: len(authorizer.asked) == 2)
    assert client.call("unary", request("Eve")).code is DENIED
    free.set()
    assert [call.code() for call in calls] == [grpc.StatusCode.OK] * 2
    hello(client)


def test_a_server_that_is_to_ask_itself_refuses_and_ends(our_world, authorizer, monkeypatch):
    monkeypatch.setattr(ext_authz, "MOST_CHECKS", 8)
    mesh = Mesh(plaintext=True)
    address = our_world.serve_in(mesh, asks(timeout="10s"))
    mesh.dials(address, tls=None)
    assert our_world.connect(address).call("unary", request("Ann")).code is DENIED


def test_others_are_served_while_a_service_hangs(our_world, authorizer):
    free = threading.Event()

    def answers(check):
        if check.attributes.request.http.headers.get("x-slow"):
            free.wait(PATIENCE)
        return allow()

    authorizer.answers = answers
    client = serve(our_world, authorizer)
    slow = client.begin("unary", request("Ann"), metadata=[("x-slow", "1")])
    for _ in range(20):
        hello(client)
    free.set()
    assert slow.code() is grpc.StatusCode.OK


def test_a_cluster_s_name_leads_through_the_mesh_past_its_routes(tmp_path):
    with contextlib.ExitStack() as stack:
        mesh = MeshOfOurs(tmp_path)
        mesh.plane.start()
        stack.callback(mesh.close)
        settings = {name: value for name, value in mesh.environment.items() if name.startswith("PROXYLESS_")}
        exchanger = stack.enter_context(PilotExchanger(Bootstrap.load(settings)))
        name = "outbound|9080||reviews.demo.svc.cluster.local"
        stub = GreeterStub(channel_to(name, exchanger, "reviews.test"))
        assert stub.SayHello(request("Ann"), timeout=PATIENCE).message == "Hello, one!"
        with pytest.raises(grpc.RpcError, match=r"outbound\|1\|\|nobody"):
            GreeterStub(channel_to("outbound|1||nobody", exchanger, "nobody")).SayHello(request(), timeout=PATIENCE)


def with_shadow_rules(**how):
    """As istiod has a CUSTOM policy: rules that deny nobody say whom the service is asked about; others follow."""
    asked = {"permissions": [{"url_path": {"path": {"suffix": "SayHello"}}}], "principals": [{"any": True}]}
    denied = {
        "permissions": [{"header": {"name": "x-user", "string_match": {"exact": "root"}}}],
        "principals": [{"any": True}],
    }
    found = {
        "filter": "envoy.filters.http.rbac",
        "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
        "value": {"string_match": {"prefix": "istio-ext-authz"}},
    }
    rbac = f"{V3}.rbac.v3.RBAC"
    shadow = {"action": "DENY", "policies": {"istio-ext-authz-ns[demo]-policy[p]-rule[0]": asked}}
    return listener(
        chain(
            "plaintext",
            http_filters=http_filters(
                shadow={"@type": rbac, "shadow_rules": shadow, "shadow_rules_stat_prefix": "istio_ext_authz_"},
                authz=config_of(filter_enabled_metadata=found, **how),
                rbac={"@type": rbac, "rules": {"action": "DENY", "policies": {"ns[demo]-policy[d]-rule[0]": denied}}},
            ),
        )
    )


def test_a_custom_policy_of_istiods_asks_about_what_it_selects_and_rules_see_what_is_answered(our_world, authorizer):
    told = []
    events.report_to(told.append)
    try:
        mesh = Mesh(plaintext=True).dials(authorizer.address, tls=None)
        client = our_world.connect(our_world.serve_in(mesh, with_shadow_rules()))
        assert client.call("bidi", request("Ann")).messages == ["Hello, Ann!"]
        assert authorizer.asked == []
        hello(client)
        assert len(authorizer.asked) == 1
        authorizer.answers = lambda _: deny()
        assert client.call("unary", request("Ann")).code is DENIED
        authorizer.answers = lambda _: allow(headers=[header("x-user", "root")])
        assert client.call("unary", request("Ann")).details == "RBAC: access denied"
    finally:
        events.report_to(None)
    denials = [(event.policy, event.why.partition("[")[0]) for event in told if event.what is events.What.DENIED]
    assert denials == [("", "ext_authz_denied"), ("ns[demo]-policy[d]-rule[0]", denials[1][1])]
