"""JWT providers and what is required of requests (envoy/extensions/filters/http/jwt_authn/v3)."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode import services
from xds_client.decode.extensions import known_extension
from xds_client.decode.fields import UnsupportedError, each
from xds_client.decode.route_match import route_match
from xds_client.decode.shape import OneOf, Shape, Whole

assert services  # tables that those here look up by name


def _claims(message: Any) -> tuple[str, ...] | None:
    if not message.HasField("normalize_payload_in_metadata"):
        return None
    return tuple(message.normalize_payload_in_metadata.space_delimited_claims)


def _match(message: Any) -> m.RouteMatch:
    """A rule that cannot be evaluated would let requests pass without a token."""
    found = route_match(message)
    if found.never:
        raise UnsupportedError("", found.never)
    return found


jwks_fetch = Shape(m.JwksFetch, config_pb2.JwksAsyncFetch)
remote_jwks = Shape(m.RemoteJwks, config_pb2.RemoteJwks)
jwt_header = Shape(m.JwtHeader, config_pb2.JwtHeader)
jwt_cache = Shape(m.JwtCache, config_pb2.JwtCacheConfig)
provider = Shape(
    m.JwtProvider,
    config_pb2.JwtProvider,
    by={"claim_to_headers": lambda said: (said.header_name, said.claim_name)},
    wholes={"space_delimited_claims": Whole(("normalize_payload_in_metadata",), _claims)},
)
requirement: OneOf = OneOf(
    config_pb2.JwtRequirement,
    "requires_type",
    {
        "provider_name": m.OfProvider,
        "provider_and_audiences": lambda said: m.OfProvider(said.provider_name, tuple(said.audiences)),
        "requires_any": lambda said: m.AnyRequirement(each("requirements", requirement, said.requirements)),
        "requires_all": lambda said: m.AllRequirements(each("requirements", requirement, said.requirements)),
        "allow_missing": lambda _: m.AllowMissing(),
        "allow_missing_or_failed": lambda _: m.AllowMissingOrFailed(),
    },
)
rule = Shape(m.JwtRule, config_pb2.RequirementRule, by={"match": _match})
filter_state_rule = Shape(m.FilterStateRule, config_pb2.FilterStateRule)
jwt_authentication = Shape(m.JwtAuthentication, config_pb2.JwtAuthentication)
per_route = Shape(m.JwtPerRoute, config_pb2.PerRouteConfig)
known_extension(config_pb2.JwtAuthentication, jwt_authentication)
known_extension(config_pb2.PerRouteConfig, per_route)
