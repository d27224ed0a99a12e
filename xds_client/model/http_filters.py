"""Faults, sessions that stay, cross-origin rules: HTTP filters with little to say. Frozen values; times in seconds.

Each class says which message of Envoy's it is, whose field names it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.matching import HeaderMatch, StringMatch
    from xds_client.model.route_action import Cookie
    from xds_client.model.values import Extension, Fraction, Struct


@dataclass(frozen=True, slots=True)
class FaultDelay:
    """``envoy.extensions.filters.common.fault.v3.FaultDelay``: ``percentage`` per million, None: never."""

    fixed_delay: float | None = None
    header_delay: bool = False
    percentage: int | None = None


@dataclass(frozen=True, slots=True)
class FaultAbort:
    """``envoy.extensions.filters.http.fault.v3.FaultAbort``: ``percentage`` per million, None: never."""

    http_status: int | None = None
    grpc_status: int | None = None
    header_abort: bool = False
    percentage: int | None = None


@dataclass(frozen=True, slots=True)
class FaultRateLimit:
    """``envoy.extensions.filters.common.fault.v3.FaultRateLimit``: ``fixed_limit`` in KiB a second."""

    fixed_limit: int | None = None
    header_limit: bool = False
    percentage: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """``envoy.extensions.filters.http.fault.v3.HTTPFault``, in the listener or for a route."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None
    upstream_cluster: str = ""
    headers: tuple[HeaderMatch, ...] = ()
    downstream_nodes: tuple[str, ...] = ()
    max_active_faults: int | None = None
    response_rate_limit: FaultRateLimit | None = None
    disable_downstream_cluster_stats: bool = False
    filter_metadata: Struct | None = None


@dataclass(frozen=True, slots=True)
class CookieSession:
    """``envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState``."""

    cookie: Cookie | None = None


@dataclass(frozen=True, slots=True)
class HeaderSession:
    """``envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState``."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class StatefulSession:
    """``envoy.extensions.filters.http.stateful_session.v3.StatefulSession``."""

    session_state: Extension | None = None
    strict: bool = False
    stat_prefix: str = ""


@dataclass(frozen=True, slots=True)
class StatefulSessionPerRoute:
    """``envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute``."""

    disabled: bool | None = None
    stateful_session: StatefulSession | None = None


@dataclass(frozen=True, slots=True)
class Cors:
    """``envoy.extensions.filters.http.cors.v3.CorsPolicy``, of a route."""

    allow_origin_string_match: tuple[StringMatch, ...] = ()
    allow_methods: str = ""
    allow_headers: str = ""
    expose_headers: str = ""
    max_age: str = ""
    allow_credentials: bool | None = None
    filter_enabled: Fraction | None = None
    shadow_enabled: Fraction | None = None
    allow_private_network_access: bool | None = None
    forward_not_matching_preflights: bool | None = None
