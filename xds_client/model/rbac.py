"""Who may do what, as an RBAC filter says it: an expression of small conditions. Frozen values, no behaviour.

Each class says which message or field of Envoy's it is (envoy.config.rbac.v3 where nothing else is said).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from xds_client.model.listener import Network
    from xds_client.model.matching import FilterStateMatch, HeaderMatch, MetadataMatch, StringMatch
    from xds_client.model.route import UriTemplate


class RbacAction(Enum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    LOG = "LOG"


@dataclass(frozen=True, slots=True)
class Anything:
    """``any``."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """``and_rules``, ``and_ids``."""

    of: tuple[Permission | Principal, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``or_rules``, ``or_ids``."""

    of: tuple[Permission | Principal, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """``not_rule``, ``not_id``."""

    of: Permission | Principal


@dataclass(frozen=True, slots=True)
class UrlPath:
    """``url_path``: without query and fragment."""

    path: StringMatch


@dataclass(frozen=True, slots=True)
class DestinationIp:
    """``Permission.destination_ip``."""

    network: Network


@dataclass(frozen=True, slots=True)
class DestinationPorts:
    """``Permission.destination_port`` and ``destination_port_range``: from ``start`` to below ``end``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RequestedServerName:
    """``Permission.requested_server_name``: what TLS asked for."""

    name: StringMatch


@dataclass(frozen=True, slots=True)
class Authenticated:
    """``Principal.Authenticated``: the caller has shown a certificate, of this name unless None."""

    principal_name: StringMatch | None = None


class Address(Enum):
    """Which address of the caller: ``source_ip`` (older, as direct), ``direct_remote_ip``, ``remote_ip``."""

    DIRECT = "direct_remote_ip"
    REMOTE = "remote_ip"  # after X-Forwarded-For and the like


@dataclass(frozen=True, slots=True)
class CallerIp:
    """``Principal.direct_remote_ip`` and ``remote_ip``."""

    network: Network
    address: Address


@dataclass(frozen=True, slots=True)
class SourcedMetadata:
    """``SourcedMetadata``, and ``metadata`` (DYNAMIC): ``source`` is DYNAMIC or ROUTE."""

    match: MetadataMatch
    source: str = "DYNAMIC"


Permission: TypeAlias = (
    "Anything | AllOf | AnyOf | Not | HeaderMatch | UrlPath | DestinationIp | DestinationPorts | RequestedServerName"
    " | SourcedMetadata | UriTemplate"
)
Principal: TypeAlias = (
    "Anything | AllOf | AnyOf | Not | HeaderMatch | UrlPath | Authenticated | CallerIp | SourcedMetadata"
    " | FilterStateMatch"
)


@dataclass(frozen=True, slots=True)
class RbacPolicy:
    """``Policy``: one of the permissions and one of the principals must fit. A ``condition`` in CEL, as it came, must
    hold besides; nobody here evaluates it, so a policy that has one cannot be obeyed.
    """

    permissions: tuple[Permission, ...] = ()
    principals: tuple[Principal, ...] = ()
    condition: object = None
    checked_condition: object = None
    cel_config: object = None


@dataclass(frozen=True, slots=True)
class Rbac:
    """``RBAC``: pairs of name and policy, sorted by name. istiod's names are ``ns[..]-policy[..]-rule[..]``."""

    action: RbacAction = RbacAction.ALLOW
    policies: tuple[tuple[str, RbacPolicy], ...] = ()
    audit_logging_options: object = None


@dataclass(frozen=True, slots=True)
class HttpRbac:
    """``envoy.extensions.filters.http.rbac.v3.RBAC``: ``rules`` None: all may pass. A ``matcher`` came as it is."""

    rules: Rbac | None = None
    rules_stat_prefix: str = ""
    matcher: object = None
    shadow_rules: Rbac | None = None
    shadow_matcher: object = None
    shadow_rules_stat_prefix: str = ""
    track_per_rule_stats: bool = False


@dataclass(frozen=True, slots=True)
class HttpRbacPerRoute:
    """``envoy.extensions.filters.http.rbac.v3.RBACPerRoute``: None: the filter is off there."""

    rbac: HttpRbac | None = None


@dataclass(frozen=True, slots=True)
class NetworkRbac:
    """``envoy.extensions.filters.network.rbac.v3.RBAC``: of connections."""

    rules: Rbac | None = None
    matcher: object = None
    shadow_rules: Rbac | None = None
    shadow_matcher: object = None
    shadow_rules_stat_prefix: str = ""
    stat_prefix: str = ""
    enforcement_type: str = "ONE_TIME_ON_FIRST_BYTE"
    delay_deny: float | None = None
