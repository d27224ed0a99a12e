"""gRPC's own arguments of channels and servers that are taken and change nothing here, each with its reason.

`docs/compatibility.md` lists them; a test walks gRPC's list, so that none is ignored by mistake.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_log = logging.getLogger(f"proxyless.{__name__}")

_REASONS: Mapping[str, tuple[str, ...]] = {
    "it is about C-core's own buffers, reads, frames and memory, which are not this engine's": (
        "grpc.http2.max_frame_size",
        "grpc.http2.write_buffer_size",
        "grpc.http2.hpack_table_size.decoder",
        "grpc.http2.hpack_table_size.encoder",
        "grpc.experimental.http2.enable_preferred_frame_size",
        "grpc.experimental.tcp_read_chunk_size",
        "grpc.experimental.tcp_min_read_chunk_size",
        "grpc.experimental.tcp_max_read_chunk_size",
        "grpc.experimental.tcp_tx_zerocopy_enabled",
        "grpc.experimental.tcp_tx_zerocopy_send_bytes_threshold",
        "grpc.experimental.tcp_tx_zerocopy_max_simultaneous_sends",
        "grpc.tcp_receive_buffer_size",
        "grpc.tsi.max_frame_size",
        "grpc.resource_quota",
        "grpc.event_engine_use_memory_allocator_factory",
        "grpc.optimization_target",
        "grpc.per_rpc_retry_buffer_size",
        "grpc.minimal_stack",
        "grpc.use_local_subchannel_pool",
    ),
    "it is C-core's inside, or has a pointer of C as its value": (
        "grpc.socket_mutator",
        "grpc.socket_factory",
        "grpc.authorization_policy_provider",
        "grpc.experimental.stats_plugins",
        "grpc.experimental.grpclb_channel_args",
        "grpc.security_frame_allowed",
        "grpc.disable_client_authority_filter",
        "grpc.http2_scheme",
        "grpc.http2.initial_sequence_number",
        "grpc.server_max_unrequested_time_in_server",
    ),
    "it is of other platforms, of census or of load balancers that this release has not": (
        "grpc.census",
        "grpc.loadreporting",
        "grpc.server_call_metric_recording",
        "grpc.use_cronet_packet_coalescing",
        "grpc.workaround.cronet_compression",
        "grpc.mobile_log_context",
        "grpc.channel_pooling_domain",
        "grpc.channel_id",
        "grpc.grpclb_call_timeout_ms",
        "grpc.grpclb_fallback_timeout_ms",
        "grpc.priority_failover_timeout_ms",
        "grpc.lb.ring_hash.ring_size_cap",
        "grpc.dns_enable_srv_queries",
        "grpc.experimental.enable_hedging",
        "grpc.inhibit_health_checking",
    ),
    "names are looked up by the system, which has limits of its own, and bring no service config": (
        "grpc.dns_ares_query_timeout",
        "grpc.service_config_disable_resolution",
    ),
    "messages are always compressed and decompressed as their heads say": (
        "grpc.per_message_compression",
        "grpc.per_message_decompression",
        "grpc.compression_enabled_algorithms_bitset",
        "grpc.default_compression_level",
    ),
    "binary metadata goes as base64, which every peer reads": ("grpc.http2.true_binary",),
    "keepalive alone pings here, as often as its own arguments say": (
        "grpc.http2.min_time_between_pings_ms",
        "grpc.http2.max_pings_without_data",
    ),
    "a connection that says nothing has 10 seconds, and thousands of them bounds of their own (docs/security.md)": (
        "grpc.server_handshake_timeout_ms",
    ),
    "not carried out in this release": (
        "grpc.max_allowed_incoming_connections",
        "grpc.http_proxy",
        "grpc.address_http_proxy",
        "grpc.address_http_proxy_enabled_addresses",
        "grpc.happy_eyeballs_connection_attempt_delay_ms",
        "grpc.dscp",
        "grpc.surface_user_agent",
        "grpc.expand_wildcard_addrs",
    ),
    "`rpc.channelz` shows all channels and servers, and keeps no traces": (
        "grpc.enable_channelz",
        "grpc.max_channel_trace_event_memory_per_node",
    ),
    "it is the environment's, or `mesh=`": ("grpc.TEST_ONLY_DO_NOT_USE_IN_PROD.xds_bootstrap_config",),
    "connections whose policy has changed are told to go, over some seconds (docs/security.md)": (
        "grpc.experimental.server_config_change_drain_grace_time_ms",
    ),
}
IGNORED: Mapping[str, str] = {name: reason for reason, names in _REASONS.items() for name in names}

_told: set[str] = set()


def tell_ignored(names: Iterable[str]) -> None:
    """Log which of these arguments change nothing, each once in a process."""
    for name in (set(names) & IGNORED.keys()) - _told:
        _told.add(name)
        _log.info("the argument %s is ignored: %s", name, IGNORED[name])
