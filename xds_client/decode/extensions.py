"""What is packed in a google.protobuf.Any: a value of the model where its type is known, else it is kept as it came.

A value that is malformed, or says more than this release knows, is kept as it came too, with the reason: who needs it
can fail by name, and nobody else loses anything.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError as WireError
from udpa.type.v1 import typed_struct_pb2 as udpa_typed_struct_pb2  # type: ignore[import-untyped]
from xds.type.v3 import typed_struct_pb2  # type: ignore[import-untyped]

from xds_client.decode.fields import (
    FieldError,
    TooManyPatternsError,
    UnsupportedError,
    kept_patterns,
    refuse_unknown_fields,
    unpacked,
)
from xds_client.decode.shape import shaped
from xds_client.decode.values import extension
from xds_client.model import Deferred, Opaque

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPED_STRUCTS = (typed_struct_pb2.TypedStruct, udpa_typed_struct_pb2.TypedStruct)
_KNOWN: dict[str, tuple[Any, Callable[[Any], Any]]] = {}
_DEEPEST = 16  # protobuf counts the depth of messages anew in each Any
_TOO_DEEP = "nested too deep"
_depth: ContextVar[int] = ContextVar("_depth", default=0)


def known_extension(message_type: Any, decode: Callable[[Any], Any]) -> None:
    """From now on ``decode`` makes what an Any of this type holds."""
    _KNOWN[message_type.DESCRIPTOR.full_name] = message_type, decode


def known_types() -> frozenset[str]:
    return frozenset(_KNOWN)


def packed(said: Any) -> Any:
    """The value of an Any; `Opaque` where nobody can tell it."""
    name = name_of(said.type_url)
    if name not in _KNOWN:
        return Opaque(type_of(said), bytes(said.value))
    depth = _depth.get()
    if depth >= _DEEPEST:
        return Opaque(name, bytes(said.value), _TOO_DEEP)
    token = _depth.set(depth + 1)
    try:
        return _opened(said, name)
    except RecursionError:  # what is packed in each other may be deep by itself, too
        return Opaque(name, bytes(said.value), _TOO_DEEP)
    finally:
        _depth.reset(token)


def _opened(said: Any, name: str) -> Any:
    message_type, decode = _KNOWN[name]
    try:
        message = unpacked(said, message_type)
        refuse_unknown_fields(message)
        with kept_patterns():
            return decode(message)
    except FieldError as error:
        problem = f"{error.field}: {error.reason}" if error.field else error.reason
        understood = isinstance(error, (UnsupportedError, TooManyPatternsError))
        return Opaque(name, bytes(said.value), problem, malformed=not understood)


def deferred(said: Any) -> Deferred[Any]:
    """`packed`, when somebody asks; as deep as it stands here."""
    depth = _depth.get()

    def read(data: bytes) -> Any:
        token = _depth.set(depth)
        try:
            return packed(any_pb2.Any.FromString(data))
        finally:
            _depth.reset(token)

    return Deferred(said.SerializeToString(), read)


def type_of(said: Any) -> str:
    """Of an Any: the message's full name; of a struct that says whose it is, that name. Empty: nothing is said."""
    for struct in _TYPED_STRUCTS:
        if said.Is(struct.DESCRIPTOR):
            try:
                return name_of(struct.FromString(said.value).type_url)
            except WireError:
                break
    return name_of(said.type_url)


def name_of(type_url: str) -> str:
    return type_url.rpartition("/")[2]


named_extension = extension(packed)
shaped("google.protobuf.Any", packed)
shaped("envoy.config.core.v3.TypedExtensionConfig", named_extension)


def as_it_came(message: Any) -> Opaque:
    """A message that is no Any and that nobody looks into, all the same."""
    return Opaque(message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True))
