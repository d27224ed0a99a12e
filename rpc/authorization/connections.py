"""The network filters of a chain: who may connect. Asked when a connection comes, and for each call on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.authorization.program import compile_filter, joined
from rpc.authorization.rbac import NETWORK_RBAC, RbacStep, of_connections
from xds_client.model import NetworkRbac

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpc._native import Rbac
    from rpc.authorization.decision import Authorize, Decision
    from rpc.authorization.request import Request
    from xds_client.model import Filter


def compile_network_filters(filters: Sequence[Filter]) -> RbacStep | None:
    """None: they ask nothing. Raises `CannotCarryOutError`."""
    together: RbacStep | None = None
    for found in filters:
        if found.type != NETWORK_RBAC:
            continue
        step = compile_filter(found, NetworkRbac, of_connections)
        if step is not None:
            together = step if together is None else step.after(together)
    return together


class _Asks:
    """What is asked by the head alone, as a step."""

    def __init__(self, authorize: Authorize) -> None:
        self._authorize = authorize

    def __call__(self, request: Request) -> Decision:
        return self._authorize(request.head)


def both(connections: RbacStep | None, requests: Authorize | None) -> tuple[Rbac | None, Authorize | None]:
    """What a chain asks of connections, and of each call."""
    if connections is None:
        return None, requests
    if requests is None:
        return connections.authorize, connections.authorize
    return connections.authorize, joined([connections, _Asks(requests)])
