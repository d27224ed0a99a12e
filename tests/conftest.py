from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # time decides no test


# The files that take longest begin first: one worker has a file whole, and a long one begun last is waited for alone.
LONGEST = (
    "proxyless/test_command.py",
    "rpc/life/test_process_ends.py",
    "rpc/life/test_fork.py",
    "rpc/life/test_fork_servers.py",
    "rpc/life/test_ctrl_c.py",
    "rpc/odd/test_odd.py",
    "rpc/tls/test_modes.py",
    "rpc/parity/test_sizes_parity.py",
    "xds_client/identity/test_bad_input.py",
    "rpc/tls/test_half_open.py",
    "localmesh/test_keys_and_disks.py",
    "rpc/plan/test_picks_end.py",
    "rpc/server/test_departed.py",
    "rpc/tls/test_shapes_parity.py",
)


def pytest_collection_modifyitems(items):
    order = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(LONGEST)))


def pytest_addoption(parser):
    """How much of what has no natural end: little by default, more in a full run."""
    parser.addoption("--forks", type=int, default=30, help="forks under traffic (default: 30; a full run: 1000)")
    parser.addoption(
        "--soak-seconds", type=float, default=12.0, help="how long each soak lasts (default: 12; a full run: 600)"
    )
    parser.addoption(
        "--quiet-seconds", type=float, default=5.0, help="how long a quiet mesh lasts (default: 5; a full run: 600)"
    )
    parser.addoption(
        "--hostile-seconds", type=float, default=3.0, help="how long each attack lasts (default: 3; a full run: 60)"
    )


def pytest_collection_finish():
    """All that was collected stays to the end: no look for garbage goes through its quarter of a million objects again,
    which is a fifth of a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def without_threads(monkeypatch):
    """Call it, and no thread begins until it is called again."""
    real, none = threading.Thread.start, []

    def start(thread):
        if none:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)

    def switch():
        none[:] = [] if none else [True]

    return switch
