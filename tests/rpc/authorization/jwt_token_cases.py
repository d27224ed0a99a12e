"""Cases of `jwt_cases` about the token itself: its form, algorithm, key, and claims."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.rpc.authorization.jwt_cases import (
    BAD_ALG,
    BAD_FORMAT,
    BAD_HEADER_BASE64,
    BAD_HEADER_JSON,
    BAD_KID,
    BAD_PAYLOAD_BASE64,
    BAD_PAYLOAD_JSON,
    BAD_SIGNATURE_BASE64,
    ED_LENGTH,
    EXPIRED,
    FAILS,
    NO_SUCH_KEY,
    NOT_YET,
    UNKNOWN_ALG,
    UNKNOWN_ISSUER,
    WRONG_AUDIENCE,
    Case,
    Rule,
    bearer,
    rule,
)
from tests.rpc.authorization.tokens import (
    DAY,
    EC_256,
    EC_384,
    EC_512,
    ED,
    HS,
    ISSUER,
    NONE,
    NOW,
    OTHER_ISSUER,
    RSA_1,
    RSA_2,
    Ec,
    Rsa,
    Secret,
    b64,
    good_claims,
    jwks,
)

PLAIN = (rule(),)
GOOD = RSA_1.token("RS256")
HEAD, BODY, SIGNATURE = GOOD.split(".")
TEXT = json.dumps(good_claims())


def case(name: str, token: str, refused: str = "", rules: tuple[Rule, ...] = PLAIN, **more: Any) -> Case:
    return Case(name, rules, bearer(token), refused=refused, **more)


def claims(name: str, refused: str = "", **said: Any) -> Case:
    return case(name, RSA_1.token("RS256", **said), refused)


def payload(name: str, raw: bytes, refused: str = "", **more: Any) -> Case:
    return case(name, RSA_1.token("RS256", raw), refused, **more)


def _as(said: str, signer: Rsa, alg: str) -> str:
    head = b64(json.dumps({"alg": said, "kid": signer.kid}).encode())
    signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
    return f"{signed}.{b64(signer.sign(alg, signed.encode()))}"


def _signed(signer: Any, alg: str, signature: bytes) -> str:
    return f"{signer.token(alg).rpartition('.')[0]}.{b64(signature)}"


def _with_own_key() -> str:
    stranger = Rsa("rsa-1")
    return stranger.token("RS256", header={"jwk": stranger.jwk()})


def _es256_of_p384() -> str:
    head = b64(json.dumps({"alg": "ES256", "kid": EC_384.kid}).encode())
    signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
    r, s = decode_dss_signature(EC_384.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{b64(r.to_bytes(48, 'big') + s.to_bytes(48, 'big'))}"


def _said_rs256() -> str:
    head = b64(json.dumps({"alg": "RS256", "kid": EC_256.kid}).encode())
    signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
    return f"{signed}.{b64(EC_256.sign('ES256', signed.encode()))}"


def _said_hs256() -> str:
    head = b64(json.dumps({"alg": "HS256", "kid": HS.kid}).encode())
    signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
    return f"{signed}.{b64(HS.sign('HS512', signed.encode()))}"


def _short_salt() -> str:
    head = b64(json.dumps({"alg": "PS256", "kid": RSA_1.kid}).encode())
    signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
    how = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    return f"{signed}.{b64(RSA_1.key.sign(signed.encode(), how, hashes.SHA256()))}"


def _ecdsa() -> Any:
    return ec.ECDSA(hashes.SHA256())


TOKEN_CASES = [
    Case("no token", PLAIN),
    case("RS256", GOOD, claims={"sub": "alice", "iss": ISSUER}),
    case("RS384", RSA_1.token("RS384")),
    case("RS512", RSA_1.token("RS512")),
    case("PS256", RSA_1.token("PS256")),
    case("PS384", RSA_1.token("PS384")),
    case("PS512", RSA_1.token("PS512")),
    case("ES256", EC_256.token("ES256")),
    case("ES384", EC_384.token("ES384")),
    case("ES512", EC_512.token("ES512")),
    case("EdDSA", ED.token("EdDSA")),
    case("HS256 with a shared secret", HS.token("HS256"), rules=(rule(jwks=jwks(HS.jwk())),)),
    # ---- which algorithm and key
    case("alg none, no signature", NONE.token("none"), BAD_FORMAT),
    case("alg none, some signature", NONE.token("none") + "AAAA", UNKNOWN_ALG),
    case("alg NONE", NONE.token("NONE") + "AAAA", UNKNOWN_ALG),
    case("no alg", RSA_1.token("RS256", header={"alg": None}), BAD_ALG),
    case("alg is a number", RSA_1.token("RS256", header={"alg": 256}), BAD_ALG),
    case("alg in lower case", RSA_1.token("RS256", header={"alg": "rs256"}), UNKNOWN_ALG),
    case("alg of a JWE", RSA_1.token("RS256", header={"alg": "RSA-OAEP"}), UNKNOWN_ALG),
    case(
        "HS256 signed with the public key's modulus",
        Secret("rsa-1", RSA_1.fields["n"].encode()).token("HS256"),
        FAILS,
    ),
    case(
        "HS256 where the key says RS256",
        Secret("rsa-1", RSA_1.fields["n"].encode()).token("HS256"),
        NO_SUCH_KEY,
        rules=(rule(jwks=jwks(RSA_1.jwk(alg="RS256"))),),
    ),
    case("RS256 said, HS256's kind of key", RSA_1.token("RS256"), FAILS, rules=(rule(jwks=jwks(HS.jwk(kid="rsa-1"))),)),
    case(
        "PS256 where the key says RS256",
        RSA_1.token("PS256"),
        NO_SUCH_KEY,
        rules=(rule(jwks=jwks(RSA_1.jwk(alg="RS256"))),),
    ),
    case("RS256 said, PS256 signed", _as("RS256", RSA_1, "PS256"), FAILS),
    case("ES256 said, key of P-384", EC_384.token("ES384", header={"alg": "ES256"}), FAILS),
    # Envoy takes whatever its key happens to verify; RFC 7518 has one curve for each algorithm, and so have we.
    case("ES256 said and signed, key of P-384", _es256_of_p384(), ours=FAILS),
    case("RS256 said, signed by an EC key", _said_rs256(), ours=FAILS),
    case("HS256 said, signed as HS512", _said_hs256(), FAILS, rules=(rule(jwks=jwks(HS.jwk())),)),
    case(
        "an Ed25519 key before the right one",
        RSA_1.token("RS256", header={"kid": None}),
        ED_LENGTH,
        rules=(rule(jwks=jwks(ED.jwk(), RSA_1.jwk())),),
    ),
    case("PS256 with a salt of another length", _short_salt(), FAILS),
    case("kid unknown", RSA_1.token("RS256", header={"kid": "nobody"}), NO_SUCH_KEY),
    case("kid of another key", RSA_1.token("RS256", header={"kid": "rsa-2"}), FAILS),
    case("no kid: every key is tried", RSA_2.token("RS256", header={"kid": None})),
    case("kid empty", RSA_2.token("RS256", header={"kid": ""})),
    case("kid is a number", RSA_1.token("RS256", header={"kid": 1}), BAD_KID),
    case(
        "keys without kid are tried for any",
        RSA_1.token("RS256"),
        rules=(rule(jwks=jwks(RSA_2.jwk(kid=None), RSA_1.jwk(kid=None))),),
    ),
    case("signed by a stranger", Rsa("rsa-1").token("RS256"), FAILS),
    case("no kid, signed by a stranger", Ec("").token("ES256"), FAILS),
    case("embedded jwk is not believed", _with_own_key(), FAILS),
    case("crit is not looked at", RSA_1.token("RS256", header={"crit": ["b64"], "b64": True})),
    case("typ is not looked at", RSA_1.token("RS256", header={"typ": "at+jwt"})),
    # ---- form
    case("not a token", "garbage", BAD_FORMAT),
    case("two parts", f"{HEAD}.{BODY}", BAD_FORMAT),
    case("four parts", f"{GOOD}.AAAA", BAD_FORMAT),
    case("two dots in a row", f"{HEAD}..{BODY}.{SIGNATURE}"),
    case("a dot at the end", f"{GOOD}."),
    case("header no base64url", f"{HEAD}*.{BODY}.{SIGNATURE}", BAD_HEADER_BASE64),
    case("header no JSON", f"{b64(b'nothing')}.{BODY}.{SIGNATURE}", BAD_HEADER_JSON),
    case("header a JSON list", f"{b64(b'[]')}.{BODY}.{SIGNATURE}", BAD_HEADER_JSON),
    case("payload no base64url", f"{HEAD}.{BODY}*.{SIGNATURE}", BAD_PAYLOAD_BASE64),
    payload("payload no JSON", b"nothing", BAD_PAYLOAD_JSON),
    payload("payload a JSON list", b"[1]", BAD_PAYLOAD_JSON),
    payload("payload null is an empty one", b"null", UNKNOWN_ISSUER),
    payload("payload empty object", b"{}", UNKNOWN_ISSUER),
    payload(
        "payload not UTF-8", TEXT.replace("alice", "al\\u0000").encode().replace(b"\\u0000", b"\xff"), BAD_PAYLOAD_JSON
    ),
    payload("a claim twice", TEXT.replace('"sub"', '"sub": "mallory", "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a nested claim twice", TEXT.replace('"sub"', '"x": {"y": 1, "y": 2}, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("NaN", TEXT.replace('"sub"', '"x": NaN, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a number past all bounds", TEXT.replace('"sub"', '"x": 1e999, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("bytes after the payload", TEXT.encode() + b"x", BAD_PAYLOAD_JSON),
    payload("half a surrogate", TEXT.replace("alice", "\\ud800").encode(), BAD_PAYLOAD_JSON),
    payload("spaces around the payload", b" \n" + TEXT.encode() + b"\t "),
    payload("BOM before the payload", b"\xef\xbb\xbf" + TEXT.encode(), BAD_PAYLOAD_JSON),
    payload("nested too deep", TEXT.replace('"sub"', f'"x": {"[" * 200}{"]" * 200}, "sub"').encode(), BAD_PAYLOAD_JSON),
    case("signature no base64url", f"{HEAD}.{BODY}.{SIGNATURE}*", BAD_SIGNATURE_BASE64),
    case("signature with padding", f"{GOOD}=="),
    case("signature cut off", GOOD[:-8], FAILS),
    case(
        "signature of the payload before",
        f"{HEAD}.{b64(json.dumps({**good_claims(), 'sub': 'root'}).encode())}.{SIGNATURE}",
        FAILS,
    ),
    case("EdDSA signature of wrong length", ED.token("EdDSA") + "AAAA", ED_LENGTH),
    case("ECDSA signature empty of numbers", _signed(EC_256, "ES256", bytes(64)), FAILS),
    case("ECDSA signature in DER", _signed(EC_256, "ES256", EC_256.key.sign(b"", _ecdsa())), FAILS),
    # ---- claims
    claims("expired", EXPIRED, exp=NOW - 3600),
    claims("expired past the skew", EXPIRED, exp=NOW - 90),
    claims("no exp", exp=None),
    claims("exp zero is none", exp=0),
    claims("exp with a fraction", exp=NOW + DAY + 0.5),
    claims("exp a string", "Jwt payload [exp] field is not an integer", exp=str(NOW + 60)),
    claims("exp negative", "Jwt payload [exp] field is not a positive 64 bit integer", exp=-1),
    claims("exp beyond 64 bits", "Jwt payload [exp] field is not a positive 64 bit integer", exp=2**64),
    payload("exp null", b'{"exp": null}', "Jwt payload [exp] field is not an integer"),
    claims("not yet", NOT_YET, nbf=NOW + DAY),
    claims("not yet, within the skew", nbf=NOW + 30),
    claims("nbf a string", "Jwt payload [nbf] field is not an integer", nbf="soon"),
    claims("nbf beyond 64 bits", "Jwt payload [nbf] field is not a positive 64 bit integer", nbf=1e30),
    claims("issued in the future", iat=NOW + 86400),
    claims("iat a string", "Jwt payload [iat] field is not an integer", iat="now"),
    claims("iat negative", "Jwt payload [iat] field is not a positive 64 bit integer", iat=-5),
    claims("sub a number", "Jwt payload [sub] field is not a string", sub=7),
    claims("no sub", sub=None),
    claims("iss a list", "Jwt payload [iss] field is not a string", iss=[ISSUER]),
    claims("jti a number", "Jwt payload [jti] field is not a string", jti=7),
    claims("aud a number", "Jwt payload [aud] field is not a string or string list", aud=7),
    claims("aud a list with a number", "Jwt payload [aud] field is not a string or string list", aud=["a", 7]),
    claims("another issuer", UNKNOWN_ISSUER, iss=OTHER_ISSUER),
    claims("no issuer", UNKNOWN_ISSUER, iss=None),
    claims("issuer in another case", UNKNOWN_ISSUER, iss=ISSUER.upper()),
    claims("issuer with a slash", UNKNOWN_ISSUER, iss=ISSUER + "/"),
    case("rule without issuer takes any", RSA_1.token("RS256", iss="x"), rules=(rule(issuer=""),)),
    case("rule without issuer takes none", RSA_1.token("RS256", iss=None), rules=(rule(issuer=""),)),
    # ---- the order of checks
    case("another issuer and expired", RSA_1.token("RS256", iss=OTHER_ISSUER, exp=1), UNKNOWN_ISSUER),
    case("expired and signed by a stranger", Rsa("rsa-1").token("RS256", exp=1), EXPIRED),
    case("expired and wrong audience", RSA_1.token("RS256", exp=1, aud="z"), EXPIRED, rules=(rule(audiences=["a"]),)),
    case(
        "wrong audience, signed by a stranger",
        Rsa("rsa-1").token("RS256", aud="z"),
        WRONG_AUDIENCE,
        rules=(rule(audiences=["a"]),),
    ),
    payload("single quotes", TEXT.replace('"', "'").encode(), ours=BAD_PAYLOAD_JSON),
    payload("a comma too many", TEXT.replace("}", ",}").encode(), ours=BAD_PAYLOAD_JSON),
    payload("a name without quotes", TEXT.replace('"sub"', "sub").encode(), ours=BAD_PAYLOAD_JSON),
    payload("a comment", TEXT.replace('"sub"', '/* */ "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a control character", TEXT.replace("alice", "al\x01ice").encode()),
    payload("a line break in a string", TEXT.replace("alice", "al\nice").encode()),
    payload("a tab in a string", TEXT.replace("alice", "al\tice").encode()),
    payload("an escaped NUL", TEXT.replace("alice", "al\\u0000ice").encode()),
    payload(
        "a claim twice, once in escapes",
        TEXT.replace('"sub"', '"\\u0073ub": "mallory", "sub"').encode(),
        BAD_PAYLOAD_JSON,
    ),
    payload("a leading zero", TEXT.replace('"sub"', '"x": 01, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a plus sign", TEXT.replace('"sub"', '"x": +1, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a hexadecimal number", TEXT.replace('"sub"', '"x": 0x1, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("minus infinity", TEXT.replace('"sub"', '"x": -Infinity, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("a point and no digit", TEXT.replace('"sub"', '"x": 1., "sub"').encode(), BAD_PAYLOAD_JSON),
    payload(
        "an integer of 400 digits", TEXT.replace('"sub"', '"x": 1' + "0" * 400 + ', "sub"').encode(), BAD_PAYLOAD_JSON
    ),
    payload("an integer of 30 digits", TEXT.replace('"sub"', '"x": 1' + "0" * 30 + ', "sub"').encode()),
    payload("True as Python has it", TEXT.replace('"sub"', '"x": True, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("overlong UTF-8", TEXT.encode().replace(b"alice", b"\xc0\x80"), BAD_PAYLOAD_JSON),
    payload("a surrogate in UTF-8", TEXT.encode().replace(b"alice", b"\xed\xa0\x80"), BAD_PAYLOAD_JSON),
    payload("a pair of surrogates", TEXT.replace("alice", "\\ud83d\\ude00").encode(), claims={"sub": "\U0001f600"}),
    payload("an unknown escape", TEXT.replace("alice", "al\\qice").encode(), BAD_PAYLOAD_JSON),
    payload("a slash in escapes", TEXT.replace("alice", "al\\/ice").encode(), claims={"sub": "al/ice"}),
    payload("nested 40 deep", TEXT.replace('"sub"', f'"x": {"[" * 40}{"]" * 40}, "sub"').encode()),
    payload("nested 98 deep", TEXT.replace('"sub"', f'"x": {"[" * 98}{"]" * 98}, "sub"').encode()),
    payload("nested 99 deep", TEXT.replace('"sub"', f'"x": {"[" * 99}{"]" * 99}, "sub"').encode()),
    payload("nested 100 deep", TEXT.replace('"sub"', f'"x": {"[" * 100}{"]" * 100}, "sub"').encode(), BAD_PAYLOAD_JSON),
    payload("objects 98 deep", TEXT.replace('"sub"', '"x": ' + '{"a":' * 98 + "1" + "}" * 98 + ', "sub"').encode()),
    payload("objects 99 deep", TEXT.replace('"sub"', '"x": ' + '{"a":' * 99 + "1" + "}" * 99 + ', "sub"').encode()),
    payload("vertical tab between", TEXT.replace('"sub"', '\x0b "sub"').encode(), BAD_PAYLOAD_JSON),
    case("header null", f"{b64(b'null')}.{BODY}.{SIGNATURE}", BAD_ALG),
    case("header has alg twice", RSA_1.token("RS256", header=b'{"alg":"RS256","alg":"RS256"}'), BAD_HEADER_JSON),
    case("white space in the signature", f"{HEAD}.{BODY}.{SIGNATURE[:20]} {SIGNATURE[20:]}"),
    case("one sign of padding where two belong", f"{GOOD}=", BAD_SIGNATURE_BASE64),
    case("plain base64 in the payload", f"{HEAD}.{BODY[:-1]}+.{SIGNATURE}", BAD_PAYLOAD_BASE64),
    case("payload of one sign", f"{HEAD}.A.{SIGNATURE}", BAD_PAYLOAD_BASE64),
    claims("exp at the edge of 64 bits", exp=2**64 - 2048),
    claims("exp true", "Jwt payload [exp] field is not an integer", exp=True),
    claims("nbf zero", nbf=0),
    claims("aud null in a list", "Jwt payload [aud] field is not a string or string list", aud=[None]),
]
