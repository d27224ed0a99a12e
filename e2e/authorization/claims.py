"""The table's rows by what a token says of its bearer: requestPrincipals and the keys request.auth.*."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from e2e import yamls
from e2e.authorization.cases import (
    GUARDED,
    NOBODY,
    allow,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
    source,
    unauthenticated,
    when,
)
from e2e.authorization.documented import CONDITIONS, SOURCE

REQUIRE = "https://istio.io/latest/docs/tasks/security/authentication/authn-policy/#require-a-valid-token"
ISSUER = "https://issuer.example.com"

_KEY = ec.generate_private_key(ec.SECP256R1())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwks() -> str:
    numbers = _KEY.public_key().public_numbers()
    x, y = (_encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "one", "x": x, "y": y}]})


def token(**claims: Any) -> str:
    """Of `ISSUER` and for ``alice``, unless the claims say otherwise."""
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "alice", "iat": now, "exp": now + 36_000} | claims
    parts = [json.dumps(part).encode() for part in ({"alg": "ES256", "kid": "one", "typ": "JWT"}, claims)]
    signed = ".".join(_encode(part) for part in parts)
    r, s = decode_dss_signature(_KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def bearing(**claims: Any) -> dict[str, Any]:
    """Of a request: such a token."""
    return {"headers": (("authorization", f"Bearer {token(**claims)}"),)}


_FORGED = {"headers": (("authorization", f"Bearer {token()[:-6]}AAAAAA"),)}

AUTHENTICATION = yamls.resource(
    "RequestAuthentication",
    "issuer",
    {"selector": {"matchLabels": GUARDED}, "jwtRules": [{"issuer": ISSUER, "jwks": _jwks()}]},
) | {"apiVersion": "security.istio.io/v1"}

_PRINCIPALS = [
    policies(
        "request-principals-exact",
        f"{SOURCE}: the request identity is in the format of <ISS>/<SUB>",
        [AUTHENTICATION, allow(rule(source(requestPrincipals=[f"{ISSUER}/alice"])))],
        let_in("the one", **bearing()),
        let_in("the one in plaintext", by=NOBODY, **bearing()),
        refused("another subject", **bearing(sub="bob")),
        refused("a longer subject", **bearing(sub="alice2")),
        refused("no token"),
        unauthenticated("a forged one", **_FORGED),
    ),
    policies(
        "request-principals-prefix",
        f"{SOURCE}: request principals; any string field supports prefix match",
        [AUTHENTICATION, allow(rule(source(requestPrincipals=[f"{ISSUER}/al*"])))],
        let_in("begins so", **bearing()),
        refused("does not", **bearing(sub="bob")),
    ),
    policies(
        "request-principals-suffix",
        f"{SOURCE}: request principals; any string field supports suffix match",
        [AUTHENTICATION, allow(rule(source(requestPrincipals=["*/alice"])))],
        let_in("ends so", **bearing()),
        refused("does not", **bearing(sub="malice")),
    ),
    policies(
        "request-principals-presence",
        f"{REQUIRE}: requestPrincipals: [*]",
        [AUTHENTICATION, allow(rule(source(requestPrincipals=["*"])))],
        let_in("any", **bearing(sub="bob")),
        refused("no token"),
        refused("a token without a subject", **bearing(sub="")),
        unauthenticated("a forged one", **_FORGED),
    ),
    policies(
        "deny-without-a-token",
        f"{REQUIRE}: DENY with notRequestPrincipals: [*]",
        [AUTHENTICATION, deny(rule(source(notRequestPrincipals=["*"]), operation(paths=["/private*"])))],
        let_in("any", path="/private", **bearing()),
        refused("no token", path="/private"),
        let_in("no token, elsewhere", path="/public"),
    ),
    policies(
        "not-request-principals",
        f"{SOURCE}: a list of negative match of request identities",
        [AUTHENTICATION, allow(rule(source(notRequestPrincipals=[f"{ISSUER}/bob"])))],
        let_in("another", **bearing()),
        refused("the one", **bearing(sub="bob")),
        let_in("no token"),
    ),
    policies(
        "authentication-alone",
        "https://istio.io/latest/docs/reference/config/security/request_authentication/: a request without credentials"
        " is accepted but will not have any authenticated identity",
        [AUTHENTICATION],
        let_in("a token", **bearing()),
        let_in("no token"),
        unauthenticated("a forged one", **_FORGED),
    ),
]

_KEYS = [
    policies(
        "when-request-principal",
        f"{CONDITIONS}: request.auth.principal",
        [AUTHENTICATION, allow(rule(when("request.auth.principal", f"{ISSUER}/alice")))],
        let_in("the one", **bearing()),
        refused("another", **bearing(sub="bob")),
        refused("no token"),
    ),
    policies(
        "when-audiences",
        f"{CONDITIONS}: request.auth.audiences: the intended audience(s)",
        [AUTHENTICATION, allow(rule(when("request.auth.audiences", "shop", "web*")))],
        let_in("as a text", **bearing(aud="shop")),
        let_in("in a list", **bearing(aud=["x", "shop"])),
        let_in("by prefix", **bearing(aud=["website"])),
        refused("another", **bearing(aud="shopping")),
        refused("none", **bearing()),
    ),
    policies(
        "when-presenter",
        f"{CONDITIONS}: request.auth.presenter: the authorized presenter of the credential",
        [AUTHENTICATION, allow(rule(when("request.auth.presenter", "123.shop.example.com")))],
        let_in("the one", **bearing(azp="123.shop.example.com")),
        refused("another", **bearing(azp="124.shop.example.com")),
        refused("none", **bearing()),
    ),
    policies(
        "when-claim",
        f"{CONDITIONS}: request.auth.claims: claims from the origin JWT",
        [AUTHENTICATION, allow(rule(when("request.auth.claims[groups]", "staff", "*-admins")))],
        let_in("as a text", **bearing(groups="staff")),
        let_in("in a list", **bearing(groups=["guests", "staff"])),
        let_in("by suffix", **bearing(groups=["shop-admins"])),
        refused("another", **bearing(groups=["guests"])),
        refused("a number", **bearing(groups=7)),
        refused("an object", **bearing(groups={"staff": True})),
        refused("none", **bearing()),
        refused("no token"),
    ),
    policies(
        "when-not-claim",
        f"{CONDITIONS}: request.auth.claims",
        [AUTHENTICATION, deny(rule(when("request.auth.claims[groups]", not_values=("staff",))))],
        let_in("the one", **bearing(groups=["staff"])),
        refused("another", **bearing(groups=["guests"])),
        refused("none", **bearing()),
        refused("no token"),
    ),
    policies(
        "when-nested-claim",
        f"{CONDITIONS}: request.auth.claims; nested claims by more brackets",
        [AUTHENTICATION, allow(rule(when("request.auth.claims[realm][roles]", "admin")))],
        let_in("the one", **bearing(realm={"roles": ["user", "admin"]})),
        let_in("as a text", **bearing(realm={"roles": "admin"})),
        refused("another", **bearing(realm={"roles": ["user"]})),
        refused("elsewhere", **bearing(roles=["admin"])),
        refused("not an object", **bearing(realm=["roles", "admin"])),
    ),
    policies(
        "when-scope",
        f"{CONDITIONS}: request.auth.claims; scope is a list separated by spaces (RFC 8693)",
        [AUTHENTICATION, allow(rule(when("request.auth.claims[scope]", "read")))],
        let_in("alone", **bearing(scope="read")),
        let_in("among others", **bearing(scope="write read")),
        refused("a part of a word", **bearing(scope="readonly")),
    ),
    policies(
        "when-issuer-and-path",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/: the httpbin example",
        [AUTHENTICATION, allow(rule(operation(paths=["/data"]), when("request.auth.claims[iss]", ISSUER)))],
        let_in("both", path="/data", **bearing()),
        refused("no token", path="/data"),
        refused("another path", path="/info", **bearing()),
    ),
]

TABLE = [*_PRINCIPALS, *_KEYS]
