"""The HttpProtocolOptions of a cluster: which HTTP it speaks, and the limits of its connections. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.tls import hides_its_secret
from localmesh.config.destination_rule import ConnectionPool, H2UpgradePolicy
from localmesh.config.service_entry import Protocol

if TYPE_CHECKING:
    from localmesh.config.destination_rule import ClientTls
    from localmesh.config.service_entry import ServicePort

NAME = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def speaks_http2(port: ServicePort, pool: ConnectionPool) -> bool:
    """By protocol or by h2UpgradePolicy; useClientProtocol and sniffed ports leave it to the caller."""
    http = pool.http
    if http.use_client_protocol or port.parsed_protocol is Protocol.SNIFFED:
        return False
    return port.parsed_protocol.is_http2 or http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE


def http_protocol_options(
    port: ServicePort, pool: ConnectionPool, tls: ClientTls | None
) -> xds.http.HttpProtocolOptions | None:
    """None where istiod writes none: HTTP/1.1 or TCP without any setting."""
    http2 = speaks_http2(port, pool)
    follows_client = pool.http.use_client_protocol or port.parsed_protocol is Protocol.SNIFFED
    common = _common(pool)
    upstream = _upstream(tls)
    if not (http2 or follows_client or common or upstream):
        return None
    options = xds.http.HttpProtocolOptions(common_http_protocol_options=common, upstream_http_protocol_options=upstream)
    if follows_client:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    elif http2:
        options.explicit_http_config.http2_protocol_options.SetInParent()
        if pool.http.max_concurrent_streams:
            limit = options.explicit_http_config.http2_protocol_options.max_concurrent_streams
            limit.value = pool.http.max_concurrent_streams
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    return options


def _common(pool: ConnectionPool) -> xds.core.HttpProtocolOptions | None:
    idle = pool.tcp.idle_timeout if pool.http.idle_timeout is None else pool.http.idle_timeout
    requests = pool.http.max_requests_per_connection or None
    duration = pool.tcp.max_connection_duration
    if idle is None and requests is None and duration is None and not pool.http.max_concurrent_streams:
        return None
    return xds.core.HttpProtocolOptions(
        idle_timeout=idle,
        max_connection_duration=duration,
        max_requests_per_connection=xds.wrapped(requests),
    )


def _upstream(tls: ClientTls | None) -> xds.core.UpstreamHttpProtocolOptions | None:
    """Without an SNI of its own, TLS origination takes it, and the name to verify, from the request's authority."""
    if tls is None or not tls.originates or tls.sni or hides_its_secret(tls):
        return None
    verify = not tls.subject_alt_names and not tls.insecure_skip_verify
    return xds.core.UpstreamHttpProtocolOptions(auto_sni=True, auto_san_validation=verify)
