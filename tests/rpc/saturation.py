"""Servers that allow few streams, and what a channel has to them."""

from __future__ import annotations

import json
import struct

from tests.rpc.tls.ends import until

TWO_STREAMS = [("grpc.max_concurrent_streams", 2)]
TWO_STREAMS_SETTING = struct.pack(">HI", 0x3, 2)


def at_most(count):
    """As grpcio is told so."""
    config = {"connectionScaling": {"maxConnectionsPerSubchannel": count}}
    return [("grpc.service_config", json.dumps(config))]


def endpoint_of(client):
    """What the client has to its one endpoint."""
    [connection] = client.channel._driver.core.subchannels
    return connection


def queued(client, count):
    until(lambda: len(endpoint_of(client).pending.calls) == count, f"there are not {count} calls in the queue")
