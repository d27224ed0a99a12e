"""What a servicer learns and says about its call, in both worlds (`grpc.ServicerContext`'s common part)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import grpc

from rpc.errors import metadata_tuple
from rpc.method import too_large
from rpc.security.peer import auth_context, identity_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpc._native import Pairs, ServerCall
    from rpc.errors import Metadatum


_log = logging.getLogger(__name__)


class AbortedError(Exception):
    """Raised by `abort` to leave the handler; not an error of the application."""


def code_number(code: Any) -> int:
    """A status code as the wire says it; an unknown kind of value becomes UNKNOWN, as in grpcio."""
    if isinstance(code, grpc.StatusCode):
        number: int = code.value[0]
        return number
    return code if isinstance(code, int) and 0 <= code <= 16 else grpc.StatusCode.UNKNOWN.value[0]  # noqa: PLR2004


def failure_code(context: CallState) -> Any:
    """How a call ends whose handler raised: as the handler has set it, else UNKNOWN."""
    return context.status if code_number(context.status) != 0 else grpc.StatusCode.UNKNOWN


class CallState:
    """The answer's status and metadata as the handler builds them."""

    max_send: int | None = None  # bytes; None: unlimited

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.status: Any = grpc.StatusCode.OK
        self.message = ""
        self.trailing: tuple[Metadatum, ...] = ()
        self.head_sent = False
        self.next_is_plain = False

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self.call.metadata())

    def peer(self) -> str:
        return self.call.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """The peer's names, by `peer_identity_key`; None: it is not authenticated. ``spiffe://…`` for a mesh's."""
        context = self.auth_context()
        key = identity_key(context)
        return None if key is None else context[key]

    def peer_identity_key(self) -> str | None:
        return identity_key(self.auth_context())

    def auth_context(self) -> dict[str, list[bytes]]:
        """What TLS says of the peer, with grpcio's keys; empty for plaintext."""
        return auth_context(self.call.protection())

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the responses of this call, if the client takes it so; before initial metadata is sent."""
        self.call.compress(int(compression))

    def disable_next_message_compression(self) -> None:
        """Send the next response as it is."""
        self.next_is_plain = True

    def plain(self) -> bool:
        """Whether the message that is sent now is to be left uncompressed."""
        plain, self.next_is_plain = self.next_is_plain, False
        return plain

    def time_remaining(self) -> float | None:
        return self.call.time_remaining()

    def set_trailing_metadata(self, trailing_metadata: Pairs) -> None:
        self.trailing = metadata_tuple(trailing_metadata)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self.trailing

    def set_code(self, code: Any) -> None:
        self.status = code

    def code(self) -> Any:
        return self.status

    def set_details(self, details: str) -> None:
        self.message = details

    def details(self) -> str:
        return self.message

    def begin_abort(self, code: Any, details: str, trailing_metadata: Pairs = ()) -> None:
        """Note how the call ends. Aborting with OK is a mistake of the handler (grpc.ServicerContext.abort)."""
        if code == grpc.StatusCode.OK:
            code, details = grpc.StatusCode.UNKNOWN, f"abort() called with StatusCode.OK; details: {details}"
        self.status, self.message = code, details
        if trailing_metadata:
            self.trailing = metadata_tuple(trailing_metadata)

    def deserialized(self, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes) -> Any:
        """One request; `AbortedError` (INTERNAL) when it makes no sense to the handler's deserializer."""
        if handler.request_deserializer is None:
            return payload
        try:
            return handler.request_deserializer(payload)
        except Exception:
            _log.exception("Exception deserializing request!")
            self.begin_abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            raise AbortedError from None

    def serialized(self, handler: grpc.RpcMethodHandler[Any, Any], response: Any) -> bytes:
        """One response; `AbortedError` (INTERNAL) when the handler's serializer cannot take it."""
        if handler.response_serializer is None:
            return self._allowed(bytes(response))
        try:
            payload: bytes = handler.response_serializer(response)
        except Exception:
            _log.exception("Failed to serialize response!")
            self.begin_abort(grpc.StatusCode.INTERNAL, "Failed to serialize response!")
            raise AbortedError from None
        return payload if self.max_send is None else self._allowed(payload)

    def _allowed(self, payload: bytes) -> bytes:
        """Raises `AbortedError` for a message over grpc.max_send_message_length."""
        if self.max_send is not None and len(payload) > self.max_send:
            self.begin_abort(grpc.StatusCode.RESOURCE_EXHAUSTED, too_large(payload, self.max_send))
            raise AbortedError
        return payload

    def finish(self) -> None:
        """Send the status as it stands."""
        self.call.finish(code_number(self.status), self.message, self.trailing or None)

    def fail(self, code: Any, details: str) -> None:
        """Send this status instead."""
        self.call.finish(code_number(code), details, self.trailing or None)
