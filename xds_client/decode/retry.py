"""Retries and hedging (envoy/config/route/v3/route_components.proto): one table for each message."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2 as rds  # type: ignore[import-untyped]
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2  # type: ignore[import-untyped]
from envoy.extensions.retry.priority.previous_priorities.v3 import (  # type: ignore[import-untyped]
    previous_priorities_config_pb2,
)

from xds_client import model as m
from xds_client.decode.extensions import known_extension, named_extension
from xds_client.decode.shape import Shape

back_off = Shape(m.RetryBackOff, rds.RetryPolicy.RetryBackOff)
reset_header = Shape(m.ResetHeader, rds.RetryPolicy.ResetHeader)
rate_limited_back_off = Shape(m.RateLimitedRetryBackOff, rds.RetryPolicy.RateLimitedRetryBackOff)
retry_policy = Shape(
    m.RetryPolicy,
    rds.RetryPolicy,
    by={
        "retry_priority": named_extension,
        "retry_host_predicate": named_extension,
        "retry_options_predicates": named_extension,
    },
)
hedge_policy = Shape(m.HedgePolicy, rds.HedgePolicy)
previous_hosts = Shape(m.PreviousHosts, previous_hosts_pb2.PreviousHostsPredicate)
previous_priorities = Shape(m.PreviousPriorities, previous_priorities_config_pb2.PreviousPrioritiesConfig)
known_extension(previous_hosts_pb2.PreviousHostsPredicate, previous_hosts)
known_extension(previous_priorities_config_pb2.PreviousPrioritiesConfig, previous_priorities)
