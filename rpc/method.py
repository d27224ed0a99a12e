"""What a multi-callable knows of its method: path, serializers, the engine's prepared request head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from rpc._native import Method

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome

    Serializer = Callable[[Any], bytes] | None
    Deserializer = Callable[[bytes], Any] | None


class MethodSpec:
    """One method of one channel."""

    __slots__ = ("_authority", "_native", "_user_agent", "deserialize", "path", "serialize")

    def __init__(self, path: str | bytes, serialize: Serializer, deserialize: Deserializer, user_agent: str) -> None:
        self.path = path.decode() if isinstance(path, bytes) else path
        self.serialize = serialize or _as_is
        self.deserialize = deserialize or _as_is
        self._user_agent = user_agent
        self._authority = ""
        self._native: Method | None = None

    def native(self, authority: str) -> Method:
        """The engine's form, made once per authority (which changes only with the configuration)."""
        native = self._native
        if native is None or authority != self._authority:
            native = Method(self.path, authority, self._user_agent)
            self._native, self._authority = native, authority
        return native


D = TypeVar("D")


class OfMethod(Generic[D]):
    """A multi-callable: a method, and the driver that its calls go through."""

    def __init__(self, driver: D, method: MethodSpec) -> None:
        self._driver = driver
        self._method = method


def _as_is(message: Any) -> Any:
    return message


def refuse_unsupported(credentials: object, compression: object) -> None:
    """Say so, rather than send in clear or uncompressed what was asked to be otherwise."""
    if credentials is not None:
        raise NotImplementedError("call credentials need TLS, which this release does not speak")
    if compression not in (None, grpc.Compression.NoCompression):
        raise NotImplementedError(f"compression {compression!r} is not supported in this release")


def undeserializable(outcome: Outcome, error: Exception) -> Outcome:
    details = f"Exception deserializing response! ({type(error).__name__}: {error})"
    return (grpc.StatusCode.INTERNAL.value[0], details, None, *outcome[3:])
