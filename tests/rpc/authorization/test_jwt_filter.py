"""The filter as a whole: what it cannot carry out closes the chain by name, and what a push leaves as it was."""

from __future__ import annotations

import pytest

from rpc.authorization.jwt import met as met_module
from rpc.authorization.jwt.filter import METADATA, compiled
from rpc.authorization.jwt.keys import read_keys
from rpc.authorization.program import CannotCarryOutError, Surroundings
from rpc.authorization.request import Request
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.authorization.jwt_cases import (
    BAD_SIGNATURE_BASE64,
    EXPIRED,
    FAILS,
    KEYS,
    NO_SUCH_KEY,
    bearer,
    envoy_config,
    provider,
    rule,
)
from tests.rpc.authorization.jwt_tree_cases import BAD, FIRST, GOOD, ONE, SECOND, any_of, by_path, config
from tests.rpc.authorization.test_jwt import step
from tests.rpc.authorization.test_jwt_provider import Keys
from tests.rpc.authorization.tokens import DAY, EC_256, ISSUER, NOW, RSA_1, RSA_2, jwks
from tests.xds_client.test_decode_listener import HTTP, a_chain
from tests.xds_client.test_decode_policies import configured

V3 = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3"


def with_keys(**source):
    without = {name: value for name, value in ONE[0].items() if name != "local_jwks"}
    return config(FIRST, {**without, **source})


PLAIN = {"uri": "http://a/b", "cluster": "c", "timeout": "1s"}
BY_HEADER = {"prefix": "/", "headers": [{"name": "a", "present_match": True}]}
NOT_CARRIED_OUT = {
    "subjects of provider 'p0'": config(FIRST, {**ONE[0], "subjects": {"prefix": "a"}}),
    "failed_status_in_metadata of provider 'p0'": config(FIRST, {**ONE[0], "failed_status_in_metadata": "x"}),
    "filter_state_rules": config(FIRST, *ONE, filter_state_rules={"name": "x", "requires": {"a": FIRST}}),
    "keys of provider 'p0' that do not stand in the configuration": with_keys(local_jwks={"filename": "/keys"}),
    "only https is fetched": with_keys(remote_jwks={"http_uri": PLAIN}),
    "a rule for": by_path({"match": {"safe_regex": {"regex": "/.*"}}, "requires": FIRST}),
    "a rule for RouteMatch": by_path({"match": BY_HEADER, "requires": FIRST}),
}
INVALID = {
    "required provider 'p1' is not configured": config({"provider_name": "p1"}, *ONE),
    "wrong requirement_name: other": by_path({"match": {"prefix": "/"}, "requirement_name": "other"}),
    "has invalid local jwks": config(FIRST, provider(rule(jwks="garbage"))),
}


@pytest.mark.parametrize("why", NOT_CARRIED_OUT)
def test_what_istiod_never_sends_closes_the_chain_by_name(why):
    with pytest.raises(CannotCarryOutError) as caught:
        step(NOT_CARRIED_OUT[why])
    assert why in str(caught.value)
    assert not caught.value.invalid


@pytest.mark.parametrize("why", INVALID)
def test_what_envoy_would_not_take_either_is_told_apart(why):
    with pytest.raises(CannotCarryOutError) as caught:
        step(INVALID[why])
    assert why in str(caught.value)
    assert caught.value.invalid


@pytest.mark.parametrize("place", ["table", "host", "route"])
def test_what_a_route_says_of_the_filter_closes_the_chain(place):
    said = {"typed_per_filter_config": {"jwt": {"@type": f"{V3}.PerRouteConfig", "disabled": True}}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "c"}, **(said if place == "route" else {})}
    host = {"name": "h", "domains": ["*"], "routes": [route], **(said if place == "host" else {})}
    table = {"name": "t", "virtual_hosts": [host], **(said if place == "table" else {})}
    manager = {"@type": HTTP["typed_config"]["@type"], "route_config": table}
    chain = a_chain(filters=[{"name": "http", "typed_config": manager}])
    value = configured("jwt_authn.v3.JwtAuthentication", **envoy_config((rule(),)))
    with pytest.raises(CannotCarryOutError, match="typed_per_filter_config"):
        compiled(value, Surroundings("jwt", chain.http))
    assert compiled(value, Surroundings("another", chain.http))


def test_the_same_configuration_pushed_again_leaves_tokens_verified():
    first = step(envoy_config((rule(),)))
    assert step(envoy_config((rule(),))) is first
    assert step(envoy_config((rule(audiences=["a"]),))) is not first


@pytest.mark.parametrize("missing", [None, "origin", "access-control-request-method", "method"])
def test_a_browsers_question_before_a_request_needs_no_token(missing):
    headers = {"origin": "https://a", "access-control-request-method": "POST"}
    asked = [pair for pair in headers.items() if pair[0] != missing]
    head = FakeHead(headers=[*asked, *bearer(BAD)], method="POST" if missing == "method" else "OPTIONS")
    refusal = step(envoy_config((rule(),)))(Request(head))
    assert (refusal is None) is (missing is None)


def test_a_refusal_says_more_to_the_log_than_to_the_caller():
    silent = step(config(FIRST, *ONE, strip_failure_response=True))(Request(FakeHead()))
    assert (silent.details, silent.why, silent.headers) == ("", "jwt_authn_access_denied{Jwt_is_missing}", ())
    loud = step(config(FIRST, *ONE))(Request(FakeHead(headers=bearer(BAD))))
    assert (loud.details, loud.why) == (FAILS, "jwt_authn_access_denied{Jwt_verification_fails}")


def test_the_header_of_a_token_may_be_matched_too():
    head = FakeHead(headers=bearer(GOOD))
    said = {**ONE[0], "header_in_metadata": "head", "payload_in_metadata": "body"}
    assert step(config(FIRST, said))(Request(head)) is None
    found = head.dynamic_metadata[METADATA]
    assert found["head"] == {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}
    assert found["body"]["iss"] == ISSUER


@pytest.mark.parametrize("path", ["/a\xe9", "/a\n", "/" + "a" * 1000, '/"b'])
def test_a_challenge_can_stand_in_a_header_whatever_the_path(path):
    asked = FakeHead(path, [(":scheme", "http"), (":authority", "host")])
    [(name, challenge)] = step(config(FIRST, *ONE))(Request(asked)).headers
    assert name == "www-authenticate"
    assert challenge.startswith('Bearer realm="http://host/')
    assert challenge.isascii()
    assert challenge.isprintable()
    assert len(challenge) < 300


# ---- tokens that are met again


@pytest.fixture
def met():
    """A filter that has met `GOOD`, and asks for the time by hand."""
    decide = step(config(FIRST, {**ONE[0], "clock_skew_seconds": 7}))
    decide._clock = lambda: NOW
    for _ in range(2):
        assert decide(Request(FakeHead(headers=bearer(GOOD)))) is None
    assert len(decide._met._known) == 1
    return decide


def again(decide, *headers, path="/p"):
    refusal = decide(Request(FakeHead(path, [*bearer(GOOD), *headers])))
    return None if refusal is None else refusal.details


def test_a_token_that_was_met_expires(met):
    met._clock = lambda: NOW + DAY + 7
    assert again(met) is None
    met._clock = lambda: NOW + DAY + 8
    assert again(met) == EXPIRED


def test_a_token_that_was_met_is_verified_by_the_keys_that_hold_now(met):
    [passed] = met._met._known.values()
    passed.provider.keys = Keys(read_keys(jwks(RSA_2.jwk()).encode()))
    assert again(met) == NO_SUCH_KEY
    passed.provider.keys = Keys(read_keys(KEYS.encode()))
    assert again(met) is None


def test_what_else_a_request_shows_is_looked_at(met):
    assert again(met, ("authorization", "Basic x")) == BAD_SIGNATURE_BASE64
    assert again(met, path=f"/p?access_token={BAD}") == FAILS
    assert again(met, path="/p?a=b") is None


def test_only_so_many_are_known_again(met, monkeypatch):
    monkeypatch.setattr(met_module, "_MOST", 3)
    tokens = [EC_256.token("ES256", sub=str(number)) for number in range(6)]
    for token in tokens:
        assert met(Request(FakeHead(headers=bearer(token)))) is None
    assert len(met._met._known) == 3
    assert [*met._met._known] == [f"Bearer {token}".encode() for token in tokens[3:]]


@pytest.mark.parametrize(
    "said",
    [
        {"fromCookies": ["a"], "fromHeaders": [{"name": "x-a"}]},
        {"fromHeaders": [{"name": "x-a"}, {"name": "x-b"}]},
        {"fromParams": ["a"]},
    ],
)
def test_where_one_header_does_not_say_all_nothing_is_known_again(said):
    assert step(envoy_config((rule(**said),)))._met is None


def test_a_fault_that_time_may_mend_is_not_passed_over():
    """The first provider's token is not yet valid; as soon as it is, its claims are those that count."""
    early = RSA_1.token("RS256", nbf=NOW + 1000)
    first, second = ONE[0], {**ONE[0], "clock_skew_seconds": 5000}
    decide = step(config(any_of(FIRST, SECOND), {**first, "payload_in_metadata": "first"}, second))
    decide._clock = lambda: NOW
    found = []
    for now in (NOW, NOW, NOW + 1000):
        decide._clock = lambda now=now: now
        head = FakeHead(headers=bearer(early))
        assert decide(Request(head)) is None
        found += head.dynamic_metadata[METADATA]
    assert found == ["payload", "payload", "first"]
