"""Whoever does something odd sees the same as with grpcio, or what `DELIBERATE` (docs/compatibility.md) says."""

from __future__ import annotations

import functools
import inspect
import logging

import pytest

from tests.rpc.odd import (
    aio_calls,
    aio_contexts,
    aio_credentials,
    aio_servers,
    aio_streams,
    aio_targets,
    sync_calls,
    sync_contexts,
    sync_credentials,
    sync_handlers,
    sync_proxies,
    sync_requests,
    sync_servers,
    sync_streams,
    sync_targets,
)
from tests.rpc.odd.lab import run, same

MODULES = (
    sync_calls,
    sync_requests,
    sync_streams,
    sync_handlers,
    sync_contexts,
    sync_servers,
    sync_targets,
    sync_credentials,
    sync_proxies,
    aio_calls,
    aio_streams,
    aio_contexts,
    aio_servers,
    aio_targets,
    aio_credentials,
)
PAIRINGS = [("ours", "grpcio"), ("grpcio", "ours"), ("ours", "ours")]

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

# Which notes of a probe may differ where an end is ours.
DELIBERATE = {
    "sync_calls.unary_outcomes": ({9}, NO_ERROR),
    "sync_calls.raised_error": ({6, 7, 8}, ANSWERS),
    "sync_requests.request_not_iterable": ({1, 3}, ITERABLE),
    "sync_requests.response_deserializer_raises": ({6}, ITERABLE),
    "sync_requests.response_deserializer_returns_none": ({0, 1}, NONE),
    "sync_requests.timeouts": ({4, 5, 9, 10}, LONG),
    "sync_requests.metadata_keys_and_values": ({15, 16, 23}, PAIRS),
    "sync_requests.reserved_metadata": ({5, 7, 8}, TAGS),
    "sync_calls.closed_during_calls": ({5, 7}, REMOVED),
    "sync_handlers.returns_none": ({1, 2}, YIELDS),
    "sync_handlers.set_code_ok_then_abort": ({2}, BROKEN_OK),
    "sync_handlers.odd_codes": ({0, 1, 7, 8, 10, 12}, NUMBERS),
    "sync_handlers.odd_details": ({0, 3, 4, 7}, DETAILS),
    "sync_handlers.abort_catchable_as": ({0}, ABORT),
    "sync_contexts.context_basics": ({1}, DETAILS),
    "sync_contexts.odd_initial_metadata": ({0, 1}, EARLY),
    "sync_contexts.context_after_the_call": ({2, 6}, CONTEXT),
    "sync_contexts.handler_after_client_cancel": ({3}, CONTEXT),
    "sync_credentials.channel_material": ({11}, MATERIAL),
    "sync_credentials.server_material": ({8}, MATERIAL),
    "sync_credentials.what_are_no_credentials": ({0, 1, 3, 4, 5}, MATERIAL),
    "sync_credentials.metadata_of_plugins_that_is_none": ({0, 1, 2}, PLUGIN),
    "sync_servers.server_lifecycle": ({6}, CHANNEL),
    "sync_handlers.response_iterators": ({2, 3}, ITERABLE),
    "aio_streams.read_then_iterate": ({1, 2, 4}, MIXED),
    "aio_streams.aiter_twice": ({0}, MIXED),
    "aio_streams.request_iterators": ({7, 8}, CAUSE),
    "aio_streams.request_iterator_raises": ({0, 1, 2, 3, 4}, CAUSE),
    "aio_calls.metadata_keys_and_values": ({0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 14, 21}, PAIRS),
    "aio_contexts.returns_none": ({0, 1}, YIELDS),
    "aio_contexts.serializers": ({0, 1, 2, 3}, SERIALIZER),
    "aio_contexts.write_after_client_left": ({1}, KNOWS),
    "aio_servers.server_lifecycle": ({0, 8}, AGAIN),
    "aio_servers.odd_metadata_of_handlers": ({8, 9}, YIELDS),
}


def _name(probe):
    return f"{probe.__module__.rpartition('.')[2]}.{probe.__name__}"


PROBES = [
    probe
    for module in MODULES
    for _, probe in inspect.getmembers(module, inspect.isfunction)
    if probe.__module__ == module.__name__
    and [*inspect.signature(probe).parameters] == ["lab"]
    and not probe.__name__.startswith("_")
]


@functools.lru_cache
def control(probe):
    return run(probe, "grpcio", "grpcio")


@pytest.mark.parametrize("makes", PAIRINGS, ids="-".join)
@pytest.mark.parametrize("probe", PROBES, ids=_name)
def test_it_is_as_with_grpcio(probe, makes, caplog):
    caplog.set_level(logging.CRITICAL)  # handlers and callbacks that raise are logged; here they raise on purpose
    allowed, _ = DELIBERATE.get(_name(probe), (set(), ""))
    expected, seen = control(probe), run(probe, *makes)
    assert len(seen) == len(expected)
    different = {
        number: pair
        for number, pair in enumerate(zip(expected, seen, strict=True))
        if not same(pair[1], pair[0]) and number not in allowed
    }
    assert not different, "note: (grpcio, here)"


def test_every_deliberate_difference_is_of_a_probe():
    assert DELIBERATE.keys() <= {_name(probe) for probe in PROBES}
