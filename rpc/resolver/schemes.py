"""Which resolver a target's scheme means: registered in this process, or an entry point of an installed package."""

from __future__ import annotations

import string
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from rpc.fork import ProcessLock
from xds_client.model import InvalidTargetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    from rpc.resolver.resolver import ChannelTarget, Resolver

    Factory = Callable[[ChannelTarget], Resolver]

GROUP = "proxyless.resolvers"
_LETTERS = frozenset(string.ascii_lowercase + string.digits + "+.-")  # RFC 3986, section 3.1
_NO_NAMES = frozenset({"", "http", "https"})  # behind a host and a colon: gRPC's other ways to write a port
_lock = ProcessLock()
_registered: dict[str, Registration] = {}


class Registration:
    """A scheme that a factory was registered for, until `close`.

    >>> registration = rpc.resolver.register("toy", lambda target: Toy(target.endpoint))
    >>> registration.close()
    """

    def __init__(self, scheme: str, factory: Factory) -> None:
        self.scheme = scheme
        self.factory = factory
        self.before = _registered.get(scheme)
        self.closed = False

    def close(self) -> None:
        """From now on the scheme means what it meant before; channels that are there stay as they are."""
        with _lock:
            self.closed = True
            newest = _registered.get(self.scheme)
            while newest is not None and newest.closed:
                newest = newest.before
            if newest is not None:
                _registered[self.scheme] = newest  # never gone for a moment: others look without the lock
            else:
                _registered.pop(self.scheme, None)


def register(scheme: str, factory: Factory) -> Registration:
    """Targets of this scheme are resolved by what ``factory`` makes, from now on. Any thread.

    It is called with the `ChannelTarget` of each new channel and returns its `Resolver`; it raises `InvalidTargetError`
    for a target that it does not understand, and what it raises is raised where the channel is made. An installed
    package registers by an entry point of the group ``proxyless.resolvers`` instead, whose name is the scheme. Schemes
    of our own can be replaced. Raises ValueError for what is no scheme.

    >>> class Toy(Resolver):
    ...     def start(self, observer):
    ...         observer(Resolved((Pool("all", (Endpoint("127.0.0.1", 50051),)),)))
    ...     def close(self): ...
    >>> registration = rpc.resolver.register("toy", lambda target: Toy())
    >>> with rpc.insecure_channel("toy:///greeter") as channel:
    ...     stub = GreeterStub(channel)
    >>> registration.close()
    """
    if not _is_scheme(scheme):
        raise ValueError(
            f"{scheme!r} is no scheme: it is written in small letters, digits, '+', '-' and '.', as in 'toy'"
        )
    with _lock:
        made = _registered[scheme] = Registration(scheme, factory)
    return made


def resolver_of(target: ChannelTarget) -> Resolver | None:
    """What the scheme's factory makes; None: nobody registered it. Raises `InvalidTargetError`, and what it raises."""
    registration = _registered.get(target.scheme)
    factory = registration.factory if registration is not None else _installed_factory(target)
    if factory is None:
        return None
    try:
        return factory(target)
    except Exception as error:
        error.add_note(f"{target.text!r}: raised by the resolver of scheme {target.scheme!r}, {factory!r}")
        raise


def endpoint_of(text: str) -> str:
    """What a target is about, without its scheme: ``toy://server/endpoint``, ``toy:endpoint``, ``endpoint``."""
    scheme, _, rest = text.partition(":")
    if rest.startswith("//"):
        return rest[2:].partition("/")[2]
    return rest if scheme.lower() in _registered or scheme.lower() in _installed() else text


def understood() -> str:
    """The schemes, for messages."""
    names = ", ".join(f"{scheme}:" for scheme in sorted({*tuple(_registered), *_installed()}))
    return f"{names} are understood; rpc.resolver.register, or an installed package's {GROUP}, adds others"


def _installed_factory(target: ChannelTarget) -> Factory | None:
    if (
        target.rest.isdigit() or target.rest in _NO_NAMES or not _is_scheme(target.scheme)
    ):  # host:port; who is installed is not looked for
        return None
    point = _installed().get(target.scheme)
    if point is None:
        return None
    try:
        factory: Factory = point.load()
    except Exception as error:
        whose = f"{point.value} of {point.dist.name if point.dist else 'an unknown package'}"
        raise InvalidTargetError(
            f"{target.text!r}: the resolver of scheme {target.scheme!r} cannot be loaded ({whose}): "
            f"{type(error).__name__}: {error}; mend that package, or uninstall it"
        ) from error
    return factory


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and _LETTERS.issuperset(text)


@cache
def _installed() -> dict[str, EntryPoint]:
    """Once a process: to look through all packages takes some ten milliseconds."""
    return {point.name.lower(): point for point in entry_points(group=GROUP)}
