"""What a multi-callable knows of its method: path, serializers, the engine's prepared request head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from rpc._native import Method
from rpc.errors import CallFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome

    Serializer = Callable[[Any], bytes] | None
    Deserializer = Callable[[bytes], Any] | None


class MethodSpec:
    """One method of one channel."""

    __slots__ = (
        "_authority",
        "_compression",
        "_native",
        "_scheme",
        "_siblings",
        "_user_agent",
        "deserialize",
        "path",
        "serialize",
    )

    def __init__(
        self,
        path: str | bytes,
        serialize: Serializer,
        deserialize: Deserializer,
        user_agent: str,
        compression: int = 0,
        scheme: str = "http",
    ) -> None:
        self.path = path.decode() if isinstance(path, bytes) else path
        self.serialize = serialize or _as_is
        self.deserialize = deserialize or _as_is
        self._user_agent = user_agent
        self._compression = compression
        self._scheme = scheme
        self._siblings: dict[int, MethodSpec] = {compression: self}
        self._authority = ""
        self._native: Method | None = None

    def native(self, authority: str) -> Method:
        """The engine's form, made once per authority (which changes only with the configuration)."""
        native = self._native
        if native is None or authority != self._authority:
            native = Method(self.path, authority, self._user_agent, self._compression, self._scheme)
            self._native, self._authority = native, authority
        return native

    def response(self, outcome: Outcome) -> Any:
        """The response of a call that ended so; raises `CallFailed`."""
        if outcome[0] != 0 or outcome[2] is None:
            raise CallFailed(outcome)
        try:
            return self.deserialize(outcome[2])
        except Exception as error:
            raise CallFailed(undeserializable(outcome, error)) from error

    def at(self, path: str | bytes) -> MethodSpec:
        """The same with another path, as an interceptor may want it."""
        path = path.decode() if isinstance(path, bytes) else path
        if path == self.path:
            return self
        return MethodSpec(path, self.serialize, self.deserialize, self._user_agent, self._compression)

    def compressed(self, compression: grpc.Compression) -> MethodSpec:
        """The same method with its requests compressed like this, instead of as the channel says."""
        number = int(compression)
        sibling = self._siblings.get(number)
        if sibling is None:
            sibling = MethodSpec(self.path, self.serialize, self.deserialize, self._user_agent, number)
            sibling._siblings = self._siblings
            self._siblings[number] = sibling
        return sibling


D = TypeVar("D")


class OfMethod(Generic[D]):
    """A multi-callable: a method, and the driver that its calls go through."""

    def __init__(self, driver: D, method: MethodSpec) -> None:
        self._driver = driver
        self._method = method

    def _as_asked(self, credentials: grpc.CallCredentials | None, compression: grpc.Compression | None) -> MethodSpec:
        """The method as one call wants it."""
        if credentials is not None:
            refuse_unsupported(credentials)
        return self._method if compression is None else self._method.compressed(compression)


def _as_is(message: Any) -> Any:
    return message


def refuse_unsupported(credentials: object) -> None:
    """Say so, rather than send in clear what was asked to be otherwise."""
    if credentials is not None:
        raise NotImplementedError("call credentials need TLS, which this release does not speak")


def undeserializable(outcome: Outcome, error: Exception) -> Outcome:
    details = f"Exception deserializing response! ({type(error).__name__}: {error})"
    return (grpc.StatusCode.INTERNAL.value[0], details, None, *outcome[3:])
