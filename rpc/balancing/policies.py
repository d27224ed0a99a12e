"""The balancing policies by name, and how to add one."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from rpc.balancing.pickers import PICKERS
from rpc.fork import ProcessLock
from xds_client.model import LbPolicy

if TYPE_CHECKING:
    from rpc.balancing.endpoint import MakePicker

_LETTERS = frozenset(string.ascii_lowercase + string.digits + "_.-")
_lock = ProcessLock()
_OURS = {"pick_first": LbPolicy.PICK_FIRST, "round_robin": LbPolicy.ROUND_ROBIN, "random": LbPolicy.RANDOM}


class Registration:
    """A balancing policy that was registered, until `close`.

    >>> registration = rpc.balancing.register("last", lambda endpoints: Last(endpoints))
    >>> registration.close()
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._closed = False

    def close(self) -> None:
        """New configurations do not know it any more; what picks by it goes on."""
        with _lock:
            if not self._closed:  # else the name may be another's by now
                self._closed = True
                PICKERS.pop(self.name, None)


def register(name: str, make_picker: MakePicker) -> Registration:
    """Pools that say ``balancing=name`` are picked from by what ``make_picker`` makes, from now on. Any thread.

    It is called with the endpoints that are ready, at least one, and again whenever these are others; it returns a
    `Picker`. The options ``grpc.lb_policy_name`` and ``loadBalancingConfig`` know the name, too. Raises ValueError for
    a name that is taken, or none.

    >>> class Last:
    ...     def __init__(self, endpoints):
    ...         self._pick = Pick(endpoints[-1])
    ...     def pick(self, head):
    ...         return self._pick
    >>> registration = rpc.balancing.register("last", Last)
    >>> with rpc.insecure_channel("localhost:50051", [("grpc.lb_policy_name", "last")]) as channel:
    ...     stub = GreeterStub(channel)
    >>> registration.close()
    """
    if not name or not _LETTERS.issuperset(name):
        raise ValueError(f"{name!r} is no name of a policy: it is written in small letters, digits, '_', '.' and '-'")
    with _lock:
        if name in known():
            why = "is there already; close its registration, or take another name"
            raise ValueError(f"a balancing policy {name!r} {why}")
        PICKERS[name] = make_picker
    return Registration(name)


def known() -> frozenset[str]:
    """All names."""
    return frozenset((*_OURS, *(name for name in tuple(PICKERS) if isinstance(name, str))))


def named(name: str) -> LbPolicy | str | None:
    """What `PICKERS` knows it by; None: nobody registered it."""
    policy = _OURS.get(name, name)
    return policy if policy in PICKERS else None
