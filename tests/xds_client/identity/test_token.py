"""What a token says of itself, and that nothing else of it is said."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from xds_client.identity.token import Token

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def token(claims):
    body = base64.urlsafe_b64encode(claims if isinstance(claims, bytes) else json.dumps(claims).encode()).decode()
    return Token(f"header.{body.rstrip('=')}.signature", "/token")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        (
            {"sub": "system:serviceaccount:demo:shop", "aud": ["istio-ca"], "exp": NOW.timestamp() + 60},
            "of 'system:serviceaccount:demo:shop', for audience ['istio-ca'], valid until 2030-01-01T00:01:00+00:00",
        ),
        ({"sub": "x", "aud": "y", "exp": NOW.timestamp()}, "of 'x', for audience 'y', expired 2030-01-01T00:00:00+00"),
        ({"iss": "z"}, "of 'nobody', for audience 'none')"),
        ({"sub": 1, "exp": "soon"}, "of 1, for audience 'none')"),
        ({"sub": 1, "exp": 1e300}, "of 1, for audience 'none')"),
        ([1], "which is no JWT"),
        (b"\xff", "which is no JWT"),
        (b"[" * 100_000, "which is no JWT"),
    ],
)
def test_claims(claims, said):
    described = token(claims).describe(NOW)
    assert described.startswith("token /token (")
    assert said in described


def test_no_jwt():
    assert Token("opaque", "/token").describe(NOW) == "token /token (which is no JWT)"
    assert Token("a.b.c", "/token").claims() == {}


@pytest.mark.parametrize(
    ("subject", "account"),
    [("system:serviceaccount:demo:shop", "shop"), ("system:node:n", ""), ("me", ""), ("a:b:c:d:e", "")],
)
def test_the_service_account(subject, account):
    assert token({"sub": subject}).service_account() == account
