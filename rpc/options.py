"""Channel and server options: grpc's names for what has a meaning here (grpc/include/grpc/impl/channel_arg_names.h)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpc.service_config import ServiceConfig

if TYPE_CHECKING:
    import grpc

Options = Iterable[tuple[str, Any]] | None

UNLIMITED = 2**32 - 1  # a gRPC message's length has 32 bits
_DEFAULT_RECEIVE = 4 * 1024 * 1024


def _limit(value: Any) -> int:
    return UNLIMITED if int(value) < 0 else int(value)


def _compression(given: dict[str, Any], compression: grpc.Compression | None) -> int:
    return int(given.get("grpc.default_compression_algorithm", 0) if compression is None else compression)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """Sizes in bytes; -1 in an option means unlimited. ``compression`` is a number of `grpc.Compression`.

    ``dns_pause``: seconds between two look-ups of a name at least.
    """

    max_receive_message_length: int = _DEFAULT_RECEIVE
    user_agent: str = ""
    target_name: str | None = None
    compression: int = 0
    default_authority: str | None = None
    lb_policy: str | None = None
    dns_pause: float = 30.0
    http_proxy: bool = True
    service_config: ServiceConfig | None = None
    max_send_message_length: int = UNLIMITED

    @classmethod
    def parse(cls, options: Options, compression: grpc.Compression | None = None) -> ChannelOptions:
        given = dict(options or ())
        own = f"grpc-python-proxyless/{importlib.metadata.version('proxyless')}"
        agent = (given.get("grpc.primary_user_agent"), own, given.get("grpc.secondary_user_agent"))
        config = given.get("grpc.service_config")
        retries = bool(given.get("grpc.enable_retries", True))
        service = ServiceConfig.parse(config, retries=retries) if config else None
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            max_send_message_length=_limit(given.get("grpc.max_send_message_length", -1)),
            user_agent=" ".join(part for part in agent if part),
            target_name=given.get("grpc.ssl_target_name_override"),
            default_authority=given.get("grpc.default_authority"),
            service_config=service,
            lb_policy=given.get("grpc.lb_policy_name") or (service.lb_policy if service else None),
            dns_pause=given.get("grpc.dns_min_time_between_resolutions_ms", 30_000) / 1000,
            http_proxy=bool(given.get("grpc.enable_http_proxy", True)),
            compression=_compression(given, compression),
        )


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Sizes in bytes; -1 in an option means unlimited. ``max_concurrent_streams`` holds per connection."""

    max_receive_message_length: int = _DEFAULT_RECEIVE
    max_concurrent_streams: int = 1000
    reuse_port: bool = True
    compression: int = 0
    max_send_message_length: int = UNLIMITED

    @classmethod
    def parse(cls, options: Options, compression: grpc.Compression | None = None) -> ServerOptions:
        given = dict(options or ())
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            max_send_message_length=_limit(given.get("grpc.max_send_message_length", -1)),
            max_concurrent_streams=int(given.get("grpc.max_concurrent_streams", 1000)),
            reuse_port=bool(given.get("grpc.so_reuseport", True)),
            compression=_compression(given, compression),
        )
