"""Of which kinds a request is, as its rate limits describe it (``envoy.config.route.v3.RateLimit``)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, ClassVar, TypeAlias
from urllib.parse import parse_qsl

from rpc.authorization.matching import headers_match, text_matches
from rpc.authorization.per_route import only_route
from rpc.authorization.program import CannotCarryOutError, managed
from xds_client.model import (
    DescribedBy,
    DescribedByAddress,
    DescribedByMatch,
    DescribedByMetadata,
    PresentMatch,
    StringMatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rpc.authorization.program import Surroundings
    from rpc.authorization.request import Request
    from xds_client.model import LocalRateLimit, QueryParameterMatch, RateLimit

Descriptor: TypeAlias = tuple[tuple[str, str], ...]
# One entry; False: the request is not of this kind; True: it has nothing to say, which is no matter.
Entry: TypeAlias = "tuple[str, str] | bool"
Describe: TypeAlias = "Callable[[Request], Entry]"


class Descriptors:
    def __init__(self, said: LocalRateLimit, around: Surroundings) -> None:
        """Raises `CannotCarryOutError` and `InvalidPatternError`."""
        self._around = around
        self._managed = managed(around.manager)
        limits = said.rate_limits or _of_routes(said, around)
        self._kinds = tuple(tuple(self._compiled(action) for action in limit.actions) for limit in _applicable(limits))

    def of(self, request: Request) -> list[Descriptor]:
        found = []
        for actions in self._kinds:
            entries: list[tuple[str, str]] = []
            for describe in actions:
                entry = describe(request)
                if entry is False:
                    break
                if entry is not True:
                    entries.append(entry)
            else:
                if entries:
                    found.append(tuple(entries))
        return found

    def _compiled(self, action: object) -> Describe:
        if isinstance(action, DescribedByAddress):
            return self._by_masked_address(action)
        if isinstance(action, DescribedByMatch):
            return _by_match(action)
        if isinstance(action, DescribedByMetadata) and action.source == "DYNAMIC":
            return _by_metadata(action)
        if isinstance(action, DescribedBy) and action.kind in self._VALUES:
            return self._VALUES[action.kind](self, action)
        kind = action.kind if isinstance(action, DescribedBy) else type(action).__name__
        raise CannotCarryOutError(f"requests are told apart by {kind}")

    def _client(self, request: Request) -> str | None:
        return self._managed.client(request.peer, b",".join(request.values("x-forwarded-for")))

    def _by_address(self, _: DescribedBy) -> Describe:
        def describe(request: Request) -> Entry:
            found = self._client(request)
            return False if found is None else ("remote_address", found)

        return describe

    def _by_masked_address(self, said: DescribedByAddress) -> Describe:
        def describe(request: Request) -> Entry:
            client = self._client(request)
            if client is None:
                return False
            found = ipaddress.ip_address(client)
            length = said.v4_prefix_mask_len if found.version == 4 else said.v6_prefix_mask_len  # noqa: PLR2004
            network = ipaddress.ip_network((found, found.max_prefixlen if length is None else length), strict=False)
            return "masked_remote_address", str(network)

        return describe

    def _by_destination(self, _: DescribedBy) -> Describe:
        routes = self._around.manager.routes if self._around.manager is not None else None
        only = only_route(routes) if routes is not None else None
        forward = only[1].forward if only is not None else None
        if forward is None or forward.cluster is None:
            raise CannotCarryOutError("requests are told apart by destination_cluster, and have several")
        destination = ("destination_cluster", forward.cluster)
        return lambda _: destination

    def _by_header(self, said: DescribedBy) -> Describe:
        name = said.name.lower()
        return lambda request: (
            (said.descriptor_key, request.text(name)) if request.values(name) else said.skip_if_absent
        )

    def _by_parameter(self, said: DescribedBy) -> Describe:
        def describe(request: Request) -> Entry:
            value = next((value for name, value in _parameters(request) if name == said.name), None)
            return said.skip_if_absent if value is None else (said.descriptor_key, value)

        return describe

    def _by_constant(self, said: DescribedBy) -> Describe:
        entry = (said.descriptor_key or "generic_key", said.name)
        return lambda _: entry

    _VALUES: ClassVar[dict[str, Callable[[Descriptors, DescribedBy], Describe]]] = {
        "destination_cluster": _by_destination,
        "generic_key": _by_constant,
        "query_parameters": _by_parameter,
        "remote_address": _by_address,
        "request_headers": _by_header,
    }


def _of_routes(said: LocalRateLimit, around: Surroundings) -> tuple[RateLimit, ...]:
    routes = around.manager.routes if around.manager is not None else None
    if routes is None:
        return ()
    only = only_route(routes)
    if only is None:
        spoken = any(host.rate_limits for host in routes.virtual_hosts)
        spoken |= any(r.forward is not None and r.forward.rate_limits for h in routes.virtual_hosts for r in h.routes)
        if spoken:
            raise CannotCarryOutError("some of its routes describe requests otherwise")
        return ()
    host, route = only
    own = route.forward.rate_limits if route.forward is not None else ()
    includes = route.forward is not None and route.forward.include_vh_rate_limits
    if includes or said.vh_rate_limits == "INCLUDE":
        found = (*own, *host.rate_limits)
    else:
        found = own if own or said.vh_rate_limits == "IGNORE" else host.rate_limits
    return tuple(limit for limit in found if (limit.stage or 0) == said.stage)


def _applicable(limits: Iterable[RateLimit]) -> list[RateLimit]:
    found = []
    for limit in limits:
        if limit.disable_key:
            continue
        for name in ("limit", "hits_addend", "apply_on_stream_done"):
            if getattr(limit, name):
                raise CannotCarryOutError(f"{name} of a rate limit")
        found.append(limit)
    return found


def _parameters(request: Request) -> list[tuple[str, str]]:
    return parse_qsl(request.path.partition("?")[2], keep_blank_values=True)


def _by_metadata(said: DescribedByMetadata) -> Describe:
    def describe(request: Request) -> Entry:
        found: object = request.metadata.get(said.filter)
        for key in said.path:
            found = found.get(key) if isinstance(found, dict) else None
        text = found if isinstance(found, str) and found else said.default_value
        return (said.descriptor_key, text) if text else said.skip_if_absent

    return describe


def _by_match(said: DescribedByMatch) -> Describe:
    entry = (said.descriptor_key or ("header_match" if said.headers else "query_match"), said.descriptor_value)
    headers, parameters = headers_match(said.headers), _parameters_match(said.query_parameters)

    def describe(request: Request) -> Entry:
        holds = headers(request) and parameters(request)
        return entry if holds == said.expect_match else False

    return describe


def _parameters_match(said: Sequence[QueryParameterMatch]) -> Callable[[Request], bool]:
    rules = []
    for one in said:
        wanted = one.rule.present if isinstance(one.rule, PresentMatch) else True
        rules.append((one.name, text_matches(one.rule) if isinstance(one.rule, StringMatch) else None, wanted))

    def hold(request: Request) -> bool:
        if not rules:
            return True
        found = dict(reversed(_parameters(request)))
        return all(
            (name in found) == present if rule is None else name in found and rule(found[name])
            for name, rule, present in rules
        )

    return hold
