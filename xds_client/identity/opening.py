"""From settings to a source of identities, and to the way to istiod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from xds_client.channels import GRPCIO, Channels
from xds_client.identity.access import IstiodAccess
from xds_client.identity.certificate import Expected
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.files import CertificateFiles
from xds_client.identity.istiod_ca import IstiodCa
from xds_client.identity.roots import RootsFile, Trust
from xds_client.identity.settings import IdentitySettings
from xds_client.identity.stream_access import StreamAccess
from xds_client.identity.workload_api import SpiffeWorkloadApi

if TYPE_CHECKING:
    from xds_client.identity.keeper import IdentityKeeper
    from xds_client.identity.source import IdentitySource
    from xds_client.node import Node


class Joining(Protocol):
    """What is asked of a bootstrap, which itself is made of this room's settings."""

    @property
    def node(self) -> Node: ...
    @property
    def discovery_address(self) -> str: ...
    @property
    def security(self) -> str: ...
    @property
    def identity(self) -> IdentitySettings | None: ...


def open_source(bootstrap: Joining, channels: Channels = GRPCIO) -> IdentityKeeper | None:
    """The source of this bootstrap, started; None if it has none."""
    settings = _settings(bootstrap)
    source = make_source(settings, bootstrap.node, bootstrap.discovery_address, channels=channels) if settings else None
    return source.start() if source else None


def stream_access(
    bootstrap: Joining, source: IdentitySource | None, channels: Channels = GRPCIO
) -> StreamAccess | None:
    """How the ADS stream gets to istiod; None: in plaintext."""
    if bootstrap.security != "tls":
        return None
    settings = _settings(bootstrap) or IdentitySettings()
    return StreamAccess(make_access(settings, bootstrap.node, bootstrap.discovery_address, channels=channels), source)


def make_access(
    settings: IdentitySettings, node: Node, address: str, clock: Clock = SYSTEM_CLOCK, channels: Channels = GRPCIO
) -> IstiodAccess:
    """How istiod at ``address`` is reached over TLS."""
    return IstiodAccess(
        address,
        RootsFile(settings.root_certificate_path),
        settings.token_path,
        cluster_id=node.cluster_id,
        server_name=settings.server_name,
        clock=clock,
        channels=channels,
    )


def make_source(
    settings: IdentitySettings,
    node: Node,
    discovery_address: str,
    clock: Clock = SYSTEM_CLOCK,
    channels: Channels = GRPCIO,
) -> IdentityKeeper | None:
    """The source that the settings choose, still to be started; None if they choose none."""
    domains = Expected(settings.trust_domain, settings.trust_domain_aliases)
    match settings.source:
        case "istiod":
            more = RootsFile(settings.extra_roots_path, "roots file", "mount it, or unset PROXYLESS_EXTRA_ROOTS_PATH")
            return IstiodCa(
                make_access(settings, node, settings.ca_address or discovery_address, clock, channels),
                Trust(RootsFile(settings.root_certificate_path), more if settings.extra_roots_path else None),
                Expected(settings.trust_domain, settings.trust_domain_aliases, node.namespace, node.service_account),
                ttl=settings.certificate_ttl,
                clock=clock,
            )
        case "files":
            return CertificateFiles(
                settings.certificate_path,
                settings.private_key_path,
                settings.root_certificate_path,
                domains,
                clock=clock,
            )
        case "workload_api":
            return SpiffeWorkloadApi(settings.workload_api_address, domains, clock=clock)
        case "none":
            return None
    raise ValueError(f"{settings.source!r} is no source of identities")


def _settings(bootstrap: Joining) -> IdentitySettings | None:
    if bootstrap.identity is None and bootstrap.security == "tls":
        return IdentitySettings()
    return bootstrap.identity
