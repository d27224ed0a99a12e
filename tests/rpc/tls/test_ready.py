"""Ready is a port where somebody whom the rules allow could be served: property, probe and log say the same."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import rpc
from tests.rpc.script import polite
from tests.rpc.tls.certificates import REVIEWS
from tests.rpc.tls.ends import hello, refused
from tests.rpc.tls.mesh import MUTUAL, Mesh, chain, disabled, listener, permissive, strict

SERVING = health_pb2.HealthCheckResponse.SERVING
UNUSABLE = "an inbound filter that this release does not know"


class Probed:
    """A server of ours in the mesh with a probe port."""

    def __init__(self, world, mesh, inbound=None):
        if inbound is not None:
            mesh.inbound.set(inbound)
        self.world = world
        credentials = rpc.xds_server_credentials(mesh=mesh)
        self.server, port = world.start_server(polite, credentials=credentials, adding=self._add_probe_port)
        self.address = f"127.0.0.1:{port}"

    def _add_probe_port(self, server):
        self.probe_port = server.add_probe_port("127.0.0.1:0")

    def ready(self):
        """What all of them say."""
        with grpc.insecure_channel(f"127.0.0.1:{self.probe_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        said = {self.server.ready, health.status == SERVING, not self.server.waiting_for()}
        assert len(said) == 1, (self.server.ready, health.status, self.server.waiting_for())
        return said.pop()


def test_a_port_that_demands_certificates_and_has_none_is_not_ready(our_world, caplog):
    probed = Probed(our_world, Mesh(plaintext=True), strict())
    assert not probed.ready()
    refused(our_world.connect(probed.address))
    assert "lets anybody in" in probed.server.waiting_for()
    assert "strict" in probed.server.waiting_for()
    assert "not ready" in caplog.text


@pytest.mark.parametrize(
    ("inbound", "ready"),
    [
        (strict(), True),
        (permissive(), True),
        (disabled(), True),
        (listener(), False),
        (listener(chain("odd", unusable=UNUSABLE)), False),
        (listener(chain("odd", transport="tls", unusable=UNUSABLE), chain("plain", transport="raw_buffer")), True),
        (listener(chain("odd", unusable=UNUSABLE), default=chain("otherwise", tls=MUTUAL)), True),
        (listener(default=chain("otherwise", unusable=UNUSABLE)), False),
    ],
)
def test_one_chain_that_lets_somebody_in_is_enough(our_world, reviews, inbound, ready):
    assert Probed(our_world, Mesh(reviews), inbound).ready() == ready


def test_in_plaintext_those_modes_are_ready_that_take_plaintext(our_world):
    mesh = Mesh(plaintext=True)
    probed = Probed(our_world, mesh)
    assert not probed.ready()
    for inbound, ready in ((permissive(), True), (strict(), False), (disabled(), True)):
        mesh.inbound.set(inbound)
        assert probed.ready() == ready


def test_a_certificate_that_expires_ends_readiness_and_the_next_one_brings_it_back(our_world, mesh_root, shop, reviews):
    mesh = Mesh(reviews)
    probed = Probed(our_world, mesh, strict())
    assert probed.ready()
    mesh.identity.expire("the certificate has expired, and istiod is away")
    assert not probed.ready(), "nobody has called since"
    assert "istiod is away" in probed.server.waiting_for()
    mesh.identity.set(mesh_root.identity(REVIEWS))
    assert probed.ready()
    hello(our_world.call_from(Mesh(shop), probed.address))


def test_where_plaintext_is_allowed_an_expired_certificate_leaves_it_ready(our_world, reviews):
    mesh = Mesh(reviews)
    probed = Probed(our_world, mesh, permissive())
    mesh.identity.expire("expired")
    assert probed.ready()
    hello(our_world.connect(probed.address))
