"""A real Envoy that knows nothing but localmesh: clusters, routes and endpoints by ADS, certificate and roots by SDS.

It is client and server at once: a call goes into it in plaintext, out of it and in again by mTLS, and to a backend.
"""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509

from e2e import yamls
from e2e.calls import until
from e2e.child import Child, free_port
from e2e.envoy.alone import Alone, token_file
from e2e.envoy.bootstrap import SidecarNode
from e2e.envoy.sidecar import ENVOY, UnixConnection
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from localmesh import LocalMesh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDENTITY = "spiffe://cluster.local/ns/demo/sa/reviews"
TIMEOUT = 20.0
PLACES = 2  # where Envoy uses secrets: its inbound port, and the cluster that it calls


class Backend(stubs.GreeterServicer):
    """Says whom Envoy took the caller for."""

    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802
        return pb.HelloReply(message=dict(context.invocation_metadata()).get("x-forwarded-client-cert", "nobody"))


@pytest.fixture
def backend() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    stubs.add_GreeterServicer_to_server(Backend(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def address() -> str:
    """A loopback address of this test's own."""
    return f"127.{random.randrange(10, 250)}.{random.randrange(256)}.1"


@pytest.fixture
def mesh(tmp_path: Path, address: str) -> Iterator[LocalMesh]:
    folder = tmp_path / "mesh"
    folder.mkdir()
    entry = yamls.workload_entry("reviews", address, "reviews", "v1", serviceAccount="reviews")
    one = {"http": {"maxRequestsPerConnection": 1}}  # each call is a handshake, with the secrets of that moment
    rule = yamls.destination_rule("reviews", [], connectionPool=one)
    (folder / "services.yaml").write_text(yamls.documents(yamls.service_entry("reviews"), entry, rule))
    with LocalMesh(folder, ca=tmp_path / "ca") as mesh:
        yield mesh


@pytest.fixture
def call(tmp_path: Path, mesh: LocalMesh, backend: str, address: str) -> Iterator[Callable[[], str]]:
    outbound = f"127.0.0.1:{free_port()}"
    token = tmp_path / "token.json"
    token.write_text(json.dumps(token_file(mesh.token("demo", "reviews"))))
    alone = Alone(
        node=SidecarNode("reviews", address, "reviews"),
        control_plane=mesh.secure_address,
        root=tmp_path / "ca" / "root-cert.pem",
        token=token,
        outbound=outbound,
        route=f"{yamls.fqdn('reviews')}:{yamls.PORT}",
        inbound=f"{address}:{yamls.TARGET_PORT}",
        backend=backend,
        admin=tmp_path / "admin",
    )
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(alone.bootstrap()))
    command = [str(ENVOY), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info"]
    command += ["--log-format", "%v", "--component-log-level", "misc:error"]
    envoy = Child("envoy", command, tmp_path / "envoy.log", ready="all dependencies initialized", limit=60.0)
    envoy.start()
    try:
        with grpc.insecure_channel(outbound) as channel:
            stub = stubs.GreeterStub(channel)
            yield lambda: stub.SayHello(pb.HelloRequest(), timeout=TIMEOUT, wait_for_ready=True).message
    finally:
        envoy.stop()
        print(envoy.tail())


@pytest.mark.timeout(120)
def test_it_calls_and_is_called_with_identities_from_localmesh(call: Callable[[], str], mesh: LocalMesh) -> None:
    assert f"URI={IDENTITY}" in call()
    assert mesh.rejections == ()


Held = list[tuple[set[int], set[int]]]


def held(admin: Path) -> Held:
    """Serial numbers of the roots and of the leaf, for each place where Envoy uses secrets by SDS."""
    connection = UnixConnection(str(admin))
    connection.request("GET", "/certs")
    listed = json.loads(connection.getresponse().read())["certificates"]
    connection.close()
    return [
        (serial_numbers(place["ca_cert"]), serial_numbers(place["cert_chain"]))
        for place in listed
        if place["cert_chain"]
    ]


def serial_numbers(certificates: list[dict[str, str]]) -> set[int]:
    return {int(each["serial_number"], 16) for each in certificates}


def took_over(now: Held, before: Held, mesh: LocalMesh) -> bool:
    roots = {root.serial_number for root in x509.load_pem_x509_certificates(mesh.root_certificate)}
    old = set().union(*(leaf for _, leaf in before))
    taken = [leaf for trusted, leaf in now if trusted == roots and not leaf & old]
    return len(taken) == PLACES  # what else is listed belongs to connections that are not closed yet


@pytest.mark.timeout(120)
def test_its_certificates_follow_a_new_root(call: Callable[[], str], mesh: LocalMesh, tmp_path: Path) -> None:
    admin = tmp_path / "admin"
    call()
    failed: list[BaseException] = []
    ended = threading.Event()

    def load() -> None:
        while not ended.wait(0.01):
            try:
                call()
            except grpc.RpcError as error:
                failed.append(error)

    calling = threading.Thread(target=load)
    calling.start()
    try:
        for step in (mesh.ca.introduce_root, mesh.ca.switch_root, mesh.ca.retire_roots):
            before = held(admin)
            step()
            until(lambda before=before: took_over(held(admin), before, mesh), 30.0, "Envoy has taken over the secrets")
    finally:
        ended.set()
        calling.join()
    assert failed == []
    assert f"URI={IDENTITY}" in call()
