"""An independent reading of the same bytes: envoy-data-plane's messages to our model, written from the .proto files.

Deliberately shares no code with xds_client.decode. It knows what istiod was seen to send, and no errors.
"""

from __future__ import annotations

from betterproto2 import which_one_of
from envoy_data_plane.envoy.config.cluster import v3 as cds
from envoy_data_plane.envoy.config.endpoint import v3 as eds
from envoy_data_plane.envoy.config.listener import v3 as lds
from envoy_data_plane.envoy.config.route import v3 as rds
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as http
from google.protobuf.wrappers_pb2 import StringValue

from xds_client import model as m
from xds_client.resource_type import ResourceType


def read(kind, data):
    return {
        ResourceType.CLUSTER: lambda: cluster(cds.Cluster.parse(data)),
        ResourceType.ENDPOINT: lambda: load_assignment(eds.ClusterLoadAssignment.parse(data)),
        ResourceType.LISTENER: lambda: listener(lds.Listener.parse(data)),
        ResourceType.ROUTE: lambda: route_configuration(rds.RouteConfiguration.parse(data)),
    }[kind]()


def cluster(c):
    discovery = m.DiscoveryType[c.type.name] if c.type is not None else m.DiscoveryType.STATIC
    limits = [t.max_requests for t in (c.circuit_breakers.thresholds if c.circuit_breakers is not None else [])]
    inline = discovery in (m.DiscoveryType.STATIC, m.DiscoveryType.STRICT_DNS, m.DiscoveryType.LOGICAL_DNS)
    return m.Cluster(
        name=c.name,
        discovery=discovery,
        eds_name=c.eds_cluster_config.service_name if discovery is m.DiscoveryType.EDS else "",
        lb_policy=m.LbPolicy[c.lb_policy.name],
        connect_timeout=c.connect_timeout.total_seconds() if c.connect_timeout is not None else 5.0,
        tls=upstream_tls(c, c.transport_socket) if c.transport_socket is not None else None,
        transport_matches=tuple(
            m.TransportSocketMatch(t.name, labels(t.match), upstream_tls(c, t.transport_socket))
            for t in c.transport_socket_matches
        ),
        inline_endpoints=load_assignment(c.load_assignment or eds.ClusterLoadAssignment()) if inline else None,
        max_requests=None if limits and limits[0] == 0xFFFFFFFF else (limits or [1024])[0],
        port_override=c.original_dst_lb_config.upstream_port_override or 0 if c.original_dst_lb_config else 0,
    )


def upstream_tls(c, socket):
    if socket.typed_config.type_url.endswith("RawBuffer"):
        return None
    context = tls.UpstreamTlsContext.parse(socket.typed_config.value)
    common = context.common_tls_context
    packed = c.typed_extension_protocol_options.get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
    said = http.HttpProtocolOptions.parse(packed.value).upstream_http_protocol_options if packed is not None else None
    own = [SECRETS[s.name] for s in common.tls_certificate_sds_secret_configs]
    return m.UpstreamTls(
        sni=context.sni,
        auto_sni=said is not None and said.auto_sni,
        alpn=tuple(common.alpn_protocols),
        auto_san_validation=said is not None and said.auto_san_validation,
        certificate=own[0] if own else None,
        **demanded(common),
    )


SECRETS = {"default": m.MeshSecret(), "ROOTCA": m.MeshSecret(), "file-root:system": m.SystemRoots()}


def demanded(common):
    """What both ends say alike: whom to trust and which versions."""
    combined = common.combined_validation_context
    return {
        "subject_alt_names": tuple(map(string_match, combined.default_validation_context.match_subject_alt_names)),
        "roots": SECRETS[combined.validation_context_sds_secret_config.name],
        "min_version": m.TlsVersion(common.tls_params.tls_minimum_protocol_version.name.replace("_", ".")),
        "max_version": m.TlsVersion(common.tls_params.tls_maximum_protocol_version.name.replace("_", ".")),
    }


def listener(whole):
    inspectors = {f.typed_config.type_url.rpartition(".")[2]: inspector(f) for f in whole.listener_filters}
    return m.Listener(
        name=whole.name,
        address=whole.address.socket_address.address,
        port=whole.address.socket_address.port_value,
        filter_chains=tuple(map(filter_chain, whole.filter_chains)),
        default_filter_chain=filter_chain(whole.default_filter_chain)
        if whole.default_filter_chain is not None
        else None,
        listener_filters=tuple(map(a_filter, whole.listener_filters)),
        tls_inspector=inspectors.get("TlsInspector"),
        http_inspector=inspectors.get("HttpInspector"),
    )


def a_filter(f):
    """Nothing that was captured comes by ECDS."""
    said = f.typed_config.type_url
    if said.endswith("TypedStruct"):  # envoy-data-plane has none; its first field is a string, as a StringValue's is
        said = StringValue.FromString(f.typed_config.value).value
    return m.Filter(f.name, said.split("/")[-1])


def inspector(f):
    disabled = f.filter_disabled
    if disabled is None:
        return m.Inspector()
    kind, rule = which_one_of(disabled, "rule")
    said = [r.destination_port_range for r in rule.rules] if kind == "or_match" else [rule]
    return m.Inspector(tuple((r.start, r.end) for r in said))


def filter_chain(chain):
    match = chain.filter_chain_match or lds.FilterChainMatch()
    last = chain.filters[-1].typed_config
    is_http = last.type_url.endswith("HttpConnectionManager")
    http_filters = hcm.HttpConnectionManager.parse(last.value).http_filters if is_http else ()
    closed = closed_http(hcm.HttpConnectionManager.parse(last.value)) if is_http else closed_tcp(last)
    return m.FilterChain(
        name=chain.name,
        match=m.FilterChainMatch(
            destination_port=match.destination_port,
            server_names=tuple(match.server_names),
            transport_protocol=match.transport_protocol,
            application_protocols=tuple(match.application_protocols),
        ),
        tls=downstream_tls(chain.transport_socket) if chain.transport_socket is not None else None,
        kind=m.ChainKind.HTTP if is_http else m.ChainKind.TCP,
        network_filters=tuple(map(a_filter, chain.filters)),
        http_filters=tuple(map(a_filter, http_filters)),
        unusable=f"filters[{len(chain.filters) - 1}].typed_config.{closed}" if closed else "",
    )


def closed_http(manager):
    """Outbound listeners are captured, too; nothing that comes in is for them."""
    if manager.rds is not None:
        return "rds: inbound routes of their own are not asked"
    [[only]] = [host.routes for host in manager.route_config.virtual_hosts]
    assert only.route.cluster in ("inbound|18080||", "InboundPassthroughCluster")
    return ""


def closed_tcp(packed):
    cluster = tcp_proxy.TcpProxy.parse(packed.value).cluster
    if cluster == "BlackHoleCluster":
        return "cluster: BlackHoleCluster drops every connection"
    return (
        ""
        if "nbound" in cluster and "outbound" not in cluster
        else f"cluster: {cluster!r} is not a port of this workload"
    )


def downstream_tls(socket):
    context = tls.DownstreamTlsContext.parse(socket.typed_config.value)
    common = context.common_tls_context
    return m.DownstreamTls(
        alpn=tuple(common.alpn_protocols),
        certificate=SECRETS[common.tls_certificate_sds_secret_configs[0].name],
        require_client_certificate=bool(context.require_client_certificate),
        **demanded(common),
    )


def labels(struct):
    return tuple(sorted((k, v.string_value) for k, v in (struct.fields if struct is not None else {}).items()))


def load_assignment(assignment):
    return m.ClusterLoadAssignment(
        assignment.cluster_name,
        tuple(
            m.LocalityEndpoints(
                m.Locality(group.locality.region, group.locality.zone, group.locality.sub_zone)
                if group.locality is not None
                else m.Locality(),
                group.priority,
                group.load_balancing_weight or 0,
                tuple(map(endpoint, group.lb_endpoints)),
            )
            for group in assignment.endpoints
        ),
    )


def endpoint(e):
    metadata = e.metadata.filter_metadata if e.metadata is not None else {}
    workload = metadata["istio"].fields["workload"].string_value if "istio" in metadata else ""
    address = e.endpoint.address.socket_address
    return m.Endpoint(
        address.address,
        address.port_value,
        1 if e.load_balancing_weight is None else e.load_balancing_weight,
        m.HealthStatus[e.health_status.name],
        labels(metadata.get("envoy.transport_socket_match")),
        workload,
    )


def route_configuration(table):
    return m.RouteConfiguration(
        table.name,
        tuple(
            m.VirtualHost(v.name, tuple(v.domains), tuple(route(r) for r in v.routes if not r.match.query_parameters))
            for v in table.virtual_hosts
        ),
        table.ignore_port_in_host_matching,
    )


def route(r):
    kind, action = which_one_of(r, "action")
    return m.Route(r.name, route_match(r.match), forward(action) if kind == "route" else m.UnsupportedAction(kind))


def forward(action):
    kind, value = which_one_of(action, "cluster_specifier")
    if kind == "cluster":
        clusters = (m.WeightedCluster(value, 1),)
    else:
        clusters = tuple(m.WeightedCluster(c.name, c.weight) for c in value.clusters)
    limits = [action.timeout if action.max_grpc_timeout is None else action.max_grpc_timeout]
    if action.max_stream_duration is not None:
        limits.append(action.max_stream_duration.max_stream_duration)
    positive = [limit.total_seconds() for limit in limits if limit is not None and limit.total_seconds() > 0]
    return m.ForwardAction(clusters, min(positive, default=None))


def route_match(match):
    kind, value = which_one_of(match, "path_specifier")
    case_sensitive = match.case_sensitive is not False
    path = {
        "path": lambda: m.PathMatch(m.PathMatchKind.EXACT, value, case_sensitive),
        "prefix": lambda: m.PathMatch(m.PathMatchKind.PREFIX, value, case_sensitive),
        "safe_regex": lambda: m.PathMatch(m.PathMatchKind.REGEX, value.regex),
    }[kind]()
    return m.RouteMatch(path, tuple(map(header, match.headers)), None)


def header(h):
    kind, value = which_one_of(h, "header_match_specifier")
    rule = m.PresentMatch(value) if kind == "present_match" else string_match(value)
    return m.HeaderMatch(h.name, rule, h.invert_match, h.treat_missing_header_as_empty)


def string_match(matcher):
    kind, value = which_one_of(matcher, "match_pattern")
    if kind == "safe_regex":
        return m.StringMatch(m.StringMatchKind.REGEX, value.regex)
    return m.StringMatch(m.StringMatchKind(kind), value, matcher.ignore_case)
