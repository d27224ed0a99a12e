"""The part of Istio's MeshConfig (`mesh.yaml` in the folder) that changes what a sidecar is sent."""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from localmesh.config.decode import Spec
from localmesh.config.extension_providers import ExtensionProvider

_OF_LABELS = frozenset(f"{string.ascii_lowercase}{string.digits}-")
_LONGEST_LABEL = 63


class OutboundMode(Enum):
    """What becomes of calls to hosts that the mesh does not know."""

    REGISTRY_ONLY = 0
    ALLOW_ANY = 1


@dataclass(frozen=True, slots=True)
class OutboundTrafficPolicy(Spec):
    mode: OutboundMode = OutboundMode.ALLOW_ANY


class Normalization(Enum):
    """How far paths are brought to one spelling before any rule reads them; each does what those before it do."""

    DEFAULT = 0
    NONE = 1
    BASE = 2
    MERGE_SLASHES = 3
    DECODE_AND_MERGE_SLASHES = 4


@dataclass(frozen=True, slots=True)
class PathNormalization(Spec):
    normalization: Normalization = Normalization.DEFAULT


@dataclass(frozen=True, slots=True)
class MeshConfig(Spec):
    """``default_config`` is for proxies and read by nobody here. Defaults are istiod's."""

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = "istio-system"
    enable_auto_mtls: bool = True
    connect_timeout: timedelta = timedelta(seconds=10)
    dns_refresh_rate: timedelta = timedelta(seconds=60)
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    path_normalization: PathNormalization = PathNormalization()
    extension_providers: tuple[ExtensionProvider, ...] = ()
    default_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Aliases in istiod's order, each once."""
        object.__setattr__(self, "trust_domain_aliases", tuple(sorted(set(self.trust_domain_aliases))))

    def problems(self) -> Iterator[tuple[str, str]]:
        if not _is_domain(self.trust_domain):
            yield "trustDomain", f"{self.trust_domain!r} is not a domain name"
        for alias in self.trust_domain_aliases:
            if not _is_domain(alias):
                yield "trustDomainAliases", f"{alias!r} is not a domain name"

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """All that a peer's identity may be of, each once (TrustDomainsForValidation)."""
        return tuple(dict.fromkeys(name for name in (self.trust_domain, *self.trust_domain_aliases) if name))


def _is_domain(text: str) -> bool:
    """Labels as of DNS, small letters; a dot may end it (`ValidateTrustDomain`)."""
    *labels, last = text.split(".")
    return all(map(_is_label, labels)) and (_is_label(last) or (bool(labels) and not last))


def _is_label(text: str) -> bool:
    bound = 0 < len(text) <= _LONGEST_LABEL and not text.startswith("-") and not text.endswith("-")
    return bound and _OF_LABELS.issuperset(text)
