"""What is remembered of tokens, and what is asked anew on each call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from rpc.authorization.jwt import faults, provider
from rpc.authorization.jwt.keys import read_keys
from rpc.authorization.jwt.provider import Provider, Verified, sanitised
from rpc.authorization.jwt.token import LONGEST, read_token
from tests.rpc.authorization.tokens import EC_256, ISSUER, NOW, RSA_1, jwks
from xds_client.model import JwtProvider

SAID = JwtProvider(issuer=ISSUER, forward=True)


@dataclass
class Keys:
    """A source whose keys may change."""

    current: object

    def when_known(self, callback):
        callback()


@pytest.fixture
def keys():
    return Keys(read_keys(jwks(EC_256.jwk(), RSA_1.jwk()).encode()))


@pytest.fixture
def good(keys):
    return Provider(SAID, keys)


def test_a_token_is_verified_once(good):
    token = EC_256.token("ES256").encode()
    first = good.judge(token, NOW)
    assert isinstance(first, Verified)
    assert good.judge(bytes(bytearray(token)), NOW) is first


def test_a_token_that_was_verified_expires(good):
    token = EC_256.token("ES256", exp=NOW + 10, nbf=NOW - 100).encode()
    assert isinstance(good.judge(token, NOW), Verified)
    assert isinstance(good.judge(token, NOW + 70), Verified)
    assert good.judge(token, NOW + 71) == faults.EXPIRED
    assert good.judge(token, NOW - 161) == faults.NOT_YET_VALID


def test_a_token_that_was_verified_is_asked_for_its_audience(good):
    token = EC_256.token("ES256", aud="a").encode()
    assert isinstance(good.judge(token, NOW), Verified)
    assert isinstance(good.judge(token, NOW, sanitised(["a"])), Verified)
    assert good.judge(token, NOW, sanitised(["b"])) == faults.AUDIENCE_NOT_ALLOWED


def test_other_keys_verify_again(good, keys):
    token = EC_256.token("ES256").encode()
    first = good.judge(token, NOW)
    keys.current = read_keys(jwks(EC_256.jwk()).encode())
    second = good.judge(token, NOW)
    assert isinstance(second, Verified)
    assert second is not first
    keys.current = read_keys(jwks(RSA_1.jwk()).encode())
    assert good.judge(token, NOW) == faults.NO_SUCH_KEY
    keys.current = None
    assert good.judge(token, NOW) == faults.FETCH_FAILED


def test_one_provider_knows_nothing_of_anothers_tokens(good, keys):
    token = EC_256.token("ES256").encode()
    good.judge(token, NOW)
    assert Provider(replace(SAID, issuer="other"), keys).judge(token, NOW) == faults.UNKNOWN_ISSUER


def test_only_so_many_are_remembered_and_no_long_one(good, monkeypatch):
    monkeypatch.setattr(provider, "_REMEMBERED", 3)
    tokens = [EC_256.token("ES256", sub=str(number)).encode() for number in range(5)]
    verified = [good.judge(token, NOW) for token in tokens]
    assert good.judge(tokens[4], NOW) is verified[4]
    assert good.judge(tokens[0], NOW) is not verified[0]
    assert len(good._verified) == 3
    long = EC_256.token("ES256", x="a" * 5000).encode()
    assert isinstance(good.judge(long, NOW), Verified)
    assert long not in good._verified


def test_bad_tokens_are_not_remembered(good):
    for token in (b"garbage", EC_256.token("ES256", exp=1).encode(), EC_256.token("ES256").encode()[:-4] + b"AAAA"):
        assert not isinstance(good.judge(token, NOW), Verified)
    assert good._verified == {}


def test_a_token_of_a_megabyte_costs_nothing(good):
    assert len(RSA_1.token("RS256", x="a" * LONGEST)) > LONGEST
    assert good.judge(RSA_1.token("RS256", x="a" * LONGEST).encode(), NOW) == faults.BAD_FORMAT
    assert read_token(b"." * 2**20) == faults.BAD_FORMAT


def test_a_claim_that_no_header_can_hold_refuses_the_call_as_envoy_does(keys):
    said = replace(SAID, claim_to_headers=(("X-Sub", "sub"),))
    for sub in ("a\nb", "a\rb", "a\0b", "a\x7fb"):
        fault = Provider(said, keys).judge(EC_256.token("ES256", sub=sub).encode(), NOW)
        assert fault == faults.Fault("invalid header value for: x-sub", 14)
    assert isinstance(Provider(said, keys).judge(EC_256.token("ES256", sub="a\tb").encode(), NOW), Verified)
