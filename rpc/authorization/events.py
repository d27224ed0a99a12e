"""What is told of decisions: each denial, each dry run that would have denied, each call that a policy audits.

Told to whoever has asked by `report_to`, else to a logger, which says one line a second and how many it left out. Any
thread; a call waits for whoever is told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from rpc.seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.decision import Head

_log = logging.getLogger(f"proxyless.{__name__}")
_LONGEST_SHOWN = 200


class What(Enum):
    DENIED = "denied"
    DRY_RUN = "dry-run"  # it would have been denied, and was not
    AUDITED = "audited"


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """``peer`` is an address as grpcio writes it, ``principal`` who the mesh says that it is (empty: nobody).

    ``policy``: by the mesh's name for it (istiod's are ``ns[..]-policy[..]-rule[..]``); empty: no policy allows it.
    ``why``: in the words of Envoy's response code details.
    """

    what: What
    peer: str
    principal: str
    path: str
    policy: str
    why: str


Sink: TypeAlias = "Callable[[DecisionEvent], object]"


_lines = Seldom(_log)
_sinks: list[Sink] = []  # one at most


def report_to(sink: Sink | None) -> None:
    """From now on ``sink(event)`` hears of each decision that is worth telling; None: the log does again.

    It is called by the thread or in the loop that reads the connections: it is to be quick. What it raises is logged.

    >>> told = []
    >>> report_to(told.append)
    >>> report_to(None)
    """
    _sinks[:] = [] if sink is None else [sink]


def tell(what: What, head: Head, policy: str, why: str) -> None:
    """Of a decision about the request with this head."""
    sink = next(iter(_sinks), None)
    more = "" if sink is not None else _lines.due()
    if more is None:
        return
    tls = head.tls_info()
    principal = "" if tls is None else tls.identity or ""
    event = DecisionEvent(what, head.peer, principal, head.path, policy, why)
    if sink is None:
        _say(event, more)
        return
    try:
        sink(event)
    except Exception:
        _log.exception("whoever is told of decisions failed")


def _say(event: DecisionEvent, more: str) -> None:
    who = f"{event.peer} ({event.principal})" if event.principal else event.peer
    policy = event.policy or "no policy"
    _log.warning("%s: %r by %s, %s: %s%s", event.what.value, _shown(event.path), who, policy, event.why, more)


def _shown(path: str) -> str:
    return path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}..."
