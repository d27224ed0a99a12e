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


_log = logging.getLogger(f"proxyless.{__name__}")
UNSERIALIZABLE = "Failed to serialize response!"
UNDESERIALIZABLE = "Exception deserializing request!"


def text_of(details: Any) -> str:
    """Details as the handler gave them: text, UTF-8, None for none; else what it prints as."""
    if isinstance(details, str):
        return details
    if isinstance(details, bytes):
        return details.decode(errors="replace")
    return "" if details is None else str(details)


class AbortedError(Exception):
    """Raised by `abort` to leave the handler; not an error of the application."""


class CallOverError(AbortedError, grpc.RpcError):
    """The client is gone: there is nobody to answer. Handlers may catch it as grpcio's, a `grpc.RpcError`."""


def code_number(code: Any) -> int:
    """A status code as the wire says it, None for OK; an unknown kind of value becomes UNKNOWN, as in grpcio."""
    if code is None:
        return 0
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
        self.status: Any = None
        self.message: Any = None
        self.trailing: tuple[Metadatum, ...] | None = None
        self.head_sent = False
        self.next_is_plain = False

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self.call.metadata())

    def peer(self) -> str:
        return self.call.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """Who the peer is, by `peer_identity_key`; None: it is not authenticated.

        In the mesh its one ``spiffe://…``; elsewhere its alternative names, as in grpcio.
        """
        key = self.peer_identity_key()
        return None if key is None else self.auth_context()[key]

    def peer_identity_key(self) -> str | None:
        return identity_key(self.auth_context(), self.call.tls_info())

    def auth_context(self) -> dict[str, list[bytes]]:
        """What TLS says of the peer, with grpcio's keys."""
        return auth_context(self.call.tls_info(), local=self.call.policy is not None and self.call.policy.local)

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

    def set_trailing_metadata(self, trailing_metadata: Pairs | None) -> None:
        self.trailing = metadata_tuple(trailing_metadata)

    def trailing_metadata(self) -> tuple[Metadatum, ...] | None:
        """As set; None before."""
        return self.trailing

    def set_code(self, code: Any) -> None:
        self.status = code

    def code(self) -> Any:
        """As set; None before."""
        return self.status

    def set_details(self, details: str) -> None:
        self.message = details

    def details(self) -> Any:
        """As set; None before."""
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
            request = handler.request_deserializer(payload)
        except Exception:
            raise self._refused(UNDESERIALIZABLE) from None
        if request is None:
            raise self._refused(UNDESERIALIZABLE)
        return request

    def serialized(self, handler: grpc.RpcMethodHandler[Any, Any], response: Any) -> bytes:
        """One response; `AbortedError` (INTERNAL) when the handler's serializer cannot take it."""
        serialize = handler.response_serializer
        try:
            payload: Any = response if serialize is None else serialize(response)
            if type(payload) is not bytes:
                payload = bytes(memoryview(payload))  # bytearrays and their like; TypeError for others
        except Exception:
            raise self._refused(UNSERIALIZABLE) from None
        allowed: bytes = payload if self.max_send is None else self._allowed(payload)
        return allowed

    def _refused(self, why: str) -> AbortedError:
        """A failure that the handler has set stands, as in grpcio: it may return None then."""
        if code_number(self.status) == 0:
            _log.exception(why)
            self.begin_abort(grpc.StatusCode.INTERNAL, why)
        return AbortedError()

    def _allowed(self, payload: bytes) -> bytes:
        """Raises `AbortedError` for a message over grpc.max_send_message_length."""
        if self.max_send is not None and len(payload) > self.max_send:
            self.begin_abort(grpc.StatusCode.RESOURCE_EXHAUSTED, too_large(payload, self.max_send))
            raise AbortedError
        return payload

    def reply(self, payload: bytes) -> None:
        """Send the only response, and the status as it stands: OK has details only where they were set."""
        if code_number(self.status) != 0:
            self.finish()
            return
        try:
            self.call.reply(payload, None, self.trailing or None, text_of(self.message), self.next_is_plain)
        except (TypeError, ValueError):
            self.finish()

    def finish(self) -> None:
        """Send the status as it stands."""
        self.fail(self.status, self.message)

    def fail(self, code: Any, details: Any) -> None:
        """Send this status instead."""
        try:
            self.call.finish(code_number(code), text_of(details), self.trailing or None)
        except (TypeError, ValueError) as error:  # the handler's trailing metadata; the client is owed an end
            _log.exception("%s: the call's end cannot be sent as the handler wants it", self.call.path)
            self.call.finish(grpc.StatusCode.INTERNAL.value[0], str(error), None)
