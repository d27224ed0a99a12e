"""Small values that many of the mesh's messages have: metadata, extensions, shares, headers to set. No behaviour.

Each class says which message of Envoy's it is (envoy.config.core.v3 where nothing else is said).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# google.protobuf.Value: what JSON knows, lists as tuples.
Value: TypeAlias = "bool | float | str | tuple[Value, ...] | Struct | None"


@dataclass(frozen=True, slots=True)
class Struct:
    """``google.protobuf.Struct``, sorted by key."""

    fields: tuple[tuple[str, Value], ...] = ()

    def get(self, *path: str) -> Value:
        """What stands at the path, None if nothing does."""
        found: Value = self
        for key in path:
            if not isinstance(found, Struct):
                return None
            found = dict(found.fields).get(key)
        return found


@dataclass(frozen=True, slots=True)
class Opaque:
    """A message that this release does not look into: ``type`` is its full name, ``data`` its bytes.

    ``problem``: why not, where its type is one that is known; empty: the type is not. ``malformed``: it is wrong as it
    stands, and not only more than this release knows.
    """

    type: str
    data: bytes = field(default=b"", repr=False)
    problem: str = ""
    malformed: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """``TypedExtensionConfig``: whatever ``config`` is, `Opaque` or a value of this package."""

    name: str
    config: object = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """``Metadata``: by the filter (or, as Istio has it, the purpose) that it is for; sorted."""

    filter_metadata: tuple[tuple[str, Struct], ...] = ()
    typed_filter_metadata: tuple[tuple[str, object], ...] = ()

    def get(self, namespace: str, *path: str) -> Value:
        """What stands at the path, None if nothing does."""
        found = dict(self.filter_metadata).get(namespace)
        return None if found is None else found.get(*path)


class Deferred(Generic[T]):
    """A value that is read when somebody first asks for it: most of what a mesh says nobody wants.

    It is equal to one that was made of the same bytes: configurations are compared where nothing may be read or fail.
    """

    __slots__ = ("_packed", "_read", "_value")

    def __init__(self, packed: bytes, read: Callable[[bytes], T]) -> None:
        self._packed = packed
        self._read = read
        self._value: T | None = None

    @property
    def value(self) -> T:
        if self._value is None:  # two threads may both read it; what they read is the same
            self._value = self._read(self._packed)
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._packed == other._packed if isinstance(other, Deferred) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._packed)

    def __repr__(self) -> str:
        return repr(self.value)


class DeferredMetadata(Deferred[Metadata]):
    """A `Metadata` that is read when somebody first asks for it."""

    __slots__ = ()

    @property
    def filter_metadata(self) -> tuple[tuple[str, Struct], ...]:
        return self.value.filter_metadata

    @property
    def typed_filter_metadata(self) -> tuple[tuple[str, object], ...]:
        return self.value.typed_filter_metadata

    def get(self, namespace: str, *path: str) -> Value:
        """As `Metadata.get`."""
        return self.value.get(namespace, *path)


NO_METADATA = Metadata()


@dataclass(frozen=True, slots=True)
class Fraction:
    """``RuntimeFractionalPercent``. There is no runtime here: what it would be without an override is what holds."""

    per_million: int = 0
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeNumber:
    """``RuntimeDouble``, ``RuntimePercent`` (then of a hundred) and ``RuntimeUInt32``; see `Fraction`."""

    default_value: float = 0.0
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeFlag:
    """``RuntimeFeatureFlag``; see `Fraction`."""

    default_value: bool = False
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """``HeaderValue``: ``value`` may have formatters (``%START_TIME%``); ``raw_value`` is there instead where it has
    bytes that are no UTF-8.
    """

    key: str = ""
    value: str = ""
    raw_value: bytes = b""


@dataclass(frozen=True, slots=True)
class HeaderToAdd:
    """``HeaderValueOption``. ``append_action`` is one of APPEND_IF_EXISTS_OR_ADD, ADD_IF_ABSENT,
    OVERWRITE_IF_EXISTS_OR_ADD and OVERWRITE_IF_EXISTS; its older form ``append`` is told in these words too.
    """

    header: HeaderValue
    append_action: str = "APPEND_IF_EXISTS_OR_ADD"
    keep_empty_value: bool = False


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """``request_headers_to_add`` and its three siblings, as they stand at each level of a route configuration."""

    request_add: tuple[HeaderToAdd, ...] = ()
    request_remove: tuple[str, ...] = ()
    response_add: tuple[HeaderToAdd, ...] = ()
    response_remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.request_add or self.request_remove or self.response_add or self.response_remove)


NO_OPERATIONS = HeaderOperations()


@dataclass(frozen=True, slots=True)
class RegexRewrite:
    r"""``envoy.type.matcher.v3.RegexMatchAndSubstitute``: ``\1`` in the substitution is the pattern's first group."""

    pattern: str
    substitution: str = ""


@dataclass(frozen=True, slots=True)
class DataSource:
    """``DataSource``: one of its fields says where to take bytes from. They may be a secret: a repr tells none."""

    filename: str | None = None
    inline: bytes | None = field(default=None, repr=False)
    environment_variable: str | None = None
    watched_directory: str = ""
