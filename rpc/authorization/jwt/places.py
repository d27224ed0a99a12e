"""Where in a request tokens stand, and how they are taken out of it (Envoy's jwt_authn/extractor.cc)."""

from __future__ import annotations

import string
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rpc.authorization.request import Request
    from xds_client.model import JwtProvider

_OF_TOKENS = frozenset((string.ascii_letters + string.digits + "-_.").encode())
# Of these Envoy makes one value of several, with commas between them (its inline headers).
_JOINED = frozenset(
    {"accept", "authorization", "origin", "referer", "user-agent", "via", "x-forwarded-for", "x-request-id"}
)


class Place(Protocol):
    def tokens(self, request: Request) -> Iterable[bytes]: ...

    def clear(self, request: Request) -> None:
        """Later filters and the handler do not see what stands here."""


@dataclass(frozen=True, slots=True)
class InHeader:
    name: str
    prefix: bytes = b""

    def tokens(self, request: Request) -> Iterable[bytes]:
        values = request.values(self.name)
        if not values:
            return ()
        if len(values) > 1 and self.name in _JOINED:
            values = [b",".join(values)]
        if not self.prefix:
            return values
        return [_behind(value, at + len(self.prefix)) for value in values if (at := value.find(self.prefix)) >= 0]

    def clear(self, request: Request) -> None:
        request.remove(self.name)


def _behind(value: bytes, start: int) -> bytes:
    """From the first character that a token can have; where none is, all of it, which is no token."""
    for at in range(start, len(value)):
        if value[at] in _OF_TOKENS:
            return value[at:]
    return value


@dataclass(frozen=True, slots=True)
class InParameter:
    name: bytes

    def tokens(self, request: Request) -> Iterable[bytes]:
        if "?" not in request.path:
            return ()
        return [value for name, value in _parameters(b"".join(request.values(":path"))) if name == self.name][:1]

    def clear(self, request: Request) -> None:
        """The others stay, sorted by name and no more in escapes: so Envoy writes them."""
        path = b"".join(request.values(":path")[:1])
        sorted_by_name = defaultdict(list)
        for name, value in _parameters(path):
            if name != self.name:
                sorted_by_name[name].append(value)
        query = b"&".join(name + b"=" + value for name in sorted(sorted_by_name) for value in sorted_by_name[name])
        bare = path.partition(b"?")[0]
        request.replace(":path", [bare + b"?" + query if query else bare])


def _parameters(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    query = path.partition(b"?")[2].partition(b"#")[0]
    for one in query.split(b"&") if query else ():
        name, _, value = one.partition(b"=")
        yield unquote_to_bytes(name), unquote_to_bytes(value)


@dataclass(frozen=True, slots=True)
class InCookie:
    name: bytes

    def tokens(self, request: Request) -> Iterable[bytes]:
        for value in request.values("cookie"):
            for one in value.split(b";"):
                name, equals, token = one.strip().partition(b"=")
                if equals and name == self.name:
                    quoted = token[:1] == token[-1:] == b'"' != token
                    return [token[1:-1] if quoted else token]
        return ()

    def clear(self, request: Request) -> None:
        """Envoy leaves cookies where they are."""


def places(provider: JwtProvider) -> tuple[Place, ...]:
    """In the order in which tokens are found: headers, parameters, cookies, each by name."""
    headers = {
        header.name.lower() + header.value_prefix: _header(header.name, header.value_prefix)
        for header in provider.from_headers
    }
    parameters, cookies = {*provider.from_params}, {*provider.from_cookies}
    if not (headers or parameters or cookies):
        headers, parameters = {"": _header("authorization", "Bearer ")}, {"access_token"}
    return (
        *(headers[key] for key in sorted(headers)),
        *(InParameter(name.encode()) for name in sorted(parameters)),
        *(InCookie(name.encode()) for name in sorted(cookies)),
    )


def _header(name: str, prefix: str) -> InHeader:
    return InHeader(name.lower(), prefix.encode())
