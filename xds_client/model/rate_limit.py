"""How many requests are let through, and how they are counted. Frozen values, no behaviour; times in seconds.

Each class says which message of Envoy's it is, whose field names it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.matching import HeaderMatch, QueryParameterMatch
    from xds_client.model.values import Extension, Fraction, HeaderToAdd


@dataclass(frozen=True, slots=True)
class DescribedBy:
    """Those of ``envoy.config.route.v3.RateLimit.Action`` that take one value of the request: ``kind`` is the field's
    name (request_headers, query_parameters, remote_address, source_cluster, destination_cluster, generic_key) and
    ``name`` the header's or the parameter's; of a generic_key it is its value.
    """

    kind: str
    name: str = ""
    descriptor_key: str = ""
    skip_if_absent: bool = False


@dataclass(frozen=True, slots=True)
class DescribedByMetadata:
    """``RateLimit.Action.MetaData`` (source DYNAMIC or ROUTE_ENTRY), and its older form ``dynamic_metadata``."""

    descriptor_key: str
    filter: str
    path: tuple[str, ...] = ()
    default_value: str = ""
    source: str = "DYNAMIC"
    skip_if_absent: bool = False


@dataclass(frozen=True, slots=True)
class DescribedByAddress:
    """``RateLimit.Action.MaskedRemoteAddress``: None is the whole address."""

    v4_prefix_mask_len: int | None = None
    v6_prefix_mask_len: int | None = None


@dataclass(frozen=True, slots=True)
class DescribedByMatch:
    """``RateLimit.Action.HeaderValueMatch`` and ``QueryParameterValueMatch``: this value if the conditions hold."""

    descriptor_key: str = ""
    descriptor_value: str = ""
    expect_match: bool = True
    headers: tuple[HeaderMatch, ...] = ()
    query_parameters: tuple[QueryParameterMatch, ...] = ()


RateLimitAction = DescribedBy | DescribedByMetadata | DescribedByAddress | DescribedByMatch


@dataclass(frozen=True, slots=True)
class RateLimit:
    """``envoy.config.route.v3.RateLimit``: how a request is described to limits; an action may be an extension."""

    stage: int | None = None
    disable_key: str = ""
    actions: tuple[RateLimitAction | Extension, ...] = ()
    limit: object = None
    hits_addend: object = None
    apply_on_stream_done: bool = False


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """``envoy.type.v3.TokenBucket``. ``tokens_per_fill`` None: one."""

    max_tokens: int = 0
    tokens_per_fill: int | None = None
    fill_interval: float | None = None


@dataclass(frozen=True, slots=True)
class LocalRateLimitDescriptor:
    """``envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor``: pairs of key and value, and their bucket."""

    entries: tuple[tuple[str, str], ...] = ()
    token_bucket: TokenBucket | None = None


@dataclass(frozen=True, slots=True)
class LocalRateLimit:
    """``envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit``. ``status`` is HTTP's; None: 429.

    ``filter_enabled`` and ``filter_enforced`` None: never.
    """

    stat_prefix: str = ""
    status: int | None = None
    token_bucket: TokenBucket | None = None
    filter_enabled: Fraction | None = None
    filter_enforced: Fraction | None = None
    request_headers_to_add_when_not_enforced: tuple[HeaderToAdd, ...] = ()
    response_headers_to_add: tuple[HeaderToAdd, ...] = ()
    descriptors: tuple[LocalRateLimitDescriptor, ...] = ()
    stage: int = 0
    local_rate_limit_per_downstream_connection: bool = False
    local_cluster_rate_limit: bool = False
    enable_x_ratelimit_headers: str = "OFF"
    vh_rate_limits: str = "OVERRIDE"
    always_consume_default_token_bucket: bool | None = None
    rate_limited_as_resource_exhausted: bool = False
    rate_limits: tuple[RateLimit, ...] = ()
    max_dynamic_descriptors: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkLocalRateLimit:
    """``envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit``: of connections."""

    stat_prefix: str = ""
    token_bucket: TokenBucket | None = None
    runtime_enabled: object = None
    share_key: str = ""
