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
    """Root of the tree.

    >>> try:
    ...     Bootstrap.load({"PROXYLESS_SECURITY": "none"})
    ... except XdsError as error:
    ...     print(error)
    PROXYLESS_SECURITY: security: 'none' is neither plaintext nor tls
    """


class BootstrapError(XdsError):
    """A setting is missing, unreadable or wrong.

    ``source`` is a file or an environment variable, ``field`` the setting in it.

    >>> try:
    ...     Bootstrap.load({"PROXYLESS_DISCOVERY_ADDRESS": "istiod"})
    ... except BootstrapError as error:
    ...     print(error.source, "|", error.field, "|", error.reason)
    PROXYLESS_DISCOVERY_ADDRESS | discovery_address | 'istiod' is not host:port
    """

    def __init__(self, source: str, field: str, reason: str) -> None:
        super().__init__(f"{source}: {field}: {reason}")
        self.source = source
        self.field = field
        self.reason = reason


class ProtocolError(XdsError):
    """The stream is of no use any more; the exchanger opens another."""


class DecodeError(XdsError):
    """A resource of the control plane is malformed; its last good form stays in use.

    ``field`` is a path such as ``virtual_hosts[0].routes[3].match``; empty when the whole resource is meant.

    >>> [(error.name, error.field, error.reason) for error in rpc.mesh().status().rejected]
    []
    """

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
    """The exchanger was used after `close`.

    Open a new exchanger; a closed one stays closed.

    >>> exchanger = PilotExchanger(Bootstrap.load())
    >>> exchanger.close()
    >>> exchanger.get(ResourceType.CLUSTER, "outbound|9080||greeter.demo.svc.cluster.local")
    Traceback (most recent call last):
    xds_client.errors.ExchangerClosedError: ...
    """


class IdentityError(XdsError):
    """The mesh identity of this process. Nothing secret is ever part of a message.

    >>> try:
    ...     rpc.mesh().identity.wait(timeout=10).trust_domains
    ... except IdentityError as error:
    ...     print("not a member yet:", error)
    ('cluster.local',)
    """


class CertificateError(IdentityError):
    """A certificate, its key or its chain cannot be used.

    >>> issubclass(CertificateError, IdentityError)  # its words are in `IdentitySource.error`
    True
    """


class RootsError(IdentityError):
    """There is no root to trust.

    >>> issubclass(RootsError, IdentityError)  # its words are in `IdentitySource.error`
    True
    """


class TokenError(IdentityError):
    """There is no token to show.

    >>> issubclass(TokenError, IdentityError)  # its words are in `IdentitySource.error`
    True
    """


class IssuerError(IdentityError):
    """Who issues certificates cannot be reached, or refuses.

    >>> issubclass(IssuerError, IdentityError)  # its words are in `IdentitySource.error`
    True
    """


class IdentityTimeoutError(IdentityError, TimeoutError):
    """There was no identity in the time that the caller gave; the message says why.

    No identity yet.

    >>> lost = {"PROXYLESS_TOKEN_PATH": "/nowhere", "PROXYLESS_ROOT_CERTIFICATE_PATH": "roots.pem"}
    >>> with PilotExchanger(Bootstrap.load({"PROXYLESS_DISCOVERY_ADDRESS": "127.0.0.1:1", **lost})) as exchanger:
    ...     exchanger.identity.wait(timeout=0.1)
    Traceback (most recent call last):
    xds_client.errors.IdentityTimeoutError: no mesh identity within 0.1 s: ...
    """


class ResourceError(XdsError):
    """`PilotExchanger.get` has no value to return; see its subclasses.

    No value for ``kind`` ``name``.

    >>> try:
    ...     rpc.mesh().get(ResourceType.CLUSTER, "outbound|1||nobody.demo.svc.cluster.local")
    ... except ResourceError as error:
    ...     print(error.kind, error.name)
    Cluster outbound|1||nobody.demo.svc.cluster.local
    """

    def __init__(self, node_id: str, kind: ResourceType, name: str, reason: str) -> None:
        super().__init__(f"{kind} {name!r} (asked by node {node_id}): {reason}")
        self.node_id = node_id
        self.kind = kind
        self.name = name
        self.reason = reason


class ResourceMissingError(ResourceError):
    """The control plane answered, and there is no such resource.

    >>> rpc.mesh().get(ResourceType.CLUSTER, "outbound|1||nobody.demo.svc.cluster.local")
    Traceback (most recent call last):
    xds_client.errors.ResourceMissingError: Cluster 'outbound|1||nobody.demo.svc.cluster.local' ...
    """


class ResourceTimeoutError(ResourceError, TimeoutError):
    """The control plane has not answered yet.

    >>> nobody = Bootstrap.load({"PROXYLESS_DISCOVERY_ADDRESS": "127.0.0.1:1", "PROXYLESS_SECURITY": "plaintext"})
    >>> with PilotExchanger(nobody) as exchanger:
    ...     exchanger.get(ResourceType.CLUSTER, "outbound|9080||greeter.demo.svc.cluster.local", timeout=0.1)
    Traceback (most recent call last):
    xds_client.errors.ResourceTimeoutError: Cluster 'outbound|9080||greeter.demo.svc.cluster.local' ...
    """


class ResourceNotCachedError(ResourceError):
    """Not cached, and the caller may not wait.

    >>> def callback(config):  # an observer: to wait here would stop the stream that it waits for
    ...     try:
    ...         rpc.mesh().get(ResourceType.ROUTE, "other.demo.svc.cluster.local:9080")
    ...     except ResourceNotCachedError:
    ...         told.put("not known yet")
    >>> told = Queue()
    >>> with rpc.mesh().observe_target(Target.parse("xds:///greeter.demo:9080"), callback):
    ...     told.get(timeout=10)
    'not known yet'
    """
