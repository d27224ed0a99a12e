from __future__ import annotations

import pytest

from tests.xds_client.ads_server import AdsServer
from tests.xds_client.wire import Wire
from xds_client import Bootstrap, Node, PilotExchanger, ReconnectSchedule


@pytest.fixture
def node():
    return Node(ip="10.0.0.1", pod="shop", namespace="demo")


@pytest.fixture
def start_server():
    """Start control planes that end with the test."""
    servers = []

    def start(*messages, **options):
        server = AdsServer(*messages, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def open_exchanger(node):
    """Open exchangers that end with the test; reconnecting is quick there."""
    exchangers = []

    def start(address):
        bootstrap = Bootstrap(node, address, "plaintext")
        exchanger = PilotExchanger(bootstrap, schedule=ReconnectSchedule(first=0.02, longest=0.05))
        exchangers.append(exchanger)
        return exchanger

    yield start
    for exchanger in exchangers:
        exchanger.close()


@pytest.fixture
def wire(node):
    return Wire(node)
