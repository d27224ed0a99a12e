"""Services that filters ask (envoy.config.core.v3). Frozen values, no behaviour; times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.retry import RetryBackOff
    from xds_client.model.values import Extension, HeaderValue


@dataclass(frozen=True, slots=True)
class HttpUri:
    """``HttpUri``."""

    uri: str = ""
    cluster: str | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceRetries:
    """``RetryPolicy``."""

    retry_back_off: RetryBackOff | None = None
    num_retries: int | None = None
    retry_on: str = ""
    retry_priority: Extension | None = None
    retry_host_predicate: tuple[Extension, ...] = ()
    host_selection_retry_max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class ClusterService:
    """``GrpcService.EnvoyGrpc``."""

    cluster_name: str = ""
    authority: str = ""
    retry_policy: ServiceRetries | None = None
    max_receive_message_length: int | None = None
    skip_envoy_headers: bool = False


@dataclass(frozen=True, slots=True)
class GrpcService:
    """``GrpcService``: ``google_grpc`` is as it came."""

    envoy_grpc: ClusterService | None = None
    google_grpc: object = None
    timeout: float | None = None
    initial_metadata: tuple[HeaderValue, ...] = ()
    retry_policy: ServiceRetries | None = None
