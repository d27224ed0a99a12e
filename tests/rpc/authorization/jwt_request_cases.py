"""Cases of `jwt_cases` about requests: where tokens stand, several of them, audiences, and what goes on to handlers."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.rpc.authorization.jwt_cases import (
    BAD_FORMAT,
    BAD_SIGNATURE_BASE64,
    EXPIRED,
    FAILS,
    KEYS,
    NO_KEYS,
    UNKNOWN_ISSUER,
    WRONG_AUDIENCE,
    Case,
    Rule,
    bearer,
    rule,
)
from tests.rpc.authorization.tokens import (
    EC_256,
    ED,
    HS,
    ISSUER,
    OTHER_ISSUER,
    RSA_1,
    RSA_2,
    SMALL,
    Rsa,
    good_claims,
    jwks,
)

GOOD = RSA_1.token("RS256")
BAD = Rsa("rsa-1").token("RS256")
OTHER = RSA_1.token("RS256", iss=OTHER_ISSUER, sub="bob")
BAD_OTHER = Rsa("rsa-1").token("RS256", iss=OTHER_ISSUER)
PAYLOAD = GOOD.split(".")[1]
RULE = rule()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def audience(name: str, configured: list[str], said: object, refused: str = "") -> Case:
    return Case(
        f"audience: {name}", (rule(audiences=configured),), bearer(RSA_1.token("RS256", aud=said)), refused=refused
    )


def place(name: str, rules: Rule, *headers: tuple[str, str], refused: str = "", **more: Any) -> Case:
    return Case(f"place: {name}", (rules,), headers, refused=refused, **more)


def many(name: str, rules: tuple[Rule, ...], *headers: tuple[str, str], refused: str = "", **more: Any) -> Case:
    return Case(f"several: {name}", rules, headers, refused=refused, **more)


IN_HEADER = rule(fromHeaders=[{"name": "X-Token"}])
WITH_PREFIX = rule(fromHeaders=[{"name": "x-token", "prefix": "Token "}])
IN_PARAM = rule(fromParams=["jwt"])
IN_COOKIE = rule(fromCookies=["session"])
HIDDEN = rule(forwardOriginalToken=None)
OTHER_RULE = rule(issuer=OTHER_ISSUER)
OTHER_PLACE = rule(issuer=OTHER_ISSUER, fromHeaders=[{"name": "x-other"}])
BOTH = rule(fromHeaders=[{"name": "x-token"}, {"name": "x-other"}])
TO_HEADER = rule(outputPayloadToHeader="x-payload")


def claim_header(name: str, claim: str, seen: list[str], header: str = "x-claim", **said: object) -> Case:
    rules = rule(outputClaimToHeaders=[{"header": header, "claim": claim}])
    return Case(f"claim header: {name}", (rules,), bearer(RSA_1.token("RS256", **said)), seen={header: seen})


REQUEST_CASES = [
    # ---- audiences
    audience("the one", ["a"], "a"),
    audience("one of several", ["a", "b"], ["x", "b"]),
    audience("none of them", ["a", "b"], ["x", "y"], WRONG_AUDIENCE),
    audience("an empty list", ["a"], [], WRONG_AUDIENCE),
    audience("none said", ["a"], None, WRONG_AUDIENCE),
    audience("in another case", ["a"], "A", WRONG_AUDIENCE),
    audience("a part of it", ["service"], "serv", WRONG_AUDIENCE),
    audience("scheme in the token", ["example.com"], "https://example.com"),
    audience("scheme in the rule", ["http://example.com"], "example.com"),
    audience("other scheme", ["http://example.com"], "https://example.com/"),
    audience("slash in the rule", ["example.com/"], "example.com"),
    audience("two slashes are one too many", ["example.com"], "example.com//", WRONG_AUDIENCE),
    audience("a scheme nobody knows", ["example.com"], "ftp://example.com", WRONG_AUDIENCE),
    audience("rule of none takes any", [], "a"),
    audience("empty string", ["a"], "", WRONG_AUDIENCE),
    # ---- places
    place("a header", IN_HEADER, ("x-token", GOOD)),
    place("a header, bad", IN_HEADER, ("x-token", BAD), refused=FAILS),
    place("a header, and Authorization is not looked at", IN_HEADER, ("authorization", f"Bearer {BAD}")),
    place("a prefix", WITH_PREFIX, ("x-token", f"Token {GOOD}")),
    place("a prefix that is not there", WITH_PREFIX, ("x-token", BAD)),
    place("a prefix in another case", WITH_PREFIX, ("x-token", f"token {BAD}")),
    place("a prefix in the middle", WITH_PREFIX, ("x-token", f"My Token {GOOD}")),
    place("bearer in lower case is no token", RULE, ("authorization", f"bearer {BAD}")),
    place("Basic is no token", RULE, ("authorization", "Basic dXNlcjpwYXNz")),
    place("Bearer and nothing", RULE, ("authorization", "Bearer "), refused=BAD_FORMAT),
    place("Bearer with two spaces", RULE, ("authorization", f"Bearer  {GOOD}")),
    place(
        "Bearer in quotes",
        RULE,
        ("authorization", f'Bearer "{GOOD}'),
    ),
    place("something after the token", RULE, ("authorization", f"Bearer {GOOD} x"), refused=FAILS),
    place("a comma and a second token", RULE, ("authorization", f"Bearer {GOOD}, Bearer {BAD}"), refused=BAD_FORMAT),
    # Envoy makes one value of several of Authorization, with commas; of other headers each is looked at.
    place("Authorization twice, both good", RULE, *bearer(GOOD), *bearer(GOOD), refused=BAD_FORMAT),
    place(
        "Authorization twice, the second without a token",
        RULE,
        *bearer(GOOD),
        ("authorization", "Basic x"),
        refused=BAD_SIGNATURE_BASE64,
    ),
    place("a header twice, both good", IN_HEADER, ("x-token", GOOD), ("x-token", RSA_2.token("RS256"))),
    place("a header twice, the second bad", IN_HEADER, ("x-token", GOOD), ("x-token", BAD), refused=FAILS),
    place("a header twice, the first bad", IN_HEADER, ("x-token", BAD), ("x-token", GOOD), refused=FAILS),
    place(
        "a header twice, the second garbage", IN_HEADER, ("x-token", GOOD), ("x-token", "garbage"), refused=BAD_FORMAT
    ),
    place(
        "a header twice, both bad: the last is told of",
        IN_HEADER,
        ("x-token", "garbage"),
        ("x-token", BAD),
        refused=FAILS,
    ),
    place("a header twice, one with the prefix", WITH_PREFIX, ("x-token", BAD), ("x-token", f"Token {GOOD}")),
    place("an empty header", IN_HEADER, ("x-token", ""), refused=BAD_FORMAT),
    place("two places, the second bad", BOTH, ("x-token", GOOD), ("x-other", BAD), refused=FAILS),
    place("two places, the first bad", BOTH, ("x-token", BAD), ("x-other", GOOD), refused=FAILS),
    place(
        "two places, both bad: the last is told of", BOTH, ("x-token", "garbage"), ("x-other", BAD), refused=BAD_FORMAT
    ),
    place("access_token", RULE, query=f"access_token={GOOD}"),
    place("access_token, bad", RULE, query=f"access_token={BAD}", refused=FAILS),
    place("access_token, empty", RULE, query="access_token=", refused=BAD_FORMAT),
    place("Authorization and access_token", RULE, *bearer(GOOD), query=f"access_token={BAD}", refused=FAILS),
    place("a parameter", IN_PARAM, query=f"a=b&jwt={GOOD}&c=d"),
    place("a parameter, and Authorization is not looked at", IN_PARAM, *bearer(BAD)),
    place("a parameter twice: the first", IN_PARAM, query=f"jwt={GOOD}&jwt={BAD}"),
    place("a parameter twice: the first is bad", IN_PARAM, query=f"jwt={BAD}&jwt={GOOD}", refused=FAILS),
    place("a parameter in escapes", IN_PARAM, query=f"jwt={GOOD.replace('.', '%2E')}"),
    place("a parameter in another case", IN_PARAM, query=f"JWT={BAD}"),
    place("a cookie", IN_COOKIE, ("cookie", f"a=b; session={GOOD}; c=d")),
    place("a cookie, bad", IN_COOKIE, ("cookie", f"session={BAD}"), refused=FAILS),
    place("a cookie in quotes", IN_COOKIE, ("cookie", f'session="{GOOD}"')),
    place("a cookie twice: the first", IN_COOKIE, ("cookie", f"session={GOOD}; session={BAD}")),
    place("cookies in two headers", IN_COOKIE, ("cookie", "a=b"), ("cookie", f"session={BAD}"), refused=FAILS),
    # ---- what handlers see of the token
    place("forwarded", RULE, *bearer(GOOD), seen={"authorization": [f"Bearer {GOOD}"]}),
    place("not forwarded", HIDDEN, *bearer(GOOD), seen={"authorization": []}),
    place(
        "not forwarded: all values go",
        rule(fromHeaders=[{"name": "x-token", "prefix": "Token "}], forwardOriginalToken=None),
        ("x-token", f"Token {GOOD}"),
        ("x-token", "something else"),
        seen={"x-token": []},
    ),
    place(
        "not forwarded: what is no token stays",
        HIDDEN,
        ("authorization", "Basic x"),
        seen={"authorization": ["Basic x"]},
    ),
    place(
        "a cookie is forwarded in any case",
        rule(fromCookies=["session"], forwardOriginalToken=None),
        ("cookie", f"session={GOOD}"),
        seen={"cookie": [f"session={GOOD}"]},
    ),
    place(
        "a parameter is not forwarded",
        rule(fromParams=["jwt"], forwardOriginalToken=None),
        query=f"a=b&jwt={GOOD}&c=d",
        query_seen="a=b&c=d",
    ),
    place(
        "the only parameter is not forwarded",
        rule(fromParams=["jwt"], forwardOriginalToken=None),
        query=f"jwt={GOOD}",
        query_seen="",
    ),
    # ---- several rules
    many("the first's token", (RULE, OTHER_RULE), *bearer(GOOD), claims={"sub": "alice"}),
    many("the second's token", (RULE, OTHER_RULE), *bearer(OTHER), claims={"sub": "bob"}),
    many("no token", (RULE, OTHER_RULE)),
    many("a bad token of the first's", (RULE, OTHER_RULE), *bearer(BAD), refused=FAILS),
    many("a bad token of the second's", (RULE, OTHER_RULE), *bearer(BAD_OTHER), refused=FAILS),
    many("an expired token of the first's", (RULE, OTHER_RULE), *bearer(RSA_1.token("RS256", exp=1)), refused=EXPIRED),
    many(
        "an expired token of the second's",
        (RULE, OTHER_RULE),
        *bearer(RSA_1.token("RS256", iss=OTHER_ISSUER, exp=1)),
        refused=EXPIRED,
    ),
    many("garbage", (RULE, OTHER_RULE), *bearer("garbage"), refused=BAD_FORMAT),
    many("wrong audience for the first", (rule(audiences=["a"]), OTHER_RULE), *bearer(GOOD), refused=WRONG_AUDIENCE),
    many("of nobody's", (RULE, OTHER_RULE), *bearer(RSA_1.token("RS256", iss="x")), refused=UNKNOWN_ISSUER),
    many(
        "both tokens in one place",
        (IN_HEADER, rule(issuer=OTHER_ISSUER, fromHeaders=[{"name": "x-token"}])),
        ("x-token", GOOD),
        ("x-token", OTHER),
        refused=UNKNOWN_ISSUER,
    ),
    many("places apart, a bad one of its own", (RULE, OTHER_PLACE), ("x-other", BAD_OTHER), refused=FAILS),
    many(
        "places apart, the first bad, the second good",
        (RULE, OTHER_PLACE),
        *bearer(BAD),
        ("x-other", OTHER),
        claims={"sub": "bob"},
    ),
    many("places apart, both bad", (RULE, OTHER_PLACE), *bearer(BAD), ("x-other", BAD_OTHER), refused=FAILS),
    many(
        "places apart, both tokens' claims",
        (
            HIDDEN,
            rule(
                issuer=OTHER_ISSUER,
                fromHeaders=[{"name": "x-other"}],
                outputClaimToHeaders=[{"header": "x-claim", "claim": "sub"}],
            ),
        ),
        *bearer(GOOD),
        ("x-other", OTHER),
        seen={"x-claim": [], "authorization": [], "x-other": [OTHER]},
        claims={"sub": "alice"},
    ),
    many("places apart, both good", (RULE, OTHER_PLACE), *bearer(GOOD), ("x-other", OTHER)),
    many("places apart, the second bad", (RULE, OTHER_PLACE), *bearer(GOOD), ("x-other", BAD)),
    many("places apart, only a bad one", (RULE, OTHER_PLACE), ("x-other", BAD), refused=UNKNOWN_ISSUER),
    many("places apart, only a good one", (RULE, OTHER_PLACE), ("x-other", OTHER), claims={"sub": "bob"}),
    many(
        "places apart, swapped",
        (RULE, OTHER_PLACE),
        *bearer(OTHER),
        ("x-other", GOOD),
        refused=UNKNOWN_ISSUER,
    ),
    many(
        "same issuer, two key sets",
        (rule(jwks=jwks(RSA_2.jwk())), rule(jwks=jwks(RSA_1.jwk()))),
        *bearer(GOOD),
    ),
    # ---- claims to headers
    place("payload header", TO_HEADER, *bearer(GOOD), seen={"x-payload": [PAYLOAD]}),
    place(
        "payload header of the client's goes",
        TO_HEADER,
        *bearer(GOOD),
        ("x-payload", "forged"),
        seen={"x-payload": [PAYLOAD]},
    ),
    place("payload header without a token goes too", TO_HEADER, ("x-payload", "forged"), seen={"x-payload": []}),
    place(
        "payload header with two tokens",
        rule(fromHeaders=[{"name": "x-token"}], outputPayloadToHeader="x-payload"),
        ("x-token", GOOD),
        ("x-token", GOOD),
        seen={"x-payload": [PAYLOAD, PAYLOAD]},
    ),
    many(
        "header of the other rule goes too",
        (RULE, rule(issuer=OTHER_ISSUER, outputPayloadToHeader="x-payload")),
        *bearer(GOOD),
        ("x-payload", "forged"),
        seen={"x-payload": []},
    ),
    claim_header("a string", "sub", ["alice"]),
    claim_header("a whole number", "count", ["7"], count=7),
    claim_header("a big number", "count", ["9007199254740992"], count=9007199254740993),
    claim_header("a fraction", "count", ["1.500000"], count=1.5),
    claim_header("a negative number", "count", ["-3.000000"], count=-3),
    claim_header("past 64 bits", "count", ["100000000000000000000.000000"], count=10**20),
    claim_header("true", "flag", ["true"], flag=True),
    claim_header("false", "flag", ["false"], flag=False),
    claim_header("empty string", "word", [], word=""),
    claim_header("not there", "word", []),
    claim_header("a list of null", "word", [base64_of(b"[null]")], word=[None]),
    claim_header("nested", "a.b", ["c"], a={"b": "c"}),
    claim_header("nested in nothing", "a.b", [], a="c"),
    claim_header("a dot in its name", "a.b", [], **{"a.b": "c"}),
    claim_header("a list", "roles", [base64_of(b'["x","y"]')], roles=["x", "y"]),
    claim_header("an object", "thing", [base64_of(b'{"k":1}')], thing={"k": 1}),
    claim_header(
        "a list of odd characters",
        "thing",
        [base64_of(b'["~~~???\\u003e","\\u003c\\"\\\\"]')],
        thing=["~~~???>", '<"\\'],
    ),
    claim_header("a list beyond ASCII", "thing", [base64_of('["\u00fc"]'.encode())], thing=["\u00fc"]),
    claim_header("a list of numbers", "thing", [base64_of(b"[1,1.5,-2,1e+30]")], thing=[1, 1.5, -2, 1e30]),
    claim_header("a string beyond ASCII", "sub", ["\u00fc"], sub="\u00fc"),
    claim_header("a string with spaces around", "sub", [" a "], sub=" a "),
    Case(
        "claim header: null",
        (rule(outputClaimToHeaders=[{"header": "x-claim", "claim": "nothing"}]),),
        bearer(RSA_1.token("RS256", json.dumps({**good_claims(), "nothing": None}).encode())),
        seen={"x-claim": []},
    ),
    Case(
        "claim header: two tokens",
        (rule(fromHeaders=[{"name": "x-token"}], outputClaimToHeaders=[{"header": "x-claim", "claim": "sub"}]),),
        (("x-token", GOOD), ("x-token", RSA_1.token("RS256", sub="bob"))),
        seen={"x-claim": ["bob", "alice"]},
        claims={"sub": "alice"},
    ),
    Case(
        "claim header: to several",
        (rule(outputClaimToHeaders=[{"header": "x-a", "claim": "sub"}, {"header": "x-a", "claim": "iss"}]),),
        bearer(GOOD),
        seen={"x-a": ["alice", ISSUER]},
    ),
    Case(
        "claim header of the client''s goes",
        (rule(outputClaimToHeaders=[{"header": "x-claim", "claim": "sub"}]),),
        (*bearer(GOOD), ("x-claim", "forged")),
        seen={"x-claim": ["alice"]},
    ),
    Case(
        "claim header without the claim goes too",
        (rule(outputClaimToHeaders=[{"header": "x-claim", "claim": "nothing"}]),),
        (*bearer(GOOD), ("x-claim", "forged")),
        seen={"x-claim": []},
    ),
    # ---- claims to policies
    place("scope is a list", RULE, *bearer(RSA_1.token("RS256", scope="a b")), claims={"scope": ["a", "b"]}),
    place(
        "permission with spaces",
        RULE,
        *bearer(RSA_1.token("RS256", permission=" a  b ")),
        claims={"permission": ["a", "b"]},
    ),
    place("scope as a list stays", RULE, *bearer(RSA_1.token("RS256", scope=["a b"])), claims={"scope": ["a b"]}),
    place("scope of nothing", RULE, *bearer(RSA_1.token("RS256", scope="")), claims={"scope": ""}),
    place("scope of spaces", RULE, *bearer(RSA_1.token("RS256", scope="  ")), claims={"scope": "  "}),
    place(
        "own spaced claim",
        rule(spaceDelimitedClaims=["groups"]),
        *bearer(RSA_1.token("RS256", groups="a b")),
        claims={"groups": ["a", "b"]},
    ),
    place(
        "other claims keep their spaces", RULE, *bearer(RSA_1.token("RS256", groups="a b")), claims={"groups": "a b"}
    ),
    # ---- key sets
    place("an empty text for keys", rule(jwks=""), *bearer(GOOD), refused=NO_KEYS),
    place(
        "a key of an unknown kind beside a good one",
        rule(jwks=jwks({"kty": "XX"}, {}, RSA_1.jwk())),
        *bearer(GOOD),
        istiod=False,
    ),
    place("a key with a private part", rule(jwks=jwks(RSA_1.jwk(d="AAAA"))), *bearer(GOOD)),
    place(
        "use and key_ops are not looked at", rule(jwks=jwks(RSA_1.jwk(use="enc", key_ops=["encrypt"]))), *bearer(GOOD)
    ),
    place(
        "EC key without curve is P-256",
        rule(jwks=jwks(EC_256.jwk(crv=None))),
        *bearer(EC_256.token("ES256")),
        istiod=False,
    ),
    place("RSA of 1024 bits", rule(jwks=jwks(SMALL.jwk())), *bearer(SMALL.token("RS256"))),
]

# Key sets that Envoy takes no configuration with: by what is wrong.
BAD_KEY_SETS = {
    "keys are garbage": "garbage",
    "no keys": '{"keys": []}',
    "keys are no list": '{"keys": {}}',
    "a key twice in one object": KEYS.replace('"kty": "RSA"', '"kty": "oct", "kty": "RSA"'),
    "exponent of 3 is too rare a key to test: 5 is refused": jwks(RSA_1.jwk(e="BQ")),
    "EC key not on its curve": jwks(EC_256.jwk(x=EC_256.fields["y"])),
    "alg of another kind of key": jwks(RSA_1.jwk(alg="ES256")),
    "alg against the curve": jwks(EC_256.jwk(alg="ES384")),
    "Ed448": jwks(ED.jwk(crv="Ed448")),
    "no object": "[]",
    "no member for keys": "{}",
    "no certificate": '{"kid": "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"}',
    "keys that are null": '{"keys": null}',
    "keys in a string": '{"keys": ["a", 1, null]}',
    "RSA key without exponent": jwks(RSA_1.jwk(e=None)),
    "RSA key with a modulus of nothing": jwks(RSA_1.jwk(n="")),
    "EC key without y": jwks(EC_256.jwk(y=None)),
    "EC key, unknown curve": jwks(EC_256.jwk(crv="secp256k1")),
    "Ed25519 key too short": jwks(ED.jwk(x="AAAA")),
    "secret of nothing": jwks(HS.jwk(k="")),
    "secret for RS256": jwks(HS.jwk(alg="RS256")),
    "kind in lower case": jwks(RSA_1.jwk(kty="rsa")),
    "no kind": jwks(RSA_1.jwk(kty=None)),
}
