"""`grpc.aio.Channel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc
from grpc import aio

from rpc.aio.driver import Driver
from rpc.aio.interceptors import intercepted_kinds
from rpc.calls import Calls
from rpc.credentials import opened
from rpc.extension import with_aio_channel_interceptors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rpc.options import Options
    from rpc.resolver import Resolver
    from rpc.security import ChannelCredentials
    from xds_client import PilotExchanger


class Channel(Calls[Any, Any, Any, Any, Driver], aio.Channel):
    """One target, seen through the mesh or as written. It lives in the event loop of its first call.

    >>> async def main():
    ...     async with rpc.aio.insecure_channel("xds:///greeter.demo:9080") as channel:
    ...         await asyncio.wait_for(channel.channel_ready(), timeout=10)
    ...         return channel.get_state()
    >>> asyncio.run(main())
    <ChannelConnectivity.READY: (2, 'ready')>
    """

    def __init__(
        self,
        target: str,
        options: Options,
        compression: grpc.Compression | None,
        interceptors: Sequence[Any] | None,
        mesh: PilotExchanger | None,
        credentials: ChannelCredentials | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Raises `xds_client.InvalidTargetError`, and `xds_client.BootstrapError` for a mesh target."""
        kinds = intercepted_kinds(interceptors)
        super().__init__(target, options, compression, credentials, mesh, resolver, Driver, kinds)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The channel's state. With ``try_to_connect`` it connects, and goes on trying until it is ready.

        The state is then the one before, as in grpcio: who waits for another one does not miss the first.
        """
        state = self._driver.core.connectivity()
        if try_to_connect:
            self._driver.connect()
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one; raises `grpc.aio.UsageError` when the channel is closed."""
        core = self._driver.core
        if core.closed:
            raise aio.UsageError("Channel is closed.")
        while True:
            generation = core.generation
            if core.connectivity() is not last_observed_state:
                return
            await self._driver.change(generation)

    async def channel_ready(self) -> None:
        """Connect and wait until the channel is ready; raises `grpc.aio.UsageError` when it is closed."""
        while (state := self.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise aio.UsageError("Channel is closed.")
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:
        """No new calls; those in progress get ``grace`` seconds, then they are cancelled."""
        try:
            await self._driver.close(grace)
        finally:
            self._resolver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()


def insecure_channel(
    target: str,
    options: Options = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[Any] | None = None,
    *,
    mesh: PilotExchanger | None = None,
    resolver: Resolver | None = None,
) -> Channel:
    """`grpc.aio.insecure_channel` on our engine; see `rpc.insecure_channel` for targets, ``mesh`` and errors.

    >>> async def main():
    ...     async with rpc.aio.insecure_channel("xds:///greeter.demo:9080") as channel:
    ...         return await GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
    >>> asyncio.run(main()).message
    'Hello you, says spiffe://cluster.local/ns/demo/sa/web!'
    """
    return Channel(target, options, compression, with_aio_channel_interceptors(interceptors), mesh, None, resolver)


def secure_channel(
    target: str,
    credentials: ChannelCredentials | grpc.ChannelCredentials,
    options: Options = None,
    compression: grpc.Compression | None = None,
    interceptors: Sequence[Any] | None = None,
    *,
    mesh: PilotExchanger | None = None,
    resolver: Resolver | None = None,
) -> Channel:
    """`grpc.aio.secure_channel` on our engine; see `rpc.secure_channel`.

    >>> async def main():
    ...     credentials = rpc.ssl_channel_credentials(Path("roots.pem").read_bytes())
    ...     async with rpc.aio.secure_channel("localhost:50051", credentials) as channel:
    ...         return channel.get_state()
    >>> asyncio.run(main())
    <ChannelConnectivity.IDLE: (0, 'idle')>
    """
    all_interceptors = with_aio_channel_interceptors(interceptors)
    return Channel(target, options, compression, all_interceptors, mesh, opened(credentials), resolver)
