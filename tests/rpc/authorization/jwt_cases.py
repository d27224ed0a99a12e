"""RequestAuthentication as a table: rules, a request, and what becomes of it. Pure data, for a stock Envoy and for us.

Expectations are those of the sources of Envoy 1.40 (source/common/jwt, source/extensions/filters/http/jwt_authn) and of
Istio's reference of RequestAuthentication; `e2e/test_request_authentication.py` holds a real Envoy to each of them.
`envoy_config` makes of rules the filter that istiod makes (pilot/pkg/security/authn/policy_applier.go).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.rpc.authorization.tokens import EC_256, EC_384, EC_512, ED, ISSUER, RSA_1, RSA_2, jwks

Rule = dict[str, Any]
METADATA = "x-seen-payload"  # where the rig shows what the filter has put into the request's metadata

# Envoy's texts (source/common/jwt/status.cc).
MISSING = "Jwt is missing"
BAD_FORMAT = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
BAD_HEADER_BASE64 = "Jwt header is an invalid Base64url encoded"
BAD_HEADER_JSON = "Jwt header is an invalid JSON"
BAD_ALG = "Jwt header [alg] field is required and must be a string"
UNKNOWN_ALG = "Jwt header [alg] is not supported"
BAD_KID = "Jwt header [kid] field is not a string"
BAD_PAYLOAD_BASE64 = "Jwt payload is an invalid Base64url encoded"
BAD_PAYLOAD_JSON = "Jwt payload is an invalid JSON"
BAD_SIGNATURE_BASE64 = "Jwt signature is an invalid Base64url encoded"
NOT_YET = "Jwt not yet valid"
EXPIRED = "Jwt is expired"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
WRONG_AUDIENCE = "Audiences in Jwt are not allowed"
FAILS = "Jwt verification fails"
NO_KEYS = "Jwks doesn't have any valid public key"
NO_SUCH_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
ED_LENGTH = "Jwt ED25519 signature is wrong length"


@dataclass(frozen=True)
class Case:
    """``refused``: the text that the caller reads; empty: let in. ``seen``: what the handler sees of these headers, in
    order; ``claims``: what policies see of these claims.
    """

    name: str
    rules: tuple[Rule, ...]
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    refused: str = ""
    seen: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, Any] | None = None
    query_seen: str | None = None
    config: dict[str, Any] | None = None  # the filter, where it is none that istiod makes of rules
    istiod: bool = True  # its validation takes the rules
    ours: str = ""  # what our server says, where it is stricter than Envoy (docs/security.md says why)

    @property
    def filter(self) -> dict[str, Any]:
        """The JSON of a ``JwtAuthentication``."""
        return envoy_config(self.rules) if self.config is None else self.config

    @property
    def code(self) -> str:
        """gRPC's name: Envoy answers 403 where only the audience is wrong, else 401."""
        if not self.refused:
            return "OK"
        return "PERMISSION_DENIED" if self.refused == WRONG_AUDIENCE else "UNAUTHENTICATED"


KEYS = jwks(RSA_1.jwk(), RSA_2.jwk(), EC_256.jwk(), EC_384.jwk(), EC_512.jwk(), ED.jwk())


def rule(**fields: Any) -> Rule:
    """A jwtRule of Istio's; a field that is None is left out."""
    found = {"issuer": ISSUER, "jwks": KEYS, "forwardOriginalToken": True, **fields}
    return {name: value for name, value in found.items() if value is not None}


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def envoy_config(rules: tuple[Rule, ...]) -> dict[str, Any]:
    """The JSON of a ``JwtAuthentication``."""
    providers = {f"origins-{n}": provider(said) for n, said in enumerate(sorted(rules, key=lambda r: r["issuer"]))}
    each = [{"requires_any": {"requirements": [{"provider_name": name}, {"allow_missing": {}}]}} for name in providers]
    requires: dict[str, Any] = each[0]
    if len(each) > 1:
        single: list[dict[str, Any]] = [{"provider_name": name} for name in providers]
        requires = {"requires_any": {"requirements": [*single, {"requires_all": {"requirements": each}}]}}
    return {
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        "bypass_cors_preflight": True,
    }


def provider(said: Rule) -> dict[str, Any]:
    spaced = sorted({*said.get("spaceDelimitedClaims", ()), "permission", "scope"})
    found = {
        "issuer": said["issuer"],
        "audiences": said.get("audiences", []),
        "forward": said.get("forwardOriginalToken", False),
        "forward_payload_header": said.get("outputPayloadToHeader", ""),
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": spaced},
        "claim_to_headers": [
            {"header_name": one["header"], "claim_name": one["claim"]} for one in said.get("outputClaimToHeaders", [])
        ],
        "from_headers": [
            {"name": one["name"], "value_prefix": one.get("prefix", "")} for one in said.get("fromHeaders", [])
        ],
        "from_params": said.get("fromParams", []),
        "from_cookies": said.get("fromCookies", []),
        "local_jwks": {"inline_string": said["jwks"]},
    }
    return {name: value for name, value in found.items() if value}
