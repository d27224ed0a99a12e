"""The two ways in: the plaintext port, where nobody is asked, and the secure one. Used by gRPC's threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from localmesh.serve.callers import Caller, Callers
    from localmesh.serve.tls_port import Connection


@dataclass(frozen=True, slots=True)
class Door:
    """``callers`` is None where nobody is asked; ``connection`` finds a secure connection by gRPC's name for it."""

    callers: Callers | None = None
    connection: Callable[[str], Connection | None] = lambda _: None

    def caller(self, context: grpc.ServicerContext) -> Caller | None:
        """Who calls; None: nobody is asked here. Raises `Unauthenticated`."""
        if self.callers is None:
            return None
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        return self.callers.caller(self.connection(context.peer()), metadata)

    def address(self, context: grpc.ServicerContext) -> str:
        """Where the caller is, for the log."""
        connection = self.connection(context.peer())
        return connection.peer if connection is not None else context.peer()


PLAINTEXT = Door()
