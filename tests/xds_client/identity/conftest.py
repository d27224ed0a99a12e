from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.xds_client.identity.authority import Authority
from tests.xds_client.identity.ca_server import CaServer
from xds_client.identity.clock import Clock
from xds_client.identity.opening import make_source
from xds_client.identity.settings import IdentitySettings
from xds_client.node import Node


class FakeClock:
    """Both clocks of a host. The true time starts as the real one, because TLS to the CA is verified by that."""

    def __init__(self):
        self.passed = 0.0
        self.skew = 0.0  # seconds that this host's clock is ahead
        self.jitter = 0.0  # -1 to 1
        self._started = datetime.now(UTC).replace(microsecond=0)
        self.clock = Clock(
            lambda: 1000.0 + self.passed, lambda: self.true() + timedelta(seconds=self.skew), self._spread
        )

    def true(self):
        return self._started + timedelta(seconds=self.passed)

    def _spread(self, low, high):
        return (low + high) / 2 + self.jitter * (high - low) / 2


class Pod:
    """A workload's files, and a source of identities for it whose steps the test takes itself."""

    def __init__(self, folder, time):
        self.time = time
        self.token = folder / "token"
        self.roots = folder / "root-cert.pem"
        self.node = Node(ip="10.0.0.1", pod="shop-1", namespace="demo", service_account="shop", cluster_id="east")
        self.token.write_text("good-token")

    def source(self, address, **settings):
        chosen = {"token_path": str(self.token), "root_certificate_path": str(self.roots), "certificate_ttl": 3600.0}
        return make_source(IdentitySettings(**chosen | settings), self.node, address, self.time.clock)

    def pass_time(self, source, seconds):
        """Let time pass and take every step that becomes due on the way, and not one more."""
        end = self.time.passed + seconds
        while self.time.passed + (wait := source.step()) <= end:
            self.time.passed += max(wait, 0.001)
        self.time.passed = end


@pytest.fixture
def time():
    return FakeClock()


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def pod(tmp_path, time, authority):
    pod = Pod(tmp_path, time)
    pod.roots.write_bytes(authority.pem)
    return pod


@pytest.fixture
def start_ca(authority, time):
    """Start CAs that end with the test."""
    servers = []

    def start(**options):
        server = CaServer(options.pop("authority", authority), time.true, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()
