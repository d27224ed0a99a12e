"""What a route does with a request, whole (envoy/config/route/v3): one table for each message."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2 as rds  # type: ignore[import-untyped]
from envoy.type.http.v3 import cookie_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode import header_mutation, rate_limit, retry
from xds_client.decode.extensions import as_it_came, known_extension, named_extension
from xds_client.decode.shape import Shape
from xds_client.decode.values import HEADERS

# Tables that those here look up by name.
assert header_mutation
assert rate_limit
assert retry

OLD = "a form that Envoy does not take any more"

_attributes = {"attributes": lambda said: (said.name, said.value)}
hash_header = Shape(m.HashHeader, rds.RouteAction.HashPolicy.Header)
hash_cookie = Shape(m.Cookie, rds.RouteAction.HashPolicy.Cookie, by=_attributes)
cookie = Shape(m.Cookie, cookie_pb2.Cookie, by=_attributes)
hash_policy = Shape(
    m.HashPolicy,
    rds.RouteAction.HashPolicy,
    renamed={"connection_properties": "source_ip"},
    by={
        "connection_properties": lambda said: said.source_ip,
        "query_parameter": lambda said: said.name,
        "filter_state": lambda said: said.key,
    },
)
mirror_policy = Shape(m.RequestMirrorPolicy, rds.RouteAction.RequestMirrorPolicy)
max_stream_duration = Shape(m.MaxStreamDuration, rds.RouteAction.MaxStreamDuration)
upgrade_config = Shape(m.UpgradeConfig, rds.RouteAction.UpgradeConfig, by={"connect_config": as_it_came})
internal_redirect_policy = Shape(m.InternalRedirectPolicy, rds.InternalRedirectPolicy)
cluster_weight = Shape(m.ClusterWeight, rds.WeightedCluster.ClusterWeight, wholes=HEADERS)
weighted_clusters = Shape(m.WeightedClusters, rds.WeightedCluster)
route_action = Shape(
    m.RouteAction,
    rds.RouteAction,
    by={"inline_cluster_specifier_plugin": lambda said: named_extension(said.extension)},
    not_kept={
        "cors": OLD,
        "internal_redirect_action": "the older form of internal_redirect_policy, which istiod does not send",
        "max_internal_redirects": "the older form of internal_redirect_policy, which istiod does not send",
    },
)
redirect_action = Shape(m.RedirectAction, rds.RedirectAction)
direct_response_action = Shape(m.DirectResponseAction, rds.DirectResponseAction, by={"body_format": as_it_came})
decorator = Shape(m.Decorator, rds.Decorator)
filter_override = Shape(m.FilterOverride, rds.FilterConfig)
known_extension(rds.FilterConfig, filter_override)
