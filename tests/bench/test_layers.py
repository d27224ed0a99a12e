"""Where the time of a call goes: the account adds up, and what it is made of is measured for real."""

from __future__ import annotations

import pytest

from bench import crossings, rungs
from bench.layers import SHAPES, Account, Cost, Once, Rung, as_json, derive, text
from bench.processes import ROOT
from bench.sampling import whose

SYNC, AIO, BUSY_SYNC, BUSY_AIO = SHAPES
ONCE = Once({1: 2.0, 16: 1.6, 64: 1.6}, 0.1)
COUNTED = {"engine": (1.0, 3.0), "ours": (1.0, 5.0)}
PARTS = {"kernel", "rust_http2_grpc", "rust_driver", "crossing", "python_rpc", "python_pool", "protobuf"}
RUNGS = {
    "raw": Rung(Cost(1.0, 6.0), Cost(1.0, 7.0), 25_000.0, 40.0),
    "engine": Rung(Cost(5.0, 8.0), Cost(6.0, 8.0), 20_000.0, 50.0),
    "bytes-inline": Rung(Cost(9.0, 8.0), Cost(12.0, 8.0), 15_000.0, 65.0),
    "bytes": Rung(Cost(9.0, 9.0), Cost(18.0, 12.0), 11_000.0, 85.0),
    "ours": Rung(Cost(12.0, 9.0), Cost(21.0, 12.0), 10_000.0, 100.0),
}


def lines(shape, measured=RUNGS):
    return {line.key: line for line in derive(shape, measured, COUNTED, ONCE)}


@pytest.mark.parametrize("column", ["client", "server", "together", "p50"])
def test_the_parts_are_the_whole(column):
    found = lines(SYNC)
    assert sum(getattr(found[key], column) for key in PARTS) == pytest.approx(getattr(found["all"], column))


def test_each_layer_has_what_it_is_above_the_one_below():
    found = lines(SYNC)
    assert {key: (line.client, line.server, line.p50) for key, line in found.items() if key in PARTS} == {
        "kernel": (9.0, 12.0, 40.0),
        "rust_http2_grpc": (1.0, 1.0, 2.0),
        "rust_driver": pytest.approx((5.0 - 1.0 - 0.1, 6.0 - 1.0 - 0.3, 10.0 - 2.0 - 0.4)),
        "crossing": pytest.approx((0.1, 0.5, 0.6)),
        "python_rpc": pytest.approx((4.0, 6.0 - 0.2, 15.0 - 0.2)),
        "python_pool": (0.0, 6.0, 20.0),
        "protobuf": (3.0, 3.0, 15.0),
    }


def test_only_a_lone_caller_has_a_p50():
    busy = {name: Rung(rung.client, rung.server, rung.rate) for name, rung in RUNGS.items()}
    assert {line.p50 for line in lines(BUSY_SYNC, busy).values()} == {None}


def test_asyncio_has_no_pool():
    found = lines(AIO, {name: RUNGS[name] for name in AIO.rungs})
    assert "python_pool" not in found
    assert sum(found[key].server for key in PARTS & found.keys()) == pytest.approx(found["all"].server)


def test_the_account_is_told_to_people_and_to_programs():
    account = Account(SYNC, RUNGS, COUNTED["ours"], derive(SYNC, RUNGS, COUNTED, ONCE), "no 'perf' on the PATH")
    said = text([account])
    assert "in Python: the pool" in said
    assert "perf's samples: none, no 'perf' on the PATH" in said
    entries = as_json([account])
    assert entries[0] == {"name": "unary_sync_kernel", "client": 9.0, "server": 12.0, "p50": 40.0, "unit": "µs"}
    assert entries[1] == {
        "name": "unary_sync_kernel_raw_socket",
        "client": 6.0,
        "server": 7.0,
        "p50": None,
        "unit": "µs",
    }
    assert entries[-1] == {"name": "unary_sync_all", "client": 21.0, "server": 33.0, "p50": 100.0, "unit": "µs"}


def test_a_crossing_takes_some_time_and_not_much():
    assert 0 < crossings.cost() < 1e-3


def test_perfs_libraries_have_owners():
    libraries = {
        "_native.abi3.so": "our Rust",
        "libpython3.11.so.1.0": "Python and its modules",
        "python3.13": "Python and its modules",
        "loop.cpython-311-x86_64-linux-gnu.so": "Python and its modules",
        "_message.abi3.so": "protobuf",
        "[kernel.kallsyms]": "kernel",
        "libc.so.6": "C library",
    }
    assert {library: whose(library) for library in libraries} == libraries


def test_the_cores_own_measurement_still_prints_what_is_looked_for():
    source = (ROOT / "native/core/examples/calls.rs").read_text()
    printed = source.replace("{:8.0}", "1234")
    assert {together for _, together in rungs.CORE_LINE.findall(printed)} == {"one at a time", "64 together"}
