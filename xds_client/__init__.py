"""The control plane client: from a bootstrap to whole, typed, immutable configuration that keeps itself current.

with PilotExchanger(Bootstrap.load()) as exchanger:
    cluster = exchanger.get(ResourceType.CLUSTER, "outbound|9080||reviews.demo.svc.cluster.local", timeout=5.0)
    handle = exchanger.observe_target(Target.parse("xds:///reviews.demo:9080"), print)
"""

import logging

from xds_client.bootstrap import Bootstrap
from xds_client.errors import (
    BootstrapError,
    CertificateError,
    DecodeError,
    ExchangerClosedError,
    IdentityError,
    IdentityTimeoutError,
    IssuerError,
    ResourceError,
    ResourceMissingError,
    ResourceNotCachedError,
    ResourceTimeoutError,
    RootsError,
    TokenError,
    XdsError,
)
from xds_client.exchanger import PilotExchanger
from xds_client.identity import (
    CertificateFiles,
    Identity,
    IdentitySettings,
    IdentitySource,
    IdentityStatus,
    IstiodCa,
    SpiffeWorkloadApi,
)
from xds_client.model import InboundMissing, InvalidTargetError, Listener, Target, TargetConfig, TargetMissing
from xds_client.node import Node
from xds_client.observers import ObserverHandle
from xds_client.reconnect import ReconnectSchedule
from xds_client.resolve import Selected
from xds_client.resource_type import ResourceType
from xds_client.status import ConnectionStatus, Phase, Status

logging.getLogger(f"proxyless.{__name__}").addHandler(logging.NullHandler())

__all__ = [
    "Bootstrap",
    "BootstrapError",
    "CertificateError",
    "CertificateFiles",
    "ConnectionStatus",
    "DecodeError",
    "ExchangerClosedError",
    "Identity",
    "IdentityError",
    "IdentitySettings",
    "IdentitySource",
    "IdentityStatus",
    "IdentityTimeoutError",
    "InboundMissing",
    "InvalidTargetError",
    "IssuerError",
    "IstiodCa",
    "Listener",
    "Node",
    "ObserverHandle",
    "Phase",
    "PilotExchanger",
    "ReconnectSchedule",
    "ResourceError",
    "ResourceMissingError",
    "ResourceNotCachedError",
    "ResourceTimeoutError",
    "ResourceType",
    "RootsError",
    "Selected",
    "SpiffeWorkloadApi",
    "Status",
    "Target",
    "TargetConfig",
    "TargetMissing",
    "TokenError",
    "XdsError",
]
