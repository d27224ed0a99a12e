"""Why a token does not do, in Envoy's words (source/common/jwt/status.cc): callers read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import grpc

from rpc.authorization.decision import Refusal

if TYPE_CHECKING:
    from rpc.authorization.request import Request

_LONGEST_PATH = 256  # characters


class Fault(NamedTuple):
    text: str
    code: int = grpc.StatusCode.UNAUTHENTICATED.value[0]  # HTTP's 401, as gRPC has it

    def refusal(self, request: Request, *, silent: bool = False) -> Refusal:
        """``silent``: the caller is not told why."""
        why = f"jwt_authn_access_denied{{{'_'.join(self.text.split())}}}"
        if silent:
            return Refusal(self.code, "", why=why)
        return Refusal(self.code, self.text, why=why, headers=(("www-authenticate", self._challenge(request)),))

    def _challenge(self, request: Request) -> str:
        """What a browser, or a client of OAuth 2.0, is to know (RFC 6750, section 3)."""
        asked = f"{request.scheme}://{request.authority}{request.path[:_LONGEST_PATH]}"
        if not (asked.isascii() and asked.isprintable()):
            asked = "".join(one if one.isascii() and one.isprintable() else "?" for one in asked)
        return f'Bearer realm="{asked}"' + ("" if self == MISSING else ', error="invalid_token"')


MISSING = Fault("Jwt is missing")
NOT_YET_VALID = Fault("Jwt not yet valid")
EXPIRED = Fault("Jwt is expired")
BAD_FORMAT = Fault("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
BAD_HEADER_BASE64 = Fault("Jwt header is an invalid Base64url encoded")
BAD_HEADER_JSON = Fault("Jwt header is an invalid JSON")
BAD_ALG = Fault("Jwt header [alg] field is required and must be a string")
UNKNOWN_ALG = Fault("Jwt header [alg] is not supported")
BAD_KID = Fault("Jwt header [kid] field is not a string")
BAD_PAYLOAD_BASE64 = Fault("Jwt payload is an invalid Base64url encoded")
BAD_PAYLOAD_JSON = Fault("Jwt payload is an invalid JSON")
BAD_AUDIENCE = Fault("Jwt payload [aud] field is not a string or string list")
BAD_SIGNATURE_BASE64 = Fault("Jwt signature is an invalid Base64url encoded")
WRONG_ED25519_LENGTH = Fault("Jwt ED25519 signature is wrong length")
UNKNOWN_ISSUER = Fault("Jwt issuer is not configured")
AUDIENCE_NOT_ALLOWED = Fault("Audiences in Jwt are not allowed", grpc.StatusCode.PERMISSION_DENIED.value[0])  # 403
VERIFICATION_FAILS = Fault("Jwt verification fails")
NO_SUCH_KEY = Fault("Jwks doesn't have key to match kid or alg from Jwt")
NO_VALID_KEYS = Fault("Jwks doesn't have any valid public key")
FETCH_FAILED = Fault("Jwks remote fetch is failed")


def no_string(claim: str) -> Fault:
    return Fault(f"Jwt payload [{claim}] field is not a string")


def no_integer(claim: str) -> Fault:
    return Fault(f"Jwt payload [{claim}] field is not an integer")


def out_of_range(claim: str) -> Fault:
    return Fault(f"Jwt payload [{claim}] field is not a positive 64 bit integer")
