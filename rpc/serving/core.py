"""What `grpc.Server` and `grpc.aio.Server` have in common: ports and handlers before the start, what is told of a
server while it runs, and what a child of a fork makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rpc import channelz_registry
from rpc._native import Reactor, Tally
from rpc.fork import inherits
from rpc.options import UNLIMITED, ServerOptions
from rpc.security import own_server_credentials
from rpc.serving.handlers import HandlerTable
from rpc.serving.intake import Intake
from rpc.serving.listening import Listeners
from rpc.serving.probes import ProbeCredentials
from xds_client.greenlets import refuse_greenlets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

    from rpc.options import Options
    from rpc.security import ServerCredentials
    from xds_client import PilotExchanger


class ServerCore:
    """`_reactor` drives its connections, where there are any already."""

    _reactor: Reactor | None = None

    def __init__(
        self,
        handlers: Iterable[grpc.GenericRpcHandler] | None,
        interceptors: Iterable[Any] | None,
        options: Options,
        maximum_concurrent_rpcs: int | None,
        compression: grpc.Compression | None,
        mesh: PilotExchanger | None,
    ) -> None:
        refuse_greenlets()
        parsed = ServerOptions.parse(options, compression)
        self._compression = parsed.compression
        self._max_send = None if parsed.max_send_message_length >= UNLIMITED else parsed.max_send_message_length
        self._busy_poll = parsed.busy_poll
        self._listeners = Listeners(parsed, mesh)
        self._intake = Intake(HandlerTable(handlers or (), interceptors or ()), maximum_concurrent_rpcs)
        self._started = False
        self._leaving = False
        self.stopping = False
        inherits(self)
        self._number = channelz_registry.number()
        channelz_registry.servers[self._number] = self

    def inherit(self) -> None:
        """In the child of a fork: what was started is the parent's and over here; what was not can be started."""
        self._intake.inherit()
        self.stopping = self.stopping or self._started

    # ---- before the start

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._intake.table.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._intake.table.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Bind; returns the port. Raises RuntimeError naming the address, ValueError once the server is started."""
        return self._add_port(address, None)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials | ServerCredentials) -> int:
        """Bind, with credentials of `rpc.xds_server_credentials`, `rpc.ssl_server_credentials` and their like.

        Raises RuntimeError naming the address, TypeError for grpcio's own credentials, ValueError once it is started.
        """
        return self._add_port(address, own_server_credentials(server_credentials))

    def add_probe_port(self, address: str) -> int:
        """Bind a plaintext port that answers `grpc.health.v1.Health/Check` by `ready`, and nothing else."""
        return self._add_port(address, ProbeCredentials())

    def _add_port(self, address: str, credentials: ServerCredentials | None) -> int:
        if self._started:
            raise ValueError("ports are added before the server is started")
        port = self._listeners.add(address, credentials)
        self._intake.has_rules = self._intake.has_rules or credentials is not None
        return port

    # ---- what is told of it

    @property
    def ready(self) -> bool:
        """It serves, and at every port somebody whom its rules allow could be served: what a readiness probe asks."""
        return self._started and not self._leaving and not self.stopping and self._listeners.ready

    def announce_end(self) -> None:
        """Not `ready` any more, but go on serving: clients need time to hear that this endpoint goes."""
        self._leaving = True

    def waiting_for(self) -> str:
        """What is missing until `ready`; empty when nothing is."""
        return self._listeners.waiting_for()

    def sockets(self) -> list[tuple[int, str, str, Tally]]:
        """The connections that are open (`rpc.channelz_registry`)."""
        return self._reactor.sockets() if self._reactor is not None else []

    def tally(self) -> Tally:
        """What all connections have carried so far."""
        return self._reactor.tally() if self._reactor is not None else Tally()

    def listening(self) -> dict[int, str]:
        """Where it accepts (`rpc.channelz_registry`)."""
        return self._listeners.listening

    # ---- its end

    def _no_more_connections(self) -> None:
        """Ports are closed, and names of the Unix domain free, when this returns; every client is told to go away."""
        self.stopping = True
        self._listeners.close()
        if self._reactor is not None:
            self._reactor.drain()

    def _is_over(self) -> None:
        self._intake.when_idle(None)
        channelz_registry.servers.pop(self._number, None)
