"""External authorization (envoy/extensions/filters/http/ext_authz/v3): one table for each message."""

from __future__ import annotations

from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode import header_mutation, services
from xds_client.decode.extensions import known_extension
from xds_client.decode.shape import Shape

# Tables that those here look up by name.
assert header_mutation
assert services

buffer_settings = Shape(m.BufferSettings, ext_authz_pb2.BufferSettings)
request = Shape(m.AuthorizationRequest, ext_authz_pb2.AuthorizationRequest)
response = Shape(m.AuthorizationResponse, ext_authz_pb2.AuthorizationResponse)
http_authorizer = Shape(m.HttpAuthorizer, ext_authz_pb2.HttpService)
ext_authz = Shape(m.ExtAuthz, ext_authz_pb2.ExtAuthz, by={"status_on_error": lambda said: int(said.code)})
check_settings = Shape(m.CheckSettings, ext_authz_pb2.CheckSettings)
per_route = Shape(m.ExtAuthzPerRoute, ext_authz_pb2.ExtAuthzPerRoute)
known_extension(ext_authz_pb2.ExtAuthz, ext_authz)
known_extension(ext_authz_pb2.ExtAuthzPerRoute, per_route)
