"""What both worlds' channels are: a resolved target, its driver, and a multi-callable for each of the four kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rpc.credentials.composite import channel_call_credentials
from rpc.method import MethodSpec, limited
from rpc.options import ChannelOptions
from rpc.resolver.guarded import Guarded
from rpc.resolver.target import parse
from rpc.security import MeshProtection
from rpc.security.context import Sessions, sessions_of
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from rpc._native import TransportConfig
    from rpc.core import ChannelCore
    from rpc.method import Deserializer, Serializer
    from rpc.options import Options
    from rpc.resolver import Resolver
    from rpc.security import ChannelCredentials
    from xds_client import PilotExchanger


class HasCore(Protocol):
    core: ChannelCore


UU = TypeVar("UU")
US = TypeVar("US")
SU = TypeVar("SU")
SS = TypeVar("SS")
D = TypeVar("D", bound=HasCore)


class Calls(Generic[UU, US, SU, SS, D]):
    """``kinds`` make the multi-callables: unary-unary, unary-stream, stream-unary, stream-stream."""

    def __init__(
        self,
        target: str,
        options: Options,
        compression: grpc.Compression | None,
        credentials: ChannelCredentials | None,
        mesh: PilotExchanger | None,
        resolver: Resolver | None,
        driver: Callable[[str, TransportConfig], D],
        kinds: tuple[
            Callable[[D, MethodSpec], UU],
            Callable[[D, MethodSpec], US],
            Callable[[D, MethodSpec], SU],
            Callable[[D, MethodSpec], SS],
        ],
    ) -> None:
        self._options = ChannelOptions.parse(options, compression)
        self._kinds = kinds
        if resolver is None:
            resolver = parse(target, mesh, self._options.lb_policy, self._options.dns_pause, self._options.dns_refresh)
        self._resolver = Guarded(resolver, target)
        self._driver = driver(target, self._options.transport_config())
        self._scheme = credentials.scheme if credentials is not None else "http"
        core = self._driver.core
        core.configure(self._options, channel_call_credentials(credentials))
        core.waiting_for = self._resolver.waiting_for
        identity = self._resolver.identity
        cache = self._options.session_cache
        sessions = Sessions() if cache is None else sessions_of(cache)
        core.protection = (
            credentials.protection(identity, self._options.target_name, sessions)
            if credentials is not None
            else MeshProtection(identity, sessions)
        )
        core.resume = self._resolver.resume
        core.authority = self._options.default_authority
        core.refresh = self._resolver.refresh
        core.proxied = self._resolver.proxied
        self._resolver.start(weakly(core.on_config))

    def __repr__(self) -> str:
        core = self._driver.core
        return f"<{type(self).__module__}.{type(self).__qualname__} to {core.target}, {core.connectivity().name}>"

    def _method(self, path: str, serialize: Serializer, deserialize: Deserializer) -> MethodSpec:
        options = self._options
        serialize = limited(serialize, options.max_send_message_length)
        return MethodSpec(path, serialize, deserialize, options.user_agent, options.compression, self._scheme)

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> UU:
        return self._kinds[0](self._driver, self._method(method, request_serializer, response_deserializer))

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> US:
        return self._kinds[1](self._driver, self._method(method, request_serializer, response_deserializer))

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> SU:
        return self._kinds[2](self._driver, self._method(method, request_serializer, response_deserializer))

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = False,
    ) -> SS:
        return self._kinds[3](self._driver, self._method(method, request_serializer, response_deserializer))
