"""Faults, sessions that stay, cross-origin rules (envoy/extensions/filters/http): one table for each message."""

from __future__ import annotations

from envoy.extensions.filters.common.fault.v3 import fault_pb2 as common_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.cors.v3 import cors_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.fault.v3 import fault_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2  # type: ignore[import-untyped]
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2  # type: ignore[import-untyped]
from envoy.extensions.http.stateful_session.header.v3 import header_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode import ext_authz, header_mutation, jwt, rate_limit, rbac, route_action
from xds_client.decode.extensions import known_extension
from xds_client.decode.shape import Shape

# The other filters, so that whoever imports this knows them all.
OTHERS = (ext_authz, header_mutation, jwt, rate_limit, rbac, route_action)

_NO_RUNTIME = "there is no runtime here whose values could be taken instead"

fault_delay = Shape(m.FaultDelay, common_pb2.FaultDelay, by={"header_delay": lambda _: True})
fault_abort = Shape(m.FaultAbort, fault_pb2.FaultAbort, by={"header_abort": lambda _: True})
fault_rate_limit = Shape(
    m.FaultRateLimit,
    common_pb2.FaultRateLimit,
    by={"fixed_limit": lambda said: said.limit_kbps, "header_limit": lambda _: True},
)
fault = Shape(
    m.Fault,
    fault_pb2.HTTPFault,
    not_kept={
        field.name: _NO_RUNTIME for field in fault_pb2.HTTPFault.DESCRIPTOR.fields if field.name.endswith("_runtime")
    },
)
cookie_session = Shape(m.CookieSession, cookie_pb2.CookieBasedSessionState)
header_session = Shape(m.HeaderSession, header_pb2.HeaderBasedSessionState)
stateful_session = Shape(m.StatefulSession, stateful_session_pb2.StatefulSession)
stateful_session_per_route = Shape(m.StatefulSessionPerRoute, stateful_session_pb2.StatefulSessionPerRoute)
cors = Shape(m.Cors, cors_pb2.CorsPolicy)
known_extension(fault_pb2.HTTPFault, fault)
known_extension(cookie_pb2.CookieBasedSessionState, cookie_session)
known_extension(header_pb2.HeaderBasedSessionState, header_session)
known_extension(stateful_session_pb2.StatefulSession, stateful_session)
known_extension(stateful_session_pb2.StatefulSessionPerRoute, stateful_session_per_route)
known_extension(cors_pb2.CorsPolicy, cors)
