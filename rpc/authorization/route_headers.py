"""What the inbound routes of a chain do with requests and answers besides: the last step, as the router comes last.

Headers are changed. Time-outs of routes are not kept here, which is told when a chain is made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rpc.authorization.mutations import additions, removal
from rpc.authorization.per_route import only_route
from rpc.authorization.program import CannotCarryOutError, routes_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpc.authorization.mutations import Change
    from rpc.authorization.program import Step
    from rpc.authorization.request import Request
    from xds_client.model import ConnectionManager, HeaderOperations, RouteAction, RouteConfiguration

_log = logging.getLogger(f"proxyless.{__name__}")
_TIMES = ("timeout", "idle_timeout", "max_grpc_timeout", "grpc_timeout_offset")
_STREAM_TIMES = ("max_stream_duration", "grpc_timeout_header_max", "grpc_timeout_header_offset")


def compiled(manager: ConnectionManager) -> Step | None:
    """Raises `CannotCarryOutError`."""
    routes = manager.routes
    if routes is None:
        return None
    times = sorted({name for action in _actions(routes) for name in _times(action)})
    if times:
        _log.warning(
            "inbound routes %r say %s: not kept here; callers' deadlines hold, and those of handlers",
            routes.name,
            ", ".join(times),
        )
    only = only_route(routes)
    if only is None:
        if any(route.headers or host.headers for host in routes.virtual_hosts for route in host.routes):
            raise CannotCarryOutError(f"some of the inbound routes {routes.name!r} change headers")
        levels = [routes.terms.headers]
    else:
        levels = [only[1].headers, only[0].headers, routes.terms.headers]
    if routes.terms.most_specific_header_mutations_wins:
        levels.reverse()
    in_request = tuple(change for said in levels for change in _in_request(said))
    in_answer = tuple(change for said in levels for change in _in_answer(said))
    return _Changes(in_request, in_answer) if in_request or in_answer else None


def _actions(routes: RouteConfiguration) -> Iterator[RouteAction]:
    for host in routes.virtual_hosts:
        yield from (route.forward for route in host.routes if route.forward is not None)


def _times(action: RouteAction) -> Iterator[str]:
    yield from (name for name in _TIMES if getattr(action, name))
    if action.max_stream_duration is not None:
        yield from (name for name in _STREAM_TIMES if getattr(action.max_stream_duration, name))


def _in_request(said: HeaderOperations) -> tuple[Change, ...]:
    """Removed first, as in Envoy."""
    return (*map(removal, said.request_remove), *additions(said.request_add))


def _in_answer(said: HeaderOperations) -> tuple[Change, ...]:
    return (*map(removal, said.response_remove), *additions(said.response_add))


class _Changes:
    def __init__(self, in_request: tuple[Change, ...], in_answer: tuple[Change, ...]) -> None:
        self._in_request = in_request
        self._in_answer = in_answer

    def __call__(self, request: Request) -> None:
        for change in self._in_request:
            change.in_request(request)
        for change in self._in_answer:
            change.in_answer(request)


routes_by(compiled)
