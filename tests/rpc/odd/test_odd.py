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
from tests.rpc.odd.deliberate import DELIBERATE, GRPCIO_TO_OURS, OURS_TO_GRPCIO, OURS_TO_OURS
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
PAIRINGS = [OURS_TO_GRPCIO, GRPCIO_TO_OURS, OURS_TO_OURS]


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
    _, deliberate = DELIBERATE.get(_name(probe), ("", {}))
    expected, seen = control(probe), run(probe, *makes)
    assert len(seen) == len(expected)
    assert {number: expected[number] for number in deliberate} == {
        number: note.grpcio for number, note in deliberate.items()
    }, "what grpcio does has changed"
    pinned = {number: note.here[makes] for number, note in deliberate.items() if makes in note.here}
    assert {number: seen[number] for number in pinned} == pinned, "what ours does has changed"
    different = {
        number: pair
        for number, pair in enumerate(zip(expected, seen, strict=True))
        if number not in pinned and not same(pair[1], pair[0])
    }
    assert not different, "note: (grpcio, here)"


def test_every_deliberate_difference_is_of_a_probe():
    assert DELIBERATE.keys() <= {_name(probe) for probe in PROBES}


def test_what_is_deliberate_differs_from_grpcio():
    notes = [(name, number, note) for name, (_, notes) in DELIBERATE.items() for number, note in notes.items()]
    assert notes
    assert not [(name, number) for name, number, note in notes if not note.here]
    assert not [
        (name, number, makes)
        for name, number, note in notes
        for makes, here in note.here.items()
        if same(here, note.grpcio)
    ]
