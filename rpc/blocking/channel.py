"""`grpc.Channel` for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc

from rpc.blocking.callables import StreamStream, StreamUnary, UnaryStream, UnaryUnary
from rpc.blocking.connectivity import Subscriptions
from rpc.blocking.driver import Driver
from rpc.calls import Calls
from rpc.credentials import opened
from rpc.extension import extended

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rpc.options import Options
    from rpc.resolver import Resolver
    from rpc.security import ChannelCredentials
    from xds_client import PilotExchanger


class Channel(Calls[UnaryUnary, UnaryStream, StreamUnary, StreamStream, Driver], grpc.Channel):
    """One target, seen through the mesh or as written. Safe to use from any thread.

    >>> with rpc.insecure_channel("xds:///greeter.demo:9080") as channel:
    ...     grpc.channel_ready_future(channel).result(timeout=10)
    >>> isinstance(channel, grpc.Channel)
    True
    """

    def __init__(
        self,
        target: str,
        options: Options,
        compression: grpc.Compression | None,
        mesh: PilotExchanger | None,
        credentials: ChannelCredentials | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Raises `xds_client.InvalidTargetError`, and `xds_client.BootstrapError` for a mesh target."""
        kinds = (UnaryUnary, UnaryStream, StreamUnary, StreamStream)
        super().__init__(target, options, compression, credentials, mesh, resolver, Driver, kinds)
        self._subscriptions = Subscriptions(self._driver)

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool | None = False
    ) -> Any:
        """Call ``callback`` with the channel's state, now and at every change, from a thread of the channel's own.

        With ``try_to_connect`` the channel connects, and goes on trying, while anybody is subscribed.
        """
        self._subscriptions.subscribe(callback, connect=bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self._subscriptions.unsubscribe(callback)

    def close(self) -> None:
        """End the channel; calls in progress fail."""
        self._subscriptions.close()
        self._resolver.close()
        self._driver.core.close()

    def __del__(self) -> None:
        """As in grpcio: who was told of the channel's state is not any more; stubs and calls go on."""
        if hasattr(self, "_subscriptions"):
            self._subscriptions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()


def insecure_channel(
    target: str,
    options: Options = None,
    compression: grpc.Compression | None = None,
    *,
    mesh: PilotExchanger | None = None,
    resolver: Resolver | None = None,
) -> grpc.Channel:
    """`grpc.insecure_channel` on our engine, for ``host:port`` and for ``xds:///host[.namespace[.svc…]]:port``.

    ``mesh``: the exchanger that a mesh target is observed on; without it the process's own (`rpc.mesh`),
    opened from the environment. What protects a connection to the mesh is the mesh's word, endpoint by endpoint: an
    endpoint that it wants called over mutual TLS is called so, or not at all.
    ``resolver``: where the channel's endpoints and routes come from, whatever the target's scheme; it is this channel's
    own, which starts and closes it (`rpc.resolver`).
    Raises `xds_client.model.InvalidTargetError`, and `xds_client.BootstrapError` for a mesh target.

    >>> with rpc.insecure_channel("xds:///greeter.demo:9080") as channel:
    ...     reply = GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
    >>> reply.message
    'Hello you, says spiffe://cluster.local/ns/demo/sa/web!'
    """
    return extended(Channel(target, options, compression, mesh, resolver=resolver))


def secure_channel(
    target: str,
    credentials: ChannelCredentials | grpc.ChannelCredentials,
    options: Options = None,
    compression: grpc.Compression | None = None,
    *,
    mesh: PilotExchanger | None = None,
    resolver: Resolver | None = None,
) -> grpc.Channel:
    """`grpc.secure_channel` on our engine, with credentials of `rpc.ssl_channel_credentials` and its like, or of
    grpcio's own `ssl_…` and `composite_…`.

    Targets, ``mesh`` and errors as for `insecure_channel`.

    >>> credentials = rpc.ssl_channel_credentials(Path("roots.pem").read_bytes())
    >>> with rpc.secure_channel("localhost:50051", credentials) as channel:
    ...     stub = GreeterStub(channel)
    """
    return extended(Channel(target, options, compression, mesh, opened(credentials), resolver))
