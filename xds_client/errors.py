"""Everything this package raises, one tree. Every message says who asked, for what, and what to do next.

XdsError
├── BootstrapError       a setting is missing, unreadable or wrong: names file (or variable) and field
├── ProtocolError        bytes on the stream that are no discovery response; never reaches a user
├── DecodeError          one resource is malformed: names type, resource, field and reason; shown by status()
├── ExchangerClosedError the exchanger was used after close(), or closed while get() waited
├── IdentityError        no identity, or no new one: names the identity and what to do next
│   ├── CertificateError        what came is no certificate that can be used: garbage, another key, another name
│   ├── RootsError              the mesh's roots are missing, unreadable or all expired
│   ├── TokenError              the token is missing or unreadable
│   ├── IssuerError             the CA or the Workload API did not answer, or refused
│   └── IdentityTimeoutError    there was none in the time that the caller gave (also a TimeoutError)
└── ResourceError        get() has no value to return
    ├── ResourceMissingError    the control plane answered: there is none, or only a malformed one
    ├── ResourceTimeoutError    it did not answer in the time that the caller gave (also a TimeoutError)
    └── ResourceNotCachedError  asked from inside an observer, where waiting would stop the stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from xds_client.resource_type import ResourceType


_LONGEST = 1000  # characters


def _short(text: str) -> str:
    """What a message repeats of a resource, which may be megabytes."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class XdsError(Exception):
    """Root of the tree."""


class BootstrapError(XdsError):
    """``source`` is a file or an environment variable, ``field`` the setting in it."""

    def __init__(self, source: str, field: str, reason: str) -> None:
        super().__init__(f"{source}: {field}: {reason}")
        self.source = source
        self.field = field
        self.reason = reason


class ProtocolError(XdsError):
    """The stream is of no use any more; the exchanger opens another."""


class DecodeError(XdsError):
    """``field`` is a path such as ``virtual_hosts[0].routes[3].match``; empty when the whole resource is meant."""

    def __init__(self, kind: ResourceType, name: str, field: str, reason: str) -> None:
        reason = _short(reason)
        super().__init__(f"{kind} {_short(name)!r}: {_short(field) + ': ' if field else ''}{reason}")
        self.kind = kind
        self.name = name
        self.field = field
        self.reason = reason

    def kept(self) -> Self:
        """As a value, without the frames that raised it: they hold the response, megabytes perhaps, in a cycle."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class ExchangerClosedError(XdsError):
    """Open a new exchanger; a closed one stays closed."""


class IdentityError(XdsError):
    """The mesh identity of this process. Nothing secret is ever part of a message."""


class CertificateError(IdentityError):
    """A certificate, its key or its chain cannot be used."""


class RootsError(IdentityError):
    """There is no root to trust."""


class TokenError(IdentityError):
    """There is no token to show."""


class IssuerError(IdentityError):
    """Who issues certificates cannot be reached, or refuses."""


class IdentityTimeoutError(IdentityError, TimeoutError):
    """No identity yet."""


class ResourceError(XdsError):
    """No value for ``kind`` ``name``."""

    def __init__(self, node_id: str, kind: ResourceType, name: str, reason: str) -> None:
        super().__init__(f"{kind} {name!r} (asked by node {node_id}): {reason}")
        self.node_id = node_id
        self.kind = kind
        self.name = name
        self.reason = reason


class ResourceMissingError(ResourceError):
    """The control plane answered, and there is no such resource."""


class ResourceTimeoutError(ResourceError, TimeoutError):
    """The control plane has not answered yet."""


class ResourceNotCachedError(ResourceError):
    """Not cached, and the caller may not wait."""
