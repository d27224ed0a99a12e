"""What a service's answer means for a request, and what it changes in it: once for gRPC and HTTP."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.authorization.local_reply import local_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpc.authorization.decision import Refusal
    from rpc.authorization.request import Request

METADATA = "envoy.filters.http.ext_authz"
_TOKEN = frozenset(string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~")  # RFC 9110, section 5.6.2
_PSEUDO = frozenset({":authority", ":method", ":path", ":scheme"})
_NO_VALUE = frozenset("\0\r\n")
_INVALID = local_reply(500, why="ext_authz_invalid")

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """``setting`` goes before ``adding``, and that before ``appending``, which changes headers that are there.

    ``answer``: actions of `Request.change_answer`, with name and value.
    """

    setting: tuple[Pair, ...] = ()
    adding: tuple[Pair, ...] = ()
    appending: tuple[Pair, ...] = ()
    removing: tuple[str, ...] = ()
    answer: tuple[tuple[str, str, str], ...] = ()
    parameters: tuple[Pair, ...] = ()
    no_parameters: frozenset[str] = frozenset()

    def applied(self, request: Request, *, strictly: bool) -> Refusal | None:
        """``strictly``: a service that says what is no header lets nobody in; else it is passed over."""
        changes = (*self.setting, *self.adding, *self.appending, *((name, value) for _, name, value in self.answer))
        if strictly and not all(_is_header(name, value) for name, value in changes):
            return _INVALID
        for name, value in _headers(self.setting):
            request.replace(name, [value.encode()])
        for name, value in _headers(self.adding):
            request.replace(name, [*request.values(name), value.encode()])
        for name, value in _headers(self.appending):
            if before := request.values(name):
                request.replace(name, [*before[:-1], before[-1] + b"," + value.encode()])
        for name in self.removing:
            if not name.startswith(":") and name.lower() != "host":
                request.remove(name.lower())
        for action, name, value in self.answer:
            request.change_answer(action, name.lower(), value)
        self._rewrite_query(request)
        return None

    def _rewrite_query(self, request: Request) -> None:
        if not self.parameters and not self.no_parameters:
            return
        path, _, query = request.path.partition("?")
        parts = (part.partition("=") for part in query.split("&") if part)
        known = {name: value for name, _, value in parts} | dict(self.parameters)
        # As they were said: whoever says something that has to be escaped escapes it.
        left = "&".join(f"{name}={value}" for name, value in known.items() if name not in self.no_parameters)
        request.replace(":path", [f"{path}?{left}" if left else path])


def _headers(pairs: tuple[Pair, ...]) -> list[Pair]:
    return [(name.lower(), value) for name, value in pairs if _is_header(name, value)]


def _is_header(name: str, value: str) -> bool:
    name = name.lower()
    return (name in _PSEUDO or (name != "" and _TOKEN.issuperset(name))) and _NO_VALUE.isdisjoint(value)


@dataclass(frozen=True, slots=True)
class Denied:
    """``status`` is HTTP's."""

    status: int = 403
    text: str = ""
    headers: tuple[Pair, ...] = ()

    def refusal(self, *, strictly: bool) -> Refusal:
        if strictly and not all(_is_header(name, value) for name, value in self.headers):
            return _INVALID
        return local_reply(self.status, self.text, why="ext_authz_denied", headers=self.headers)


@dataclass(frozen=True, slots=True)
class Failed:
    """The service gave no answer, or said that it failed: ``reason`` is for the log. ``status`` None: the filter's."""

    reason: str
    status: int | None = None
    text: str = ""
    headers: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``found``: what it found out, for later filters."""

    outcome: Allowed | Denied | Failed
    found: Mapping[str, object] | None = None
