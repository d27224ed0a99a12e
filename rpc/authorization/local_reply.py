"""A refusal as Envoy gives it to a gRPC caller whom a filter answers by an HTTP status (``sendLocalReply``)."""

from __future__ import annotations

import base64
import binascii
import string
from typing import TYPE_CHECKING

import grpc

from rpc.authorization.decision import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

_Code = grpc.StatusCode
# source/common/grpc/status.cc, httpToGrpcStatus
_CODES = {
    400: _Code.INTERNAL,
    401: _Code.UNAUTHENTICATED,
    403: _Code.PERMISSION_DENIED,
    404: _Code.UNIMPLEMENTED,
    429: _Code.UNAVAILABLE,
    502: _Code.UNAVAILABLE,
    503: _Code.UNAVAILABLE,
    504: _Code.UNAVAILABLE,
}
RESOURCE_EXHAUSTED: int = _Code.RESOURCE_EXHAUSTED.value[0]
_HIGHEST = 16
_NAME = frozenset(string.ascii_lowercase + string.digits + "_.-")
# What HTTP and gRPC say for themselves, whoever answers.
_PROTOCOLS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "grpc-accept-encoding",
        "grpc-encoding",
        "grpc-message",
        "grpc-status",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)


def grpc_code(http_status: int) -> int:
    """The number that gRPC has for it."""
    code: int = _CODES.get(http_status, _Code.UNKNOWN).value[0]
    return code


def local_reply(
    http_status: int, text: str = "", *, why: str, headers: Iterable[tuple[str, str]] = (), code: int | None = None
) -> Refusal:
    """``code``: gRPC's, in place of what the status means. A header ``grpc-status`` goes before both, as in Envoy."""
    said = [(name.lower(), value) for name, value in headers]
    own = next((value for name, value in said if name == "grpc-status"), "")
    if own.isascii() and own.isdigit() and len(own) <= len(str(_HIGHEST)) and int(own) <= _HIGHEST:
        code = int(own)
    message = text or next((value for name, value in said if name == "grpc-message"), "")
    answer = tuple(pair for name, value in said if (pair := _pair(name, value)) is not None)
    return Refusal(grpc_code(http_status) if code is None else code, message, why=why, headers=answer)


def _pair(name: str, value: str) -> tuple[str, str | bytes] | None:
    """None: no header of an answer is like that."""
    if name in _PROTOCOLS or not name or not _NAME.issuperset(name):
        return None
    if name.endswith("-bin"):
        try:
            return name, base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (ValueError, binascii.Error):
            return None
    return (name, value) if value.isascii() and value.isprintable() else None
