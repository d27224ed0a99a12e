"""Channel and server options: grpc's names for what has a meaning here (grpc/include/grpc/impl/channel_arg_names.h)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rpc._native import TransportConfig
from rpc.ignored import tell_ignored
from rpc.service_config import ServiceConfig
from xds_client.backoff import USUAL, Backoff

if TYPE_CHECKING:
    import grpc

Options = Iterable[tuple[str, Any]] | None

_FOREVER = 1e9  # seconds
_NEVER = 2**31 - 1  # milliseconds, as grpc says it (INT_MAX)
_TWO_HOURS = 7_200_000
_HALF_AN_HOUR = 1_800_000
_FIVE_MINUTES = 300_000
BUSY_POLL = "proxyless.busy_poll_us"
DNS_REFRESH = "proxyless.dns_refresh_ms"
INITIAL_BACKOFF, MIN_BACKOFF, MAX_BACKOFF, FIXED_BACKOFF = (
    "grpc.initial_reconnect_backoff_ms",
    "grpc.min_reconnect_backoff_ms",
    "grpc.max_reconnect_backoff_ms",
    "grpc.testing.fixed_reconnect_backoff_ms",
)
UNLIMITED = 2**32 - 1  # a gRPC message's length has 32 bits
_MOST_CONNECTIONS = 10  # gRFC A105, "Configuration"
_DEFAULT_RECEIVE = 4 * 1024 * 1024
_LARGEST_WINDOW = 2**31 - 1  # RFC 9113, section 6.9.1


def _given(options: Options) -> dict[str, Any]:
    """Raises ValueError where they are no pairs, as in grpcio."""
    if isinstance(options, Mapping):
        raise ValueError("options are pairs of a name and a value: write list(options.items())")  # noqa: TRY004
    return dict(options or ())


def _limit(value: Any) -> int:
    return UNLIMITED if int(value) < 0 else int(value)


def _seconds(given: dict[str, Any], name: str, default: int = _NEVER) -> float | None:
    """Of an option in milliseconds; None: never."""
    milliseconds = int(given.get(name, default))
    return None if milliseconds >= _NEVER else max(0, milliseconds) / 1000


def _keepalive(given: dict[str, Any], default: int) -> tuple[float, float, bool] | None:
    time = _seconds(given, "grpc.keepalive_time_ms", default)
    if time is None:
        return None
    timeout = _seconds(given, "grpc.keepalive_timeout_ms", 20_000)
    return time, timeout if timeout is not None else _FOREVER, bool(given.get("grpc.keepalive_permit_without_calls", 0))


def _busy_poll(given: dict[str, Any]) -> float | None:
    """Seconds. The option is our own: who waits for bytes looks so long for them before it sleeps.

    None: for a moment, while it pays.
    """
    if BUSY_POLL not in given:
        return None
    microseconds = int(given[BUSY_POLL])
    if microseconds < 0:
        raise ValueError(f"{BUSY_POLL} is a number of microseconds, 0 (not at all) or more, not {microseconds}")
    return microseconds / 1e6


_LEAST_BACKOFF = 0.1  # seconds; C-core takes no less


def _backoff(given: dict[str, Any]) -> Backoff:
    """How long from one dial to the next, as C-core reads it; its argument for tests goes before the others."""
    if FIXED_BACKOFF in given:
        fixed = int(given[FIXED_BACKOFF]) / 1000
        return Backoff(initial=fixed, most=fixed, multiplier=1.0, jitter=0.0)
    initial = max(_LEAST_BACKOFF, int(given.get(INITIAL_BACKOFF, USUAL.initial * 1000)) / 1000)
    most = max(_LEAST_BACKOFF, int(given.get(MAX_BACKOFF, USUAL.most * 1000)) / 1000)
    return Backoff(initial=initial, most=most)


def _connect_timeout(given: dict[str, Any]) -> float | None:
    """What one dial may take; "min reconnect backoff" is gRPC's name for that."""
    if FIXED_BACKOFF in given:
        return max(_LEAST_BACKOFF, int(given[FIXED_BACKOFF]) / 1000)
    return max(_LEAST_BACKOFF, int(given[MIN_BACKOFF]) / 1000) if MIN_BACKOFF in given else None


def _header_list(given: dict[str, Any]) -> int | None:
    size = given.get("grpc.absolute_max_metadata_size", given.get("grpc.max_metadata_size"))
    return None if size is None else int(size)


def _stream_window(given: dict[str, Any]) -> int | None:
    """What a peer may send ahead on a stream from its start. With ``grpc.http2.bdp_probe`` it grows with the line."""
    size = given.get("grpc.http2.lookahead_bytes")
    return None if size is None else min(max(int(size), 0), _LARGEST_WINDOW)


def _connections(given: dict[str, Any], service: ServiceConfig | None) -> int:
    cap = int(given.get("grpc.max_connections_per_subchannel_cap", _MOST_CONNECTIONS))
    told = service.max_connections if service is not None else None
    return max(1, cap if told is None else min(told, cap))


def _compression(given: dict[str, Any], compression: grpc.Compression | None) -> int:
    return int(given.get("grpc.default_compression_algorithm", 0) if compression is None else compression)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """Sizes in bytes; -1 in an option means unlimited. ``compression`` is a number of `grpc.Compression`.

    ``dns_pause``: seconds between two look-ups of a name at least; ``dns_refresh``: after so many it is looked up
    though nothing went wrong. ``connect_timeout``: of each dial, None: as the configuration says. ``keepalive``: a
    ping after so many seconds of silence, how many its answer may take, and whether without calls, too.
    ``max_connections``: to one endpoint, while the server's limit of streams makes calls wait (gRFC A105, but for
    the default: unless told otherwise as many as its cap allows).
    """

    max_receive_message_length: int = _DEFAULT_RECEIVE
    user_agent: str = ""
    target_name: str | None = None
    compression: int = 0
    default_authority: str | None = None
    lb_policy: str | None = None
    dns_pause: float = 30.0
    dns_refresh: float | None = None
    backoff: Backoff = USUAL
    connect_timeout: float | None = None
    http_proxy: bool = True
    keepalive: tuple[float, float, bool] | None = None
    max_idle: float | None = None
    max_header_list: int | None = None
    stream_window: int | None = None
    bdp_probe: bool = True
    service_config: ServiceConfig | None = None
    max_connections: int = _MOST_CONNECTIONS
    max_send_message_length: int = UNLIMITED
    busy_poll: float | None = None
    session_cache: object = None

    @classmethod
    def parse(cls, options: Options, compression: grpc.Compression | None = None) -> ChannelOptions:
        given = _given(options)
        tell_ignored(given)
        own = f"grpc-python-proxyless/{importlib.metadata.version('proxyless')}"
        agent = (given.get("grpc.primary_user_agent"), own, given.get("grpc.secondary_user_agent"))
        config = given.get("grpc.service_config")
        retries = bool(given.get("grpc.enable_retries", True))
        service = ServiceConfig.parse(config, retries=retries) if config else None
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            max_send_message_length=_limit(given.get("grpc.max_send_message_length", -1)),
            user_agent=" ".join(part for part in agent if part),
            target_name=given.get("grpc.ssl_target_name_override") or _host(given.get("grpc.default_authority")),
            default_authority=given.get("grpc.default_authority"),
            service_config=service,
            max_connections=_connections(given, service),
            lb_policy=given.get("grpc.lb_policy_name") or (service.lb_policy if service else None),
            dns_pause=given.get("grpc.dns_min_time_between_resolutions_ms", 30_000) / 1000,
            dns_refresh=_seconds(given, DNS_REFRESH),
            backoff=_backoff(given),
            connect_timeout=_connect_timeout(given),
            http_proxy=bool(given.get("grpc.enable_http_proxy", True)),
            compression=_compression(given, compression),
            keepalive=_keepalive(given, _NEVER),
            max_idle=_seconds(given, "grpc.client_idle_timeout_ms", _HALF_AN_HOUR),
            max_header_list=_header_list(given),
            stream_window=_stream_window(given),
            bdp_probe=bool(given.get("grpc.http2.bdp_probe", True)),
            busy_poll=_busy_poll(given),
            session_cache=given.get("grpc.ssl_session_cache"),
        )

    def transport_config(self) -> TransportConfig:
        """What the engine is told."""
        return TransportConfig(
            self.max_receive_message_length,
            max_header_list=self.max_header_list,
            stream_window=self.stream_window,
            bdp_probe=self.bdp_probe,
            keepalive=self.keepalive,
            max_idle=self.max_idle,
            busy_poll=self.busy_poll,
        )


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Sizes in bytes; -1 in an option means unlimited. ``max_concurrent_streams`` holds per connection."""

    max_receive_message_length: int = _DEFAULT_RECEIVE
    max_concurrent_streams: int = 1000
    reuse_port: bool = True
    compression: int = 0
    max_send_message_length: int = UNLIMITED
    max_header_list: int | None = None
    stream_window: int | None = None
    bdp_probe: bool = True
    keepalive: tuple[float, float, bool] | None = None
    pings: tuple[float, bool, int | None] | None = None
    max_idle: float | None = None
    max_age: float | None = None
    grace: float | None = None
    busy_poll: float | None = None

    @classmethod
    def parse(cls, options: Options, compression: grpc.Compression | None = None) -> ServerOptions:
        given = _given(options)
        tell_ignored(given)
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            max_send_message_length=_limit(given.get("grpc.max_send_message_length", -1)),
            max_concurrent_streams=int(given.get("grpc.max_concurrent_streams", 1000)),
            reuse_port=bool(given.get("grpc.so_reuseport", True)),
            compression=_compression(given, compression),
            max_header_list=_header_list(given),
            stream_window=_stream_window(given),
            bdp_probe=bool(given.get("grpc.http2.bdp_probe", True)),
            keepalive=_keepalive(given, _TWO_HOURS),
            pings=_pings(given),
            max_idle=_seconds(given, "grpc.max_connection_idle_ms"),
            max_age=_seconds(given, "grpc.max_connection_age_ms"),
            grace=_seconds(given, "grpc.max_connection_age_grace_ms"),
            busy_poll=_busy_poll(given),
        )

    def transport_config(self) -> TransportConfig:
        """What the engine is told."""
        return TransportConfig(
            self.max_receive_message_length,
            max_concurrent_streams=self.max_concurrent_streams,
            max_header_list=self.max_header_list,
            stream_window=self.stream_window,
            bdp_probe=self.bdp_probe,
            keepalive=self.keepalive,
            pings=self.pings,
            max_idle=self.max_idle,
            max_age=self.max_age,
            grace=self.grace,
        )


def _pings(given: dict[str, Any]) -> tuple[float, bool, int | None]:
    """How often clients may ping (gRFC A8); None strikes: any number, which grpc writes 0."""
    interval = _seconds(given, "grpc.http2.min_ping_interval_without_data_ms", _FIVE_MINUTES)
    strikes = int(given.get("grpc.http2.max_ping_strikes", 2))
    without_calls = bool(given.get("grpc.keepalive_permit_without_calls", 0))
    return interval if interval is not None else _FOREVER, without_calls, strikes or None


def _host(authority: str | None) -> str | None:
    """Who the server has to be by its certificate, where the channel says another authority than its target's."""
    return urlsplit(f"//{authority}").hostname if authority else None
