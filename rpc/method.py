"""What a multi-callable knows of its method: path, serializers, the engine's prepared request head."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from rpc._native import Method
from rpc.credentials.call import plugins_of
from rpc.errors import CallFailed, failed
from rpc.options import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome
    from rpc.credentials import CallCredentials

    Serializer = Callable[[Any], bytes] | None
    Deserializer = Callable[[bytes], Any] | None


class _Prepared:
    """The engine's form of a method, shared by its variants that differ only for Python."""

    __slots__ = ("authority", "native")

    def __init__(self) -> None:
        self.authority = ""
        self.native: Method | None = None


class MethodSpec:
    """One method of one channel."""

    __slots__ = (
        "_compression",
        "_prepared",
        "_scheme",
        "_siblings",
        "_user_agent",
        "credentials",
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
        self.credentials: CallCredentials = ()
        self._prepared = _Prepared()

    def native(self, authority: str) -> Method:
        """The engine's form, made once per authority (which changes only with the configuration)."""
        prepared = self._prepared
        native = prepared.native
        if native is None or authority != prepared.authority:
            native = Method(self.path, authority, self._user_agent, self._compression, self._scheme)
            prepared.native, prepared.authority = native, authority
        return native

    def payload(self, request: Any) -> bytes:
        """The request as bytes. Raises what the serializer raises, `CallFailed` where the message is too large."""
        payload: bytes | None = self.serialize(request)
        if payload is None:
            raise ValueError("the serializer made nothing of it")
        return payload

    def response(self, outcome: Outcome) -> Any:
        """The response of a call that ended so; raises `CallFailed`."""
        if not outcome.ok or outcome.payload is None:
            raise CallFailed(outcome)
        try:
            return self.deserialize(outcome.payload)
        except Exception as error:
            raise CallFailed(undeserializable(outcome, error)) from error

    def at(self, path: str | bytes) -> MethodSpec:
        """The same with another path, as an interceptor may want it."""
        path = path.decode() if isinstance(path, bytes) else path
        return self if path == self.path else self._other(path, self._compression)

    def compressed(self, compression: grpc.Compression) -> MethodSpec:
        """The same method with its requests compressed like this, instead of as the channel says."""
        number = int(compression)
        sibling = self._siblings.get(number)
        if sibling is None:
            sibling = self._siblings[number] = self._other(self.path, number)
        return sibling

    def _other(self, path: str, compression: int) -> MethodSpec:
        return MethodSpec(path, self.serialize, self.deserialize, self._user_agent, compression, self._scheme)

    def authorized(self, credentials: grpc.CallCredentials) -> MethodSpec:
        """The same for one call that brings credentials. Raises TypeError."""
        other = copy.copy(self)
        other.credentials = plugins_of(credentials)
        return other


D = TypeVar("D")


class OfMethod(Generic[D]):
    """A multi-callable: a method, and the driver that its calls go through."""

    def __init__(self, driver: D, method: MethodSpec) -> None:
        self._driver = driver
        self._method = method

    def _as_asked(self, credentials: grpc.CallCredentials | None, compression: grpc.Compression | None) -> MethodSpec:
        """The method as one call wants it."""
        method = self._method if compression is None else self._method.compressed(compression)
        return method if credentials is None else method.authorized(credentials)


def _as_is(message: Any) -> Any:
    return message


def limited(serialize: Serializer, limit: int) -> Serializer:
    """Serializes, and raises `CallFailed` for a message over ``limit`` bytes (grpc.max_send_message_length)."""
    make = serialize or _as_is
    if limit >= UNLIMITED:
        return make

    def make_limited(message: Any) -> bytes:
        payload: bytes = make(message)
        if len(payload) > limit:
            raise CallFailed(failed(grpc.StatusCode.RESOURCE_EXHAUSTED, too_large(payload, limit)))
        return payload

    return make_limited


def too_large(payload: bytes, limit: int) -> str:
    return f"Sent message larger than max ({len(payload)} vs. {limit})"


def unsendable(error: Exception) -> Outcome:
    """How a call ends whose metadata, method name or payload the engine refuses (ValueError, TypeError)."""
    return failed(grpc.StatusCode.INTERNAL, str(error))


def unserializable(error: Exception) -> Outcome:
    """How a call ends whose request cannot be sent."""
    if isinstance(error, CallFailed):
        return error.outcome
    return failed(grpc.StatusCode.INTERNAL, f"Exception serializing request! ({type(error).__name__}: {error})")


def undeserializable(outcome: Outcome, error: Exception) -> Outcome:
    details = f"Exception deserializing response! ({type(error).__name__}: {error})"
    return outcome.replaced(grpc.StatusCode.INTERNAL.value[0], details)
