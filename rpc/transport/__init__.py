"""Connections to endpoints: who they go to, whether they can be used, how they are made."""

from rpc.transport.connection import Connection, ConnectionKey
from rpc.transport.pool import Pool

__all__ = ["Connection", "ConnectionKey", "Pool"]
