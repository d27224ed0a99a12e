"""A private network: this process leaves the machine's, and every pod gets a namespace of its own, as in a cluster.

Linux only. `unshare` and `setns` act on the calling thread; what it starts afterwards (threads, processes) inherits.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from e2e.envoy import netlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = "10.77.0.1"  # the node's own address: API server, istiod, probes
PODS = "10.77"  # 10.77.1.1 and on
PREFIX = 16
SWITCH = "pods"  # the node's own link
_NEW_NET = 0x40000000  # linux/sched.h CLONE_NEWNET

T = TypeVar("T")


@contextmanager
def private_network() -> Iterator[None]:
    """The calling thread, and all that it starts inside, is in a network of its own with a switch for pods."""
    before = _own_namespace()
    try:
        unshare()
        netlink.loopback_up()
        netlink.bridge(SWITCH, NODE, PREFIX)
        yield
    finally:
        with suppress(PermissionError):  # from a user namespace nobody gets back; then this one stays, and is empty
            _setns(before)
        os.close(before)


class PodNetwork:
    """A pod's network namespace with its eth0, whatever runs in it: Kubernetes' "sandbox". ``number`` is from 1."""

    def __init__(self, number: int) -> None:
        self.address = f"{PODS}.{1 + (number - 1) // 250}.{(number - 1) % 250 + 1}"
        self.namespace = _in_a_thread(_make_namespace)
        netlink.cable(f"pod{number}", SWITCH, "eth0", self.namespace)
        self.inside(self._bring_up)

    def enter(self) -> list[str]:
        """The beginning of a command that runs in it; pass ``namespace`` on as an open descriptor."""
        return ["nsenter", f"--net=/proc/self/fd/{self.namespace}"]

    def inside(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done by a thread in it; sockets that it opens stay in it."""

        def enter_and_work() -> T:
            _setns(self.namespace)
            return work()

        return _in_a_thread(enter_and_work)

    def close(self) -> None:
        """The kernel removes it, and its cable, with the last process in it."""
        os.close(self.namespace)

    def _bring_up(self) -> None:
        netlink.assign("eth0", self.address, PREFIX)
        netlink.default_route(NODE)


def unshare() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NET):
        error = ctypes.get_errno()
        raise OSError(
            error,
            f"no network namespace of our own: {os.strerror(error)}. Root is needed; without it, prefix the command "
            "with `unshare --user --map-root-user`",
        )


def _setns(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _make_namespace() -> int:
    unshare()
    netlink.loopback_up()
    return _own_namespace()


def _in_a_thread(work: Callable[[], T]) -> T:
    """Its result, from a thread that ends with it, so that nobody is left in another namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
