"""AuthorizationPolicies, obeyed by servers of both worlds: who is let in, and who is told what."""

from __future__ import annotations

import logging
import threading

import grpc
import pytest

from rpc.authorization import events
from tests.rpc.authorization.policies import (
    caller,
    exact,
    header,
    http_chain,
    network_rbac,
    path,
    plaintext_chain,
    policy,
    rbac,
    rules,
)
from tests.rpc.script import READ, greet, polite, request
from tests.rpc.tls.certificates import REVIEWS, SHOP, Authority
from tests.rpc.tls.ends import MeshWorld, hello, links, refused, until
from tests.rpc.tls.mesh import Mesh, listener

DENIED = (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")
HELLO = "/hello.Greeter/SayHello"


@pytest.fixture(scope="module")
def root():
    return Authority("the mesh")


@pytest.fixture(params=["sync", "aio"])
def our_world(request):
    world = MeshWorld(request.param)
    yield world
    world.close()


@pytest.fixture
def told():
    told = []
    events.report_to(told.append)
    yield told
    events.report_to(None)


class Ends:
    """A server of ours under these filters, and a client with a certificate."""

    def __init__(self, world, root, *filters, script=polite, **how):
        self.world, self.root = world, root
        self.mesh = Mesh(root.identity(REVIEWS))
        self.address = world.serve_in(self.mesh, listener(http_chain(*filters, **how)), script)
        self.client = self.caller(SHOP)

    def caller(self, name):
        return self.world.call_from(Mesh(self.root.identity(name)), self.address)

    def put(self, *filters, **how):
        self.mesh.inbound.set(listener(http_chain(*filters, **how)))


def denied(client, kind="unary", **how):
    answer = client.call(kind, request("Ann"), **how)
    assert (answer.code, answer.details) == DENIED


def test_only_who_is_named_may_call(our_world, root, told):
    ends = Ends(our_world, root, rbac(rules=rules(only_shop=policy(by=[caller(SHOP)]))))
    hello(ends.client)
    intruder = ends.caller("spiffe://cluster.local/ns/demo/sa/intruder")
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        denied(intruder, kind)
    event = told[0]
    assert (event.what, event.policy, event.path) == (events.What.DENIED, "", HELLO)
    assert event.principal == "spiffe://cluster.local/ns/demo/sa/intruder"
    assert event.why == "rbac_access_denied_matched_policy[none]"
    assert event.peer.startswith("ipv4:127.0.0.1:")
    assert len(told) == 4


def test_deny_comes_before_allow_and_is_told_by_the_name_of_its_rule(our_world, root, told):
    name = "ns[demo]-policy[no-hello]-rule[0]"
    deny = rbac(rules=rules("DENY", **{name: policy(path(exact=HELLO))}))
    ends = Ends(our_world, root, deny, rbac(rules=rules(all=policy())))
    denied(ends.client)
    assert ends.client.call("bidi", request("Ann")).code is grpc.StatusCode.OK
    assert [(event.policy, event.why) for event in told] == [(name, f"rbac_access_denied_matched_policy[{name}]")]


def test_rules_without_policies_are_allow_nothing_and_deny_nothing(our_world, root):
    ends = Ends(our_world, root, rbac(rules=rules("DENY")))
    hello(ends.client)
    ends.put(rbac(rules=rules()))
    denied(ends.client)
    ends.put(rbac())
    hello(ends.client)


def test_a_dry_run_is_counted_and_told_and_without_effect(our_world, root, told):
    shadow = rules("DENY", **{"ns[demo]-policy[dry]-rule[0]": policy()})
    ends = Ends(our_world, root, rbac(shadow_rules=shadow, shadow_rules_stat_prefix="istio_dry_run_deny_"))
    hello(ends.client)
    assert [(event.what, event.policy) for event in told] == [(events.What.DRY_RUN, "ns[demo]-policy[dry]-rule[0]")]


def test_what_is_audited_is_told_and_let_in(our_world, root, told):
    ends = Ends(our_world, root, rbac(rules=rules("LOG", seen=policy(path(prefix="/hello.")))))
    hello(ends.client)
    assert [(event.what, event.policy) for event in told] == [(events.What.AUDITED, "seen")]


def test_new_rules_hold_for_new_calls_on_the_connection_that_is_there(our_world, root):
    arrived = threading.Event()

    def script():
        arrived.set()
        asked = yield READ
        yield greet(asked)

    ends = Ends(our_world, root, rbac(rules=rules(all=policy())), script=script)
    hello(ends.client)
    had = links(ends.client)
    arrived.clear()
    stream = ends.client.begin("bidi")
    until(arrived.is_set)
    ends.put(rbac(rules=rules("DENY", all=policy())))
    denied(ends.client)
    ends.put(rbac(rules=rules(all=policy())))
    hello(ends.client)
    assert links(ends.client) == had
    stream.write(request("Ann"))
    stream.done_writing()
    assert stream.read().message == "Hello, Ann!"


def test_rules_that_nobody_can_carry_out_close_their_chain_by_name(our_world, root, caplog):
    ends = Ends(our_world, root)
    hello(ends.client)
    cel = {**policy(), "condition": {"id": 1, "const_expr": {"bool_value": True}}}
    ends.put(rbac(rules=rules(cel=cel)))
    # On the connection that is there too, and at once.
    answer = ends.client.call("unary", request("Ann"))
    assert answer.code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
    until(lambda: not links(ends.client))
    refused(ends.client)
    assert "policy cel has a condition in CEL" in caplog.text
    ends.put()
    hello(ends.caller(SHOP))


INVALID = {
    "missing )": policy(header("x", string_match={"safe_regex": {"regex": "("}})),
    "ports from 7 to below 7": policy({"destination_port_range": {"start": 7, "end": 7}}),
}


@pytest.mark.parametrize(("why", "wrong"), INVALID.items(), ids=INVALID)
def test_rules_that_envoy_would_not_take_leave_the_last_ones_in_force(our_world, root, caplog, why, wrong):
    ends = Ends(our_world, root, rbac(rules=rules("DENY", hello=policy(path(exact=HELLO)))))
    denied(ends.client)
    ends.put(rbac(rules=rules("DENY", wrong=wrong)))
    denied(ends.client)
    assert ends.client.call("bidi", request("Ann")).code is grpc.StatusCode.OK
    assert "the last one stays in force" in caplog.text
    assert why in caplog.text
    # Where there is no last one, nobody is let in.
    fresh = Mesh(root.identity(REVIEWS))
    address = our_world.serve_in(fresh, listener(http_chain(rbac(rules=rules("DENY", wrong=wrong)))))
    refused(our_world.call_from(Mesh(root.identity(SHOP)), address))


def test_headers_count_each_by_itself_and_names_without_case(our_world, root):
    deny = rules("DENY", x=policy(header("X-User", string_match=exact("eve"))))
    ends = Ends(our_world, root, rbac(rules=deny))
    hello(ends.client, metadata=[("x-user", "ann")])
    denied(ends.client, metadata=[("x-user", "ann"), ("x-user", "eve")])
    hello(ends.client, metadata=[("x-user", "ann,eve")])


def test_who_a_proxy_speaks_for_is_the_last_hop_that_is_trusted(our_world):
    remote = {"address_prefix": "192.0.2.0", "prefix_len": 24}
    deny = rbac(rules=rules("DENY", far=policy(by=[{"remote_ip": remote}])))
    mesh = Mesh(plaintext=True)
    address = our_world.serve_in(mesh, listener(plaintext_chain(deny)))
    client = our_world.connect(address)
    hello(client)
    denied(client, metadata=[("x-forwarded-for", "10.0.0.1, 192.0.2.7")])
    hello(client, metadata=[("x-forwarded-for", "192.0.2.7, 10.0.0.1")])
    mesh.inbound.set(listener(plaintext_chain(deny, xff_num_trusted_hops=1)))
    denied(client, metadata=[("x-forwarded-for", "192.0.2.7, 10.0.0.1")])
    denied(client, metadata=[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.1")])
    mesh.inbound.set(listener(plaintext_chain(deny, use_remote_address=True)))
    hello(client, metadata=[("x-forwarded-for", "192.0.2.7")])


def test_connections_are_refused_at_the_gate_and_calls_on_old_ones_too(our_world, caplog):
    caplog.set_level(logging.WARNING)
    here = {"address_prefix": "127.0.0.0", "prefix_len": 8}
    deny = network_rbac(rules=rules("DENY", here=policy(by=[{"direct_remote_ip": here}])))
    mesh = Mesh(plaintext=True)
    address = our_world.serve_in(mesh, listener(plaintext_chain()))
    old = our_world.connect(address)
    hello(old)
    mesh.inbound.set(listener(plaintext_chain(network=[deny])))
    denied(old)
    until(lambda: not links(old), "a connection that is not let in any more was kept")
    refused(our_world.connect(address))
    until(lambda: "rbac_access_denied_matched_policy[here]" in caplog.text)
    mesh.inbound.set(listener(plaintext_chain(network=[network_rbac(rules=rules("DENY"))])))
    hello(our_world.connect(address))


def test_denials_are_logged_once_a_second_with_the_number_of_the_others(our_world, root, caplog):
    ends = Ends(our_world, root, rbac(rules=rules()))
    events._lines._last = float("-inf")
    for _ in range(20):
        denied(ends.client)
    lines = [line for line in caplog.messages if line.startswith("denied:")]
    assert len(lines) < 20
    assert f"denied: {HELLO!r} by ipv4:127.0.0.1:" in lines[0]
    assert "no policy: rbac_access_denied_matched_policy[none]" in lines[0]
    events._lines._last = float("-inf")
    denied(ends.client)
    last = [line for line in caplog.messages if line.startswith("denied:")][-1]
    assert f"({20 - len(lines)} more since the last such line)" in last


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_what_a_pattern_cannot_decide_within_its_bound_is_refused_and_holds_nobody_up(our_world, root, told, action):
    evil = header("x", string_match={"safe_regex": {"regex": "(?:.*a.*){150}"}})
    other = policy({"not_rule": evil}) if action == "ALLOW" else policy(evil)
    ends = Ends(our_world, root, rbac(rules=rules(action, evil=other)))
    hello(ends.client, metadata=[("x", "a")])
    denied(ends.client, metadata=[("x", "a" * 40_000)])
    assert told[-1].why.startswith("rbac_access_denied_undecided")
    hello(ends.client, metadata=[("x", "a")])


def test_many_rules_on_headers_and_a_long_request_are_refused_and_hold_nobody_up(our_world, root, told):
    absent = [policy(*(header(f"x-{n}", string_match={"exact": "a"}) for n in range(10_000))) for _ in "ab"]
    ends = Ends(our_world, root, rbac(rules=rules("DENY", many=absent[0], more=absent[1])))
    hello(ends.client)
    denied(ends.client, metadata=[(f"y{number}", "1") for number in range(1_000)])
    assert told[-1].why.startswith("rbac_access_denied_undecided")
    hello(ends.client)


def test_an_audit_that_cannot_be_decided_denies_nobody(our_world, root):
    evil = header("x", string_match={"safe_regex": {"regex": "(?:.*a.*){150}"}})
    ends = Ends(our_world, root, rbac(rules=rules("LOG", evil=policy(evil))))
    hello(ends.client, metadata=[("x", "a" * 40_000)])


@pytest.mark.parametrize("filters", [(), (rbac(rules=rules("DENY")),)], ids=["without policies", "with policies"])
@pytest.mark.parametrize(
    ("details", "tls", "plain"),
    [
        ("SANITIZE", False, False),
        ("SANITIZE_SET", False, False),
        ("FORWARD_ONLY", True, False),
        ("APPEND_FORWARD", True, False),
        ("ALWAYS_FORWARD_ONLY", True, True),
    ],
)
def test_nobody_makes_up_a_certificate_that_was_forwarded(our_world, root, filters, details, tls, plain):
    """Handlers that were moved from behind a sidecar take the header for the caller's identity."""
    seen = []

    def script():
        asked = yield READ
        yield lambda context: seen.append(dict(context.invocation_metadata()))
        yield greet(asked)

    made_up = [("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/admin/sa/admin")]
    how = {"forward_client_cert_details": details}
    address = our_world.serve_in(Mesh(root.identity(REVIEWS)), listener(http_chain(*filters, **how)), script)
    hello(our_world.call_from(Mesh(root.identity(SHOP)), address), metadata=made_up)
    address = our_world.serve_in(Mesh(root.identity(REVIEWS)), listener(plaintext_chain(*filters, **how)), script)
    hello(our_world.connect(address), metadata=made_up)
    assert [made_up[0][0] in headers for headers in seen] == [tls, plain]
