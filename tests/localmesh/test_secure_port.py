"""The secure port, asked by real gRPC clients over TLS: who is let in as whom, and what is said to the others."""

from __future__ import annotations

import random
import socket
import ssl
import subprocess
import sys

import grpc
import pytest
from cryptography import x509

from localmesh import LocalMesh, LocalMeshError
from localmesh.ca import CertificateAuthority
from localmesh.ca.messages import CertificateRequest
from localmesh.serve.session import CLUSTER
from localmesh.serve.tls_port import MAX_HANDSHAKES, TlsPort
from tests.localmesh.secure_client import WEB, Workload, csr, new_key, refusal
from tests.localmesh.yaml_folder import SERVICE, write

UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "request authenticate failure")
UNAUTHENTICATED_ADS = (grpc.StatusCode.UNAUTHENTICATED, "authentication failure")
# garbage may happen to be a message, too
REFUSED = (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
PATIENCE = 30.0
NO_TLS = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("mesh") / "mesh", service=SERVICE)
    with LocalMesh(folder, watch=False) as mesh:
        yield mesh


@pytest.fixture
def join(mesh):
    """A workload with a token of demo/web, or with what is given."""
    opened = []

    def open_workload(token=None, **more):
        if token is None and "certificate" not in more:
            token = mesh.token("demo", "web")
        opened.append(Workload(mesh, token, **more))
        return opened[-1]

    yield open_workload
    for workload in opened:
        workload.channel.close()


def names(chain):
    leaf = x509.load_pem_x509_certificates(chain)[0]
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.UniformResourceIdentifier
    )


def test_a_token_gets_a_certificate_of_its_own_identity_whatever_the_csr_says(mesh, join):
    chain, key = join().join()
    assert names(chain) == [WEB]
    *_, root = join().create(csr(new_key()))
    assert root.encode() == mesh.root_certificate
    with Workload(mesh, certificate=(chain, key)) as again:
        assert names(again.join()[0]) == [WEB], "renewed by the certificate alone"


def test_a_certificate_counts_before_a_token(mesh, join):
    certificate = join().join()
    other = join(mesh.token("demo", "other"), certificate=certificate)
    assert names(other.join()[0]) == [WEB]


@pytest.mark.parametrize("host", ["istiod.istio-system.svc", "localhost", "127.0.0.1"])
def test_it_is_who_clients_expect(join, host):
    assert join(host=host).create(csr(new_key()))


def test_it_is_nobody_else(join):
    code, _ = refusal(lambda: join(host="istiod.example.org").create(csr(new_key())))
    assert code is NO_TLS


@pytest.mark.parametrize(
    ("token", "metadata", "reason"),
    [
        (lambda mesh: mesh.token("demo", "web", audience="other"), {}, "invalid audiences"),
        (lambda mesh: mesh.token("demo", "web", lifetime=-1), {}, "token is expired"),
        (lambda mesh: mesh.token("demo", "web"), {"clusterid": "elsewhere"}, "claims to be in cluster 'elsewhere'"),
        (lambda _: "garbage", {}, "malformed jwt"),
        (lambda _: "", {}, "no authorization header"),
        (lambda _: "", {"authorization": "Basic eA=="}, "no bearer token"),
    ],
    ids=["audience", "expired", "cluster", "garbage", "none", "basic"],
)
def test_who_proves_nothing_is_told_nothing_and_the_log_says_why(mesh, join, caplog, token, metadata, reason):
    workload = join(token(mesh), **metadata)
    assert refusal(lambda: workload.create(csr(new_key()))) == UNAUTHENTICATED
    assert refusal(lambda: workload.stream().ask(CLUSTER)) == UNAUTHENTICATED_ADS
    assert [record for record in caplog.records if record.message.startswith("CSR: ") and reason in record.message]
    assert [record for record in caplog.records if record.message.startswith("ADS: ") and reason in record.message]


def test_the_own_cluster_may_be_named(join):
    assert join(clusterid="Kubernetes").create(csr(new_key()))


@pytest.mark.parametrize(
    ("request_", "code", "details"),
    [
        (b"garbage", grpc.StatusCode.INVALID_ARGUMENT, "CSR signing error (certificate signing request is not prop"),
        (CertificateRequest(validity_duration=2**62), grpc.StatusCode.INVALID_ARGUMENT, "requested TTL 2160h0m1s is"),
        (
            CertificateRequest(metadata={"ImpersonatedIdentity": WEB}),
            grpc.StatusCode.UNAUTHENTICATED,
            "request impersonation authentication failure",
        ),
    ],
    ids=["no CSR", "too long", "impersonation"],
)
def test_requests_that_are_refused(join, request_, code, details):
    found, said = refusal(lambda: join().create(request_))
    assert found is code
    assert details in said


def test_the_plaintext_port_signs_nothing(mesh):
    with grpc.insecure_channel(mesh.address) as channel:
        workload = Workload.__new__(Workload)
        workload.channel, workload.metadata = channel, [("authorization", f"Bearer {mesh.token('demo', 'web')}")]
        code, _ = refusal(lambda: workload.create(csr(new_key())))
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("by", ["token", "certificate"])
def test_a_node_may_only_be_who_it_is(mesh, join, by):
    workload = join() if by == "token" else join(certificate=join().join())
    assert workload.stream().ask(CLUSTER).type_url == CLUSTER
    assert workload.stream(SERVICE_ACCOUNT="web").ask(CLUSTER).type_url == CLUSTER
    denied = grpc.StatusCode.PERMISSION_DENIED
    elsewhere = "sidecar~127.0.0.9~pod-1.other~other.svc.cluster.local"
    for stream, wanted in (
        (workload.stream(elsewhere), "other/"),
        (workload.stream(NAMESPACE="other"), "other/"),
        (workload.stream(SERVICE_ACCOUNT="admin"), "demo/admin"),
    ):
        said = f"authorization failed: no identities ([{WEB}]) matched {wanted}"
        assert refusal(lambda stream=stream: stream.ask(CLUSTER)) == (denied, said)
    assert mesh.open_streams <= 2


def pair(authority, *names):
    made = authority.key_pair(names)
    return made.chain, made.key


def test_certificates_that_are_not_ours_do_not_get_in(mesh, join, caplog):
    strangers = CertificateAuthority()
    for certificate in (
        pair(strangers, WEB),
        pair(mesh.ca, "spiffe://other.domain/ns/demo/sa/web"),
        pair(mesh.ca, "spiffe://cluster.local.evil/ns/demo/sa/web"),
        pair(mesh.ca, WEB, "spiffe://cluster.local/ns/demo/sa/two"),
        pair(mesh.ca, "web.example.org"),
    ):
        code, _ = refusal(lambda: join(certificate=certificate).create(csr(new_key())))  # noqa: B023
        assert code is NO_TLS
    assert "detected 2" in caplog.text
    assert "is not of the trust domain cluster.local" in caplog.text


def test_roots_rotate_while_clients_come_and_go(tmp_path):
    folder = write(tmp_path / "mesh", service=SERVICE)
    with LocalMesh(folder, ca=tmp_path / "ca") as mesh:
        token = mesh.token("demo", "web")
        with Workload(mesh, token) as first:
            old = first.join()
            trust_in_the_old = mesh.root_certificate
            held = first.stream()
            held.ask(CLUSTER)
            mesh.ca.introduce_root()
            with Workload(mesh, token) as second:
                assert second.create(csr(new_key()))[-1].encode() == mesh.root_certificate != trust_in_the_old
            mesh.ca.switch_root()
            with Workload(mesh, certificate=old) as third:
                new = third.join()
            mesh.ca.retire_roots()
            with Workload(mesh, certificate=new) as fourth:
                assert names(fourth.join()[0]) == [WEB]
            with Workload(mesh, certificate=old) as fifth:
                assert refusal(fifth.join)[0] is NO_TLS
            mesh.reload()
            assert held.read().type_url == CLUSTER, "the stream that was open all the time goes on"


def test_what_is_no_tls_hurts_nobody(mesh, join):
    host, _, port = mesh.secure_address.partition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(50)]
    for number, talker in enumerate(silent):
        if number % 2:
            talker.sendall(random.Random(number).randbytes(300))
    without_h2 = ssl.create_default_context(cadata=mesh.root_certificate.decode())
    with without_h2.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost") as talker:
        talker.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert join().create(csr(new_key()))
    for talker in silent:
        talker.close()


def test_handshakes_that_are_not_finished_make_way_for_those_that_are(mesh, join):
    host, _, port = mesh.secure_address.partition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(3 * MAX_HANDSHAKES)]
    try:
        assert join().create(csr(new_key()))
        silent[0].settimeout(30)
        assert silent[0].recv(1) == b"", "the oldest was hung up on"
    finally:
        for talker in silent:
            talker.close()


def test_handshakes_given_up_before_their_first_step_are_hung_up_on(monkeypatch):
    monkeypatch.setattr("localmesh.serve.tls_port.MAX_HANDSHAKES", 1)
    port = TlsPort("127.0.0.1:0", CertificateAuthority(), lambda: "cluster.local")
    address = "127.0.0.1", port.bind()
    silent = [socket.create_connection(address, PATIENCE) for _ in range(8)]  # all there when it begins to accept
    port.start(behind=0)
    try:
        for talker in silent[:-1]:
            assert talker.recv(1) == b""
    finally:
        port.stop()
        for talker in silent:
            talker.close()


def test_garbage_in_messages_hurts_nobody(mesh, join):
    held = join().stream()
    held.ask(CLUSTER)
    deep = b"\x0a\x00"
    for _ in range(5000):
        deep = b"\x22" + bytes([len(deep) % 128 | 128, len(deep) >> 7 & 127 | 128, len(deep) >> 14]) + deep
    for garbage in (b"\xff\xff\xff", deep, b"\x08\x01", random.Random(1).randbytes(1000)):
        assert refusal(lambda: join().create_raw(garbage))[0] in REFUSED  # noqa: B023
        stream = join().stream()
        stream.requests.put(garbage)
        assert refusal(stream.read)[0] in REFUSED
    mesh.reload()
    assert held.read().type_url == CLUSTER


def test_no_secure_port_if_not_wanted(tmp_path):
    with LocalMesh(write(tmp_path, service=SERVICE), secure_address=None) as mesh:
        with pytest.raises(LocalMeshError, match="has no secure port"):
            _ = mesh.secure_address
        taken = mesh.address
    with LocalMesh(tmp_path, watch=False) as mesh, pytest.raises(LocalMeshError, match="cannot listen on"):
        LocalMesh(tmp_path, secure_address=mesh.secure_address).start()
    with LocalMesh(tmp_path, taken, watch=False):
        pass


def test_it_comes_back_on_the_same_address_with_the_same_root(tmp_path):
    mesh = LocalMesh(write(tmp_path, service=SERVICE), watch=False)
    with mesh:
        address, token = mesh.secure_address, mesh.token("demo", "web")
        with Workload(mesh, token) as workload:
            certificate = workload.join()
    with mesh, Workload(mesh, certificate=certificate) as workload:
        assert mesh.secure_address == address
        assert names(workload.join()[0]) == [WEB]


def test_the_command_serves_both_ports_and_prints_tokens(tmp_path):
    folder, ca = write(tmp_path / "mesh", service=SERVICE), tmp_path / "ca"
    start = [sys.executable, "-W", "error", "-m", "localmesh"]
    serve = [*start, str(folder), "--listen", "127.0.0.1:0", "--secure-listen", "127.0.0.1:0", "--ca", str(ca)]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            secure, plain = process.stdout.readline(), process.stdout.readline()
            token = [*start, "token", "--ca", str(ca), "--namespace", "demo", "--service-account", "web"]
            printed = subprocess.run(token, capture_output=True, text=True, check=True).stdout.strip()

            class Served:
                secure_address = secure.split()[2].rstrip(",")
                root_certificate = (ca / "root-cert.pem").read_bytes()

            with Workload(Served, printed) as workload:
                assert names(workload.join()[0]) == [WEB]
        finally:
            process.terminate()
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert plain.startswith(f"serving {folder} on 127.0.0.1:")


def test_a_secure_port_of_the_command_needs_a_folder_for_its_root(tmp_path):
    command = [sys.executable, "-m", "localmesh", str(tmp_path), "--secure-listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--secure-listen needs --ca FOLDER" in done.stderr
