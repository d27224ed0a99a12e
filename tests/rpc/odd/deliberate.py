"""Where the probes may see something else than with grpcio, and what: docs/compatibility.md says why.

Each deviating note has both values, grpcio's and ours, and between which makes of client and server it is ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

OURS_TO_GRPCIO, GRPCIO_TO_OURS, OURS_TO_OURS = ("ours", "grpcio"), ("grpcio", "ours"), ("ours", "ours")


class Note(NamedTuple):
    """What grpcio alone does, and what is done between pairings of makes that differ from it."""

    grpcio: Any
    here: dict[tuple[str, str], Any]


def of_client(grpcio: Any, ours: Any) -> Note:
    """Our client does it, whoever serves it."""
    return Note(grpcio, {OURS_TO_GRPCIO: ours, OURS_TO_OURS: ours})


def of_server(grpcio: Any, ours: Any) -> Note:
    """Our server does it, whoever calls it."""
    return Note(grpcio, {GRPCIO_TO_OURS: ours, OURS_TO_OURS: ours})


def raised(*told: str) -> list[str]:
    return ["raised", *told]


def failed(code: str, details: str) -> list[str]:
    """A call in threads."""
    return raised("RpcError", "Call", "Future", code, details)


def aio_failed(code: str, details: str) -> list[str]:
    return raised("RpcError", "AioRpcError", code, details)


NO_PAIRS = failed("INTERNAL", "Invalid metadata: it has to be pairs of a name and a value")
AIO_NO_PAIRS = aio_failed("INTERNAL", "Invalid metadata: it has to be pairs of a name and a value")
EXPIRED = failed("DEADLINE_EXCEEDED", "Deadline Exceeded")
NOT_SERIALIZED = aio_failed("INTERNAL", "Failed to serialize response!")
BROKE = aio_failed("UNKNOWN", "Exception iterating requests! (ValueError('broke'))")
USAGE = raised("ValueError or UsageError")

NO_ERROR = "the call of `with_call` is no RpcError when it succeeded"
ANSWERS = "is_active and its like of an error answer; grpcio raises NotImplementedError"
ITERABLE = "requests and responses may be any iterable; grpcio's threads need an iterator"
NONE = "None from a deserializer of responses is a response"
LONG = "time-outs beyond the range of grpcio's clock are none"
PAIRS = "metadata that makes no sense fails the call with INTERNAL; grpcio: ValueError, TypeError, or its own"
TAGS = "grpc-tags-bin and grpc-trace-bin are metadata like others"
REMOVED = "details of calls that this side ended"
YIELDS = "a handler's None without a serializer is an error"
BROKEN_OK = "a handler that raises has failed, though it set OK before"
NUMBERS = "a number is a status code, as in grpc.aio"
DETAILS = "details that are no text are printed"
ABORT = "abort raises a subclass of Exception"
CONTEXT = "a context still answers when its call is over"
EARLY = "invalid metadata of a handler raises ValueError there"
MIXED = "responses may be read and iterated in turn"
CAUSE = "requests that raise end the call with UNKNOWN and the cause; grpc.aio: CANCELLED"
SERIALIZER = "what a serializer or deserializer of a handler raises is INTERNAL, as in threads; grpc.aio: UNKNOWN"
CHANNEL = "a handler registered after the start serves"
KNOWS = "a cancelled handler's context says so at once"
MATERIAL = "what is wrong with credentials is told when they are made; what are no credentials is a TypeError"
PLUGIN = "a plugin's metadata that is none fails the call at once"
AGAIN = "a stopped or never started asyncio server"

DELIBERATE: dict[str, tuple[str, dict[int, Note]]] = {
    "sync_calls.unary_outcomes": (NO_ERROR, {9: of_client(True, False)}),
    "sync_calls.raised_error": (
        ANSWERS,
        {
            6: of_client(raised("RuntimeError"), False),
            7: of_client(raised("RuntimeError"), None),
            8: of_client(raised("RuntimeError"), False),
        },
    ),
    "sync_requests.request_not_iterable": (
        ITERABLE,
        {
            1: of_client(failed("UNKNOWN", "Exception iterating requests!"), b"ab"),
            3: of_client(failed("UNKNOWN", "Exception iterating requests!"), [b"1"]),
        },
    ),
    "sync_requests.response_deserializer_raises": (
        ITERABLE,
        {
            6: of_client(
                failed("UNKNOWN", "Exception iterating requests!"),
                failed("INTERNAL", "Exception deserializing response! (ValueError: cannot)"),
            )
        },
    ),
    "sync_requests.response_deserializer_returns_none": (
        NONE,
        {
            0: of_client(failed("INTERNAL", "Exception deserializing response!"), None),
            1: of_client(failed("INTERNAL", "Exception deserializing response!"), [None, None, None]),
        },
    ),
    "sync_requests.timeouts": (
        LONG,
        {
            4: of_client(EXPIRED, b"x"),
            5: of_client(EXPIRED, b"x"),
            9: of_client(EXPIRED, [b"x", b"x", b"x"]),
            10: of_client(EXPIRED, failed("INTERNAL", "a timeout must be a number of seconds")),
        },
    ),
    "sync_requests.metadata_keys_and_values": (
        PAIRS,
        {15: of_client(USAGE, NO_PAIRS), 16: of_client(USAGE, NO_PAIRS), 23: of_client(USAGE, NO_PAIRS)},
    ),
    "sync_requests.reserved_metadata": (
        TAGS,
        {
            5: Note(
                b"[]",
                {
                    ("grpcio", "ours"): failed(
                        "INTERNAL", "Stream removed (RST_STREAM (Received RST_STREAM with error code 1))"
                    )
                },
            ),
            7: of_server(b"[]", b"[('grpc-tags-bin', b'1')]"),
            8: of_server(b"[]", b"[('grpc-trace-bin', b'1')]"),
        },
    ),
    "sync_calls.closed_during_calls": (
        REMOVED,
        {
            5: of_client(
                failed("CANCELLED", "Stream removed (Channel closed!)"), failed("CANCELLED", "Channel closed!")
            ),
            7: of_client("Stream removed (Channel closed!)", "Channel closed!"),
        },
    ),
    "sync_handlers.returns_none": (
        YIELDS,
        {
            1: of_server(
                [
                    failed("UNKNOWN", "Exception iterating responses: 'NoneType' object is not an iterator"),
                    "UNKNOWN",
                    "Exception iterating responses: 'NoneType' object is not an iterator",
                    [],
                    [],
                ],
                [
                    failed("UNKNOWN", "Exception iterating responses: 'NoneType' object is not iterable"),
                    "UNKNOWN",
                    "Exception iterating responses: 'NoneType' object is not iterable",
                    [],
                    [],
                ],
            ),
            2: of_server(
                [raised("StopIteration"), "OK", "", [], []],
                [
                    failed("INTERNAL", "Failed to serialize response!"),
                    "INTERNAL",
                    "Failed to serialize response!",
                    [],
                    [],
                ],
            ),
        },
    ),
    "sync_handlers.set_code_ok_then_abort": (
        BROKEN_OK,
        {
            2: Note(
                None,
                {
                    ("ours", "grpcio"): failed("UNIMPLEMENTED", "a unary call was not answered by exactly one message"),
                    ("grpcio", "ours"): failed("UNKNOWN", "Exception calling application: broke"),
                    ("ours", "ours"): failed("UNKNOWN", "Exception calling application: broke"),
                },
            )
        },
    ),
    "sync_handlers.odd_codes": (
        NUMBERS,
        {
            0: of_server(failed("UNKNOWN", "why"), failed("NOT_FOUND", "why")),
            1: of_server(failed("UNKNOWN", "why"), b"x"),
            7: of_server(failed("UNKNOWN", "why"), failed("NOT_FOUND", "why")),
            8: Note(
                failed("UNKNOWN", "why"),
                {
                    ("grpcio", "ours"): None,
                    ("ours", "ours"): failed("UNIMPLEMENTED", "a unary call was not answered by exactly one message"),
                },
            ),
            10: Note(
                failed("UNKNOWN", "why"),
                {
                    ("grpcio", "ours"): None,
                    ("ours", "ours"): failed("UNIMPLEMENTED", "a unary call was not answered by exactly one message"),
                },
            ),
            12: of_server(failed("UNKNOWN", ""), failed("UNKNOWN", "abort() called with StatusCode.OK; details: why")),
        },
    ),
    "sync_handlers.odd_details": (
        DETAILS,
        {
            0: of_server(
                failed("NOT_FOUND", "Exception calling application: 'NoneType' object has no attribute 'encode'"),
                failed("NOT_FOUND", ""),
            ),
            3: of_server(
                failed("NOT_FOUND", "Exception calling application: 'int' object has no attribute 'encode'"),
                failed("NOT_FOUND", "5"),
            ),
            4: of_server(
                failed("NOT_FOUND", "Exception calling application: 'NoneType' object has no attribute 'encode'"),
                failed("NOT_FOUND", ""),
            ),
            7: of_server(
                failed("NOT_FOUND", "Exception calling application: 'int' object has no attribute 'encode'"),
                failed("NOT_FOUND", "5"),
            ),
        },
    ),
    "sync_handlers.abort_catchable_as": (ABORT, {0: of_server([True, True, ""], [False, True, ""])}),
    "sync_contexts.context_basics": (
        DETAILS,
        {
            1: of_server(
                [
                    True,
                    None,
                    None,
                    None,
                    "ipv4",
                    None,
                    None,
                    "{'transport_security_type': [b'insecure'], 'security_level': [b'TSI_SECURITY_NONE']}",
                    True,
                    True,
                    "tuple",
                    True,
                    "NOT_FOUND",
                    "b'd'",
                    ["x-t='1'"],
                    True,
                    True,
                ],
                [
                    True,
                    None,
                    None,
                    None,
                    "ipv4",
                    None,
                    None,
                    "{'transport_security_type': [b'insecure'], 'security_level': [b'TSI_SECURITY_NONE']}",
                    True,
                    True,
                    "tuple",
                    True,
                    "NOT_FOUND",
                    "d",
                    ["x-t='1'"],
                    True,
                    True,
                ],
            )
        },
    ),
    "sync_contexts.odd_initial_metadata": (
        EARLY,
        {
            0: of_server([failed("INTERNAL", "Invalid metadata"), [None]], [b"r", [USAGE]]),
            1: of_server([failed("INTERNAL", "Invalid metadata"), [None]], [b"r", [USAGE]]),
        },
    ),
    "sync_contexts.context_after_the_call": (CONTEXT, {2: of_server(None, False), 6: of_server("", "ipv4")}),
    "sync_contexts.handler_after_client_cancel": (CONTEXT, {3: of_server(None, False)}),
    "sync_credentials.channel_material": (MATERIAL, {11: of_client("made", raised("TypeError"))}),
    "sync_credentials.server_material": (MATERIAL, {8: of_server("made", USAGE)}),
    "sync_credentials.what_are_no_credentials": (
        MATERIAL,
        {
            0: of_client(raised("AttributeError"), raised("TypeError")),
            1: of_client(raised("AttributeError"), raised("TypeError")),
            3: of_client(raised("AttributeError"), raised("TypeError")),
            4: of_client("made", raised("TypeError")),
            5: of_client(raised("AttributeError"), raised("TypeError")),
        },
    ),
    "sync_credentials.metadata_of_plugins_that_is_none": (
        PLUGIN,
        {
            0: of_client(
                raised("RpcError", "Call", "Future", "DEADLINE_EXCEEDED"),
                raised("RpcError", "Call", "Future", "UNAVAILABLE"),
            ),
            1: of_client(
                raised("RpcError", "Call", "Future", "DEADLINE_EXCEEDED"),
                raised("RpcError", "Call", "Future", "UNAVAILABLE"),
            ),
            2: of_client(
                raised("RpcError", "Call", "Future", "DEADLINE_EXCEEDED"),
                raised("RpcError", "Call", "Future", "UNAVAILABLE"),
            ),
        },
    ),
    "sync_servers.server_lifecycle": (CHANNEL, {6: of_server(failed("UNIMPLEMENTED", "Method not found!"), b"reg")}),
    "sync_handlers.response_iterators": (
        ITERABLE,
        {
            2: of_server(
                [
                    failed("UNKNOWN", "Exception iterating responses: 'tuple' object is not an iterator"),
                    "UNKNOWN",
                    "Exception iterating responses: 'tuple' object is not an iterator",
                    [],
                    [],
                ],
                [b"t", b"u", raised("StopIteration"), "OK", "", [], []],
            ),
            3: of_server(
                [
                    failed("UNKNOWN", "Exception iterating responses: 'dict' object is not an iterator"),
                    "UNKNOWN",
                    "Exception iterating responses: 'dict' object is not an iterator",
                    [],
                    [],
                ],
                [b"d", raised("StopIteration"), "OK", "", [], []],
            ),
        },
    ),
    "aio_streams.read_then_iterate": (
        MIXED,
        {1: of_client(USAGE, [b"x", b"x"]), 2: of_client(b"x", "EOF"), 4: of_client(USAGE, b"x")},
    ),
    "aio_streams.aiter_twice": (MIXED, {0: of_client(True, False)}),
    "aio_streams.request_iterators": (
        CAUSE,
        {
            7: of_client(
                raised("CancelledError"),
                aio_failed("UNKNOWN", "Exception iterating requests! (TypeError(\"'int' object is not iterable\"))"),
            ),
            8: of_client(
                raised("CancelledError"),
                aio_failed(
                    "UNKNOWN",
                    "Exception iterating requests! (TypeError(\"'int' object is not an instance of 'bytes'\"))",
                ),
            ),
        },
    ),
    "aio_streams.request_iterator_raises": (
        CAUSE,
        {
            0: of_client(raised("CancelledError"), BROKE),
            1: of_client("CANCELLED", "UNKNOWN"),
            2: of_client(raised("CancelledError"), BROKE),
            3: of_client(raised("CancelledError"), BROKE),
            4: of_client("CANCELLED", "UNKNOWN"),
        },
    ),
    "aio_calls.metadata_keys_and_values": (
        PAIRS,
        {
            0: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", "Invalid metadata: \"x-A\": a name is made of a-z, 0-9, '-', '_' and '.'"),
            ),
            1: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", "Invalid metadata: \"x a\": a name is made of a-z, 0-9, '-', '_' and '.'"),
            ),
            2: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", "Invalid metadata: \"\": a name is made of a-z, 0-9, '-', '_' and '.'"),
            ),
            3: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", 'Invalid metadata: "x-a": a value is printable ASCII'),
            ),
            4: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", 'Invalid metadata: "x-a": a value is printable ASCII'),
            ),
            6: of_client(
                raised("TypeError"),
                aio_failed(
                    "INTERNAL",
                    'Invalid metadata: the value of "x-a-bin" is a str; it has to be text, or bytes for -bin names',
                ),
            ),
            7: of_client(
                raised("TypeError"),
                aio_failed(
                    "INTERNAL",
                    'Invalid metadata: the value of "x-a" is a int; it has to be text, or bytes for -bin names',
                ),
            ),
            8: of_client(
                raised("TypeError"),
                aio_failed("INTERNAL", "Invalid metadata: a name is a int; it has to be text, or bytes for -bin names"),
            ),
            9: of_client(USAGE, AIO_NO_PAIRS),
            10: of_client(USAGE, AIO_NO_PAIRS),
            14: of_client(USAGE, AIO_NO_PAIRS),
            21: of_client(
                raised("another exception"),
                aio_failed("INTERNAL", "Invalid metadata: \":path\": a name is made of a-z, 0-9, '-', '_' and '.'"),
            ),
        },
    ),
    "aio_contexts.returns_none": (
        YIELDS,
        {
            0: of_server(b"", NOT_SERIALIZED),
            1: of_server(
                [b"", "EOF", "OK", "", [], []], [NOT_SERIALIZED, "INTERNAL", "Failed to serialize response!", [], []]
            ),
        },
    ),
    "aio_contexts.serializers": (
        SERIALIZER,
        {
            0: of_server(aio_failed("UNKNOWN", "Unexpected <class 'ValueError'>: ser"), NOT_SERIALIZED),
            1: of_server(aio_failed("UNKNOWN", "Unexpected <class 'ValueError'>: ser"), NOT_SERIALIZED),
            2: of_server(
                aio_failed("UNKNOWN", "Unexpected <class 'ValueError'>: ser"),
                aio_failed("INTERNAL", "Exception deserializing request!"),
            ),
            3: of_server(
                aio_failed("UNKNOWN", "Unexpected <class 'ValueError'>: ser"),
                aio_failed("INTERNAL", "Exception deserializing request!"),
            ),
        },
    ),
    "aio_contexts.write_after_client_left": (KNOWS, {1: of_server([False, False], [True, False])}),
    "aio_servers.server_lifecycle": (AGAIN, {0: of_server(True, False), 8: of_server(USAGE, None)}),
    "aio_servers.odd_metadata_of_handlers": (
        YIELDS,
        {8: of_server([raised()], [b"x"]), 9: of_server([raised()], [b"x"])},
    ),
}
