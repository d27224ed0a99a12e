"""Services that filters ask (envoy/config/core/v3): one table for each message."""

from __future__ import annotations

from envoy.config.core.v3 import backoff_pb2, base_pb2, grpc_service_pb2, http_uri_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.extensions import as_it_came, named_extension
from xds_client.decode.shape import Shape

back_off = Shape(m.RetryBackOff, backoff_pb2.BackoffStrategy)
http_uri = Shape(m.HttpUri, http_uri_pb2.HttpUri)
retries = Shape(
    m.ServiceRetries,
    base_pb2.RetryPolicy,
    by={"retry_priority": named_extension, "retry_host_predicate": named_extension},
)
cluster_service = Shape(m.ClusterService, grpc_service_pb2.GrpcService.EnvoyGrpc)
grpc_service = Shape(m.GrpcService, grpc_service_pb2.GrpcService, by={"google_grpc": as_it_came})
