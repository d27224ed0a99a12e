"""Channel and server options: grpc's names for what has a meaning here (grpc/include/grpc/impl/channel_arg_names.h)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Options = Iterable[tuple[str, Any]] | None

UNLIMITED = 2**32 - 1  # a gRPC message's length has 32 bits
_DEFAULT_RECEIVE = 4 * 1024 * 1024


def _limit(value: Any) -> int:
    return UNLIMITED if int(value) < 0 else int(value)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """Sizes in bytes; -1 in an option means unlimited."""

    max_receive_message_length: int = _DEFAULT_RECEIVE
    user_agent: str = ""

    @classmethod
    def parse(cls, options: Options) -> ChannelOptions:
        given = dict(options or ())
        own = f"grpc-python-proxyless/{importlib.metadata.version('proxyless')}"
        primary = given.get("grpc.primary_user_agent")
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            user_agent=f"{primary} {own}" if primary else own,
        )


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Sizes in bytes; -1 in an option means unlimited. ``max_concurrent_streams`` holds per connection."""

    max_receive_message_length: int = _DEFAULT_RECEIVE
    max_concurrent_streams: int = 1000
    reuse_port: bool = True

    @classmethod
    def parse(cls, options: Options) -> ServerOptions:
        given = dict(options or ())
        return cls(
            max_receive_message_length=_limit(given.get("grpc.max_receive_message_length", _DEFAULT_RECEIVE)),
            max_concurrent_streams=int(given.get("grpc.max_concurrent_streams", 1000)),
            reuse_port=bool(given.get("grpc.so_reuseport", True)),
        )
