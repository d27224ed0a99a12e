"""Which tokens requests must carry, and from whom (envoy.extensions.filters.http.jwt_authn.v3). Frozen values.

Each class says which message it is, whose field names it keeps; times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from xds_client.model.matching import StringMatch
    from xds_client.model.route import RouteMatch
    from xds_client.model.services import HttpUri, ServiceRetries
    from xds_client.model.values import DataSource


@dataclass(frozen=True, slots=True)
class JwksFetch:
    """``JwksAsyncFetch``."""

    fast_listener: bool = False
    failed_refetch_duration: float | None = None


@dataclass(frozen=True, slots=True)
class RemoteJwks:
    """``RemoteJwks``."""

    http_uri: HttpUri | None = None
    cache_duration: float | None = None
    async_fetch: JwksFetch | None = None
    retry_policy: ServiceRetries | None = None


@dataclass(frozen=True, slots=True)
class JwtHeader:
    """``JwtHeader``."""

    name: str = ""
    value_prefix: str = ""


@dataclass(frozen=True, slots=True)
class JwtCache:
    """``JwtCacheConfig``."""

    jwt_cache_size: int = 0
    jwt_max_token_size: int = 0


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """``JwtProvider``. ``claim_to_headers``: pairs of header and claim (dots lead into claims of claims).

    ``space_delimited_claims``: ``normalize_payload_in_metadata``; None: not said. ``clock_skew_seconds`` 0: 60.
    """

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    subjects: StringMatch | None = None
    require_expiration: bool = False
    max_lifetime: float | None = None
    remote_jwks: RemoteJwks | None = None
    local_jwks: DataSource | None = None
    forward: bool = False
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    forward_payload_header: str = ""
    pad_forward_payload_header: bool = False
    payload_in_metadata: str = ""
    space_delimited_claims: tuple[str, ...] | None = None
    header_in_metadata: str = ""
    failed_status_in_metadata: str = ""
    clock_skew_seconds: int = 0
    jwt_cache_config: JwtCache | None = None
    claim_to_headers: tuple[tuple[str, str], ...] = ()
    clear_route_cache: bool = False


@dataclass(frozen=True, slots=True)
class OfProvider:
    """``provider_name`` and ``provider_and_audiences``: a good token of this provider; ``audiences`` in place of its
    own, None: its own.
    """

    provider_name: str
    audiences: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AnyRequirement:
    """``requires_any``: one of these."""

    requirements: tuple[JwtRequirement, ...]


@dataclass(frozen=True, slots=True)
class AllRequirements:
    """``requires_all``: each of these."""

    requirements: tuple[JwtRequirement, ...]


@dataclass(frozen=True, slots=True)
class AllowMissing:
    """``allow_missing``: no token is fine, a bad one is not."""


@dataclass(frozen=True, slots=True)
class AllowMissingOrFailed:
    """``allow_missing_or_failed``: anything is fine."""


JwtRequirement: TypeAlias = "OfProvider | AnyRequirement | AllRequirements | AllowMissing | AllowMissingOrFailed"


@dataclass(frozen=True, slots=True)
class JwtRule:
    """``RequirementRule``: ``requires``, or by ``requirement_name`` one of the filter's map; neither: nothing."""

    match: RouteMatch | None = None
    requires: JwtRequirement | None = None
    requirement_name: str | None = None


@dataclass(frozen=True, slots=True)
class FilterStateRule:
    """``FilterStateRule``."""

    name: str = ""
    requires: tuple[tuple[str, JwtRequirement], ...] = ()


@dataclass(frozen=True, slots=True)
class JwtAuthentication:
    """``JwtAuthentication``: the first rule that matches holds. Maps are pairs, sorted by name."""

    providers: tuple[tuple[str, JwtProvider], ...] = ()
    rules: tuple[JwtRule, ...] = ()
    filter_state_rules: FilterStateRule | None = None
    bypass_cors_preflight: bool = False
    requirement_map: tuple[tuple[str, JwtRequirement], ...] = ()
    strip_failure_response: bool = False
    stat_prefix: str = ""


@dataclass(frozen=True, slots=True)
class JwtPerRoute:
    """``PerRouteConfig``."""

    disabled: bool | None = None
    requirement_name: str | None = None
