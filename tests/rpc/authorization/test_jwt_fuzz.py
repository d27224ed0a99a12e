"""Whatever stands where a token, a key set or a request belongs: it is refused, and nothing is raised."""

from __future__ import annotations

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpc.authorization.decision import Refusal
from rpc.authorization.jwt.faults import Fault
from rpc.authorization.jwt.keys import KeySet, NoKeysError, read_keys
from rpc.authorization.jwt.outputs import header_value, normalised
from rpc.authorization.jwt.text import read_object, unescape
from rpc.authorization.jwt.token import read_token
from rpc.authorization.request import Request
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.authorization.jwt_cases import KEYS, envoy_config, rule
from tests.rpc.authorization.test_jwt import METADATA, step
from tests.rpc.authorization.tokens import EC_256, ED, HS, NOW, RSA_1, b64, good_claims, jwks

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOOD = [RSA_1.token("RS256").encode(), EC_256.token("ES256").encode(), ED.token("EdDSA").encode()]
PLACES = rule(
    fromHeaders=[{"name": "authorization", "prefix": "Bearer "}, {"name": "x-token"}],
    fromParams=["t"],
    fromCookies=["c"],
    outputPayloadToHeader="x-payload",
    forwardOriginalToken=None,
)
STEP = step(envoy_config((PLACES,)))
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
names = st.sampled_from(
    ["alg", "kid", "iss", "sub", "exp", "nbf", "iat", "aud", "jti", "kty", "crv", "n", "e", "x", "y", "k"]
)
objects = st.dictionaries(
    names | st.text(max_size=5), json_values | st.sampled_from(["RS256", "RSA", "EC", "OKP", "AQAB"]), max_size=8
)


def decided(value, where="authorization"):
    head = FakeHead("/p" if where != "path" else value.decode("latin-1"), [] if where == "path" else [(where, value)])
    decision = STEP(Request(head))
    assert decision is None or isinstance(decision, Refusal)
    return head, decision


@many
@given(st.binary(max_size=300), st.sampled_from(["authorization", "x-token", "cookie"]))
def test_any_bytes_in_any_place(value, where):
    decided(value, where)
    decided(b"Bearer " + value, where)
    decided(b"c=" + value, where)


@many
@given(st.text(max_size=200))
def test_any_path(path):
    decided(f"/p?{path}".encode(), "path")
    decided(f"/p?t={path}".encode(), "path")


@many
@given(st.sampled_from(GOOD), st.data())
def test_a_good_token_that_was_changed_says_nothing_new(token, data):
    """Either it is refused, or it is the same token in another spelling (padding, white space, unused bits)."""
    at = data.draw(st.integers(0, len(token) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "insert", "cut", "double"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = {
        "change": token[:at] + byte + token[at + 1 :],
        "drop": token[:at] + token[at + 1 :],
        "insert": token[:at] + byte + token[at:],
        "cut": token[:at],
        "double": token + token[at:],
    }[kind]
    head, decision = decided(changed, "x-token")
    if decision is None:
        found = head.dynamic_metadata[METADATA]["payload"]
        assert found == json.loads(unescape(token.split(b".")[1]))
        assert [one for one in changed.split(b".") if one][:2] == token.split(b".")[:2], "what is signed is as it was"


@many
@given(objects, objects, st.binary(max_size=80))
def test_any_header_and_claims(header, claims, signature):
    text = ".".join((b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature))).encode()
    found = read_token(text)
    if not isinstance(found, Fault):
        assert read_keys(KEYS.encode()).not_signed(found) is not None


@many
@given(objects)
def test_any_claims_well_signed(claims):
    head, decision = decided(HS.token("HS256", {**claims}).encode(), "x-token")
    assert decision is not None, "it is no key of the rule's"
    keys = step(envoy_config((rule(jwks=jwks(HS.jwk())),)))
    head = FakeHead(headers=[("authorization", f"Bearer {HS.token('HS256', {**claims, **good_claims()})}")])
    found = keys(Request(head))
    assert found is None or "Jwt" in found.details


@many
@given(st.binary(max_size=200))
def test_any_bytes_as_json_and_keys(text):
    found = read_object(text)
    assert found is None or isinstance(found, dict)
    with contextlib.suppress(NoKeysError):
        assert isinstance(read_keys(text), KeySet)


@many
@given(st.lists(objects, max_size=2))
def test_any_key_set(keys):
    try:
        found = read_keys(json.dumps({"keys": keys}).encode())
    except NoKeysError:
        return
    token = read_token(RSA_1.token("RS256", exp=NOW + 60).encode())
    assert found.not_signed(token) is not None


@many
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.text(max_size=10))
def test_any_claims_have_a_header_value(claims, path):
    assert isinstance(header_value(claims, path), str)
    assert normalised(claims, list(claims)).keys() == claims.keys()
