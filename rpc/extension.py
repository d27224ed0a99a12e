"""What a process adds to every channel and server that it makes here: where instrumentation hooks in.

    from opentelemetry.instrumentation import grpc as otel
    rpc.extend(
        channel=lambda channel: otel.grpcext.intercept_channel(channel, otel.client_interceptor()),
        server_interceptors=[otel.server_interceptor()],
        aio_channel_interceptors=otel.aio_client_interceptors(),
        aio_server_interceptors=[otel.aio_server_interceptor()],
    )

Instrumentors that replace `grpc.insecure_channel` and its like do not see these factories. Any thread; what was made
before is not touched. The channels to the control plane are out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc


@dataclass(frozen=True, eq=False)
class Extension:
    """Interceptors come before those that the maker of a channel or a server names itself."""

    channel: Callable[[grpc.Channel], grpc.Channel] | None = None
    server_interceptors: tuple[Any, ...] = ()
    aio_channel_interceptors: tuple[Any, ...] = ()
    aio_server_interceptors: tuple[Any, ...] = ()

    def close(self) -> None:
        """Leave it out from now on."""
        global _extensions  # noqa: PLW0603 - one list per process, swapped whole
        _extensions = tuple(other for other in _extensions if other is not self)


_extensions: tuple[Extension, ...] = ()


def extend(
    *,
    channel: Callable[[grpc.Channel], grpc.Channel] | None = None,
    server_interceptors: Iterable[Any] = (),
    aio_channel_interceptors: Iterable[Any] = (),
    aio_server_interceptors: Iterable[Any] = (),
) -> Extension:
    """Add to all channels and servers made from now on. ``channel`` is handed each new one for threads and wraps it.

    >>> class Tell(grpc.UnaryUnaryClientInterceptor):
    ...     def intercept_unary_unary(self, continuation, details, request):
    ...         print("calling", details.method)
    ...         return continuation(details, request)
    >>> extension = rpc.extend(channel=lambda channel: grpc.intercept_channel(channel, Tell()))
    >>> with rpc.insecure_channel("xds:///greeter.demo:9080") as channel:
    ...     reply = GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
    calling /hello.Greeter/SayHello
    >>> extension.close()
    """
    global _extensions  # noqa: PLW0603 - idem
    made = Extension(
        channel, tuple(server_interceptors), tuple(aio_channel_interceptors), tuple(aio_server_interceptors)
    )
    _extensions = (*_extensions, made)
    return made


def extended(channel: grpc.Channel) -> grpc.Channel:
    for extension in _extensions:
        if extension.channel is not None:
            channel = extension.channel(channel)
    return channel


def with_server_interceptors(own: Iterable[Any] | None) -> tuple[Any, ...]:
    return (*(one for extension in _extensions for one in extension.server_interceptors), *(own or ()))


def with_aio_channel_interceptors(own: Iterable[Any] | None) -> tuple[Any, ...]:
    return (*(one for extension in _extensions for one in extension.aio_channel_interceptors), *(own or ()))


def with_aio_server_interceptors(own: Iterable[Any] | None) -> tuple[Any, ...]:
    return (*(one for extension in _extensions for one in extension.aio_server_interceptors), *(own or ()))
