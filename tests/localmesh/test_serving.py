"""The served mesh, asked by a real gRPC client that reads with upb. Nothing here waits for a time to pass."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from queue import SimpleQueue

import grpc
import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from localmesh import ConfigError, LocalMesh, LocalMeshError
from localmesh.serve import servers
from localmesh.serve.session import CLUSTER, ENDPOINT, ROUTE
from localmesh.serve.streams import METHOD
from tests.localmesh.yaml_folder import HOST, SERVICE, resource, write
from xds_client.channels import CHANNEL_OPTIONS

NODE = "sidecar~127.0.0.9~pod-1.demo~demo.svc.cluster.local"
EDS_NAME = f"outbound|9080||{HOST}"
RDS_NAME = f"{HOST}:9080"
BROKEN = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {hots: a}\n"


def split(weight):
    parts = (
        f"{{destination: {{host: reviews}}, weight: {weight}}}, {{destination: {{host: b}}, weight: {100 - weight}}}"
    )
    return resource("VirtualService", "r", f"hosts: [reviews]\nhttp: [{{route: [{parts}]}}]")


class Client:
    def __init__(self, address, node=NODE):
        self.channel = grpc.insecure_channel(address)
        self.requests = SimpleQueue()
        method = self.channel.stream_stream(
            METHOD, DeltaDiscoveryRequest.SerializeToString, DeltaDiscoveryResponse.FromString
        )
        self.node = node
        self.call = method(iter(self.requests.get, None), wait_for_ready=True)

    def send(self, type_url, *subscribe, **more):
        request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=subscribe, **more)
        request.node.CopyFrom(Node(id=self.node))
        self.requests.put(request)

    def read(self):
        return next(self.call)

    def ask(self, type_url, *subscribe, **more):
        self.send(type_url, *subscribe, **more)
        return self.read()

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.channel.close()


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "mesh", service=SERVICE, split=split(80))


@pytest.fixture
def connect():
    clients = []

    def connect(mesh, **more):
        clients.append(Client(mesh.address, **more))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def mesh(folder):
    """Reloaded by hand only."""
    with LocalMesh(folder, watch=False) as mesh:
        yield mesh


def weights(response):
    (found,) = [RouteConfiguration.FromString(resource.resource.value) for resource in response.resources]
    return [c.weight.value for c in found.virtual_hosts[0].routes[0].route.weighted_clusters.clusters]


def test_a_client_gets_clusters_endpoints_and_routes(mesh, connect):
    client = connect(mesh)
    clusters = client.ask(CLUSTER)
    by_name = {item.name: Cluster.FromString(item.resource.value) for item in clusters.resources}
    assert by_name[EDS_NAME].eds_cluster_config.service_name == EDS_NAME
    assert [item.name for item in client.ask(ENDPOINT, EDS_NAME).resources] == [EDS_NAME]
    assert weights(client.ask(ROUTE, RDS_NAME)) == [80, 20]
    assert not RouteConfiguration.FromString(client.ask(ROUTE, "no:1").resources[0].resource.value).virtual_hosts


def test_a_reload_has_been_pushed_to_every_stream_when_it_returns(mesh, connect, folder):
    clients = [connect(mesh), connect(mesh)]
    for client in clients:
        client.ask(CLUSTER)
        client.ask(ROUTE, RDS_NAME)
    write(folder, split=split(30))
    before = mesh.version
    assert mesh.reload() == mesh.version == before + 1
    for client in clients:
        assert client.read().type_url == CLUSTER
        assert weights(client.read()) == [30, 70]


def test_a_change_of_the_folder_is_noticed_and_pushed(folder, connect):
    with LocalMesh(folder) as mesh:
        client = connect(mesh)
        client.ask(ROUTE, RDS_NAME)
        write(folder, split=split(55))
        assert weights(client.read()) == [55, 45]
        (folder / "split.yaml").unlink()
        routes = RouteConfiguration.FromString(client.read().resources[0].resource.value)
        assert [route.name for route in routes.virtual_hosts[0].routes] == ["default"]


def test_bad_yaml_changes_nothing_but_the_errors(mesh, connect, folder):
    client = connect(mesh)
    client.ask(ROUTE, RDS_NAME)
    write(folder, split=split(10), broken=BROKEN)
    with pytest.raises(ConfigError, match=r"broken\.yaml:4: .*hots: unknown field"):
        mesh.reload()
    assert mesh.version == 1
    assert {problem.line for problem in mesh.errors} == {4}
    assert weights(connect(mesh).ask(ROUTE, RDS_NAME)) == [80, 20], "the last good one is served"
    (folder / "broken.yaml").unlink()
    mesh.reload()
    assert mesh.errors == ()
    assert weights(client.read()) == [10, 90], "nothing was pushed before it was mended"


def test_the_watch_reports_bad_yaml_and_its_mending(folder):
    told = SimpleQueue()
    with LocalMesh(folder, on_refusal=lambda error: told.put(error.problems), on_reload=told.put) as mesh:
        write(folder, broken=BROKEN)
        assert told.get() == mesh.errors
        (folder / "broken.yaml").write_text(split(1).replace("name: r", "name: s"))
        assert told.get() == mesh.version == 2
        assert mesh.errors == ()


def test_a_bad_folder_does_not_start(tmp_path):
    with pytest.raises(ConfigError, match=r"bad\.yaml:1"):
        LocalMesh(write(tmp_path, bad="kind: X\n")).start()


def test_a_busy_address_is_said(mesh, folder):
    with pytest.raises(LocalMeshError, match=f"cannot listen on {mesh.address}"):
        LocalMesh(folder, mesh.address).start()
    with pytest.raises(LocalMeshError, match="already started"):
        mesh.start()


def test_rejections_are_visible(mesh, connect):
    client = connect(mesh)
    nonce = client.ask(ROUTE, RDS_NAME).nonce
    nack = DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=nonce)
    nack.error_detail.code, nack.error_detail.message = 3, "no such regex"
    client.requests.put(nack)
    client.ask(ROUTE, "after:1")  # requests are worked off in order
    (rejection,) = mesh.rejections
    assert (rejection.node, rejection.type_url, rejection.nonce, rejection.reason) == (
        NODE,
        ROUTE,
        nonce,
        "no such regex",
    )


def test_a_node_that_istiod_would_refuse_ends_the_stream(mesh, connect):
    client = connect(mesh, node="someone")
    client.send(CLUSTER)
    with pytest.raises(grpc.RpcError) as caught:
        client.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "missing parts in the service node 'someone'" in caught.value.details()


def test_after_a_restart_on_the_same_address_a_reconnect_hears_what_is_gone(mesh, connect, folder):
    client = connect(mesh)
    held = {item.name: "" for item in client.ask(CLUSTER).resources}
    address = mesh.address
    mesh.stop()
    with pytest.raises(grpc.RpcError):
        client.read()
    (folder / "service.yaml").unlink()
    mesh.start()
    assert mesh.address == address
    response = connect(mesh).ask(CLUSTER, initial_resource_versions=held)
    assert list(response.removed_resources) == [EDS_NAME, f"outbound|9090||{HOST}"]


def test_a_client_that_left_does_not_hold_up_a_reload(mesh, connect):
    leaving, staying = connect(mesh), connect(mesh)
    leaving.ask(CLUSTER)
    staying.ask(CLUSTER)
    leaving.close()
    mesh.reload()
    assert staying.read().type_url == CLUSTER


def test_auto_mtls_can_be_turned_off_by_argument(folder, connect):
    with LocalMesh(folder, auto_mtls=False, watch=False) as mesh:
        resources = connect(mesh).ask(CLUSTER).resources
    assert not any(Cluster.FromString(item.resource.value).transport_socket_matches for item in resources)


def test_the_command_serves_until_it_is_told_to_end(folder, connect):
    command = [sys.executable, "-W", "error", "-m", "localmesh", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            client = Client(said.split()[-1])
            client.ask(ROUTE, RDS_NAME)
            write(folder, split=split(5))
            assert weights(client.read()) == [5, 95]
            assert process.stdout.readline() == f"version 2 of {folder} is served\n"
            write(folder, broken=BROKEN)
            assert process.stdout.readline() == f"refused; version 2 of {folder} is still served\n"
            client.close()
        finally:
            process.terminate()
        rest, errors = process.communicate()
    assert said.startswith(f"serving {folder} on 127.0.0.1:")
    assert process.returncode == 0
    assert rest == ""
    assert f"{folder}/broken.yaml:4: " in errors
    assert "Traceback" not in errors


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path):
    command = [sys.executable, "-m", "localmesh", str(write(tmp_path, bad=BROKEN)), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/bad.yaml:4: " in done.stderr


def test_importing_localmesh_is_quiet():
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import localmesh"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


POLICY = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec: {}\n"


def test_a_policy_that_is_to_be_ignored_is_told_of_once(folder, caplog):
    write(folder, policy=POLICY)
    with LocalMesh(folder, ignore=["AuthorizationPolicy"]) as mesh:
        assert mesh.version == 1
        mesh.reload()
    told = [record.message for record in caplog.records if "policy.yaml" in record.message]
    ignored = "AuthorizationPolicy is ignored, as you said: whom it keeps out is let in here"
    assert told == [f"{folder / 'policy.yaml'}: {ignored}"]
    with pytest.raises(LocalMeshError, match="AuthorisationPolicy cannot be ignored: name one of AuthorizationPolicy,"):
        LocalMesh(folder, ignore=["AuthorisationPolicy"])


@pytest.mark.parametrize("module", ["localmesh", "proxyless localmesh"])
def test_the_command_can_be_told_to_ignore_a_kind(folder, module):
    write(folder, policy=POLICY)
    command = [sys.executable, "-m", *module.split(), str(folder), "--listen", "127.0.0.1:0"]
    command += ["--ignore", "AuthorizationPolicy", "--ignore", "Telemetry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = process.stdout.readline()
        process.terminate()
        assert "AuthorizationPolicy is ignored, as you said" in process.stderr.read()
    assert said.startswith(f"serving {folder} on ")


def pinged(address, times):
    """What the server sends until it has answered so many pings, or has had enough."""
    host, port = address.rsplit(":", 1)
    acks, seen = 0, b""
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(20)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        while acks < times:
            time.sleep(0.003)  # the interval between pings that the test allows is shorter
            connection.sendall(bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8))
            before = acks
            while acks == before:
                while len(seen) < 9 or len(seen) < 9 + int.from_bytes(seen[:3]):
                    if not (data := connection.recv(4096)):
                        return acks, "closed"
                    seen += data
                kind, flags, end = seen[3], seen[4], 9 + int.from_bytes(seen[:3])
                if kind == 7:
                    return acks, seen[17:end].decode()
                acks += kind == 6 and flags == 1
                seen = seen[end:]
    return acks, None


def test_members_that_ping_a_quiet_stream_stay(folder, monkeypatch):
    assert dict(CHANNEL_OPTIONS)["grpc.keepalive_time_ms"] >= servers.MIN_PING_INTERVAL_MS
    with LocalMesh(folder, watch=False) as mesh:
        assert pinged(mesh.address, 20)[1] == "too_many_pings", "a flood is still turned away"
    monkeypatch.setattr(servers, "MIN_PING_INTERVAL_MS", 1)
    with LocalMesh(folder, watch=False) as mesh:
        assert pinged(mesh.address, 20) == (20, None)


@pytest.mark.parametrize("option", ["--listen", "--secure-listen"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost:99999", "write HOST:PORT or [IPV6]:PORT, the port from 0 to 65535"),
        ("15010", "write HOST:PORT"),
        (":15010", "write HOST:PORT"),
        ("::1:15010", "write HOST:PORT or [IPV6]:PORT"),
        ("127.0.0.1:" + "9" * 5000, "write HOST:PORT"),
        ("localhost:http", "write HOST:PORT"),
        ("no.such.host.invalid:1", "cannot listen on no.such.host.invalid:1: "),
        (None, "address already in use: stop what listens there, or name another port (0 takes a free one)"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_one_line(folder, mesh, capfd, option, address, reason):
    address = address or mesh.address
    plain, secure = ("127.0.0.1:0", address) if option == "--secure-listen" else (address, None)
    with pytest.raises(LocalMeshError, match="cannot listen on") as caught:
        LocalMesh(folder, plain, secure_address=secure).start()
    assert reason in str(caught.value)
    assert capfd.readouterr().err == "", "gRPC's C core says nothing beside it"


def test_an_address_that_cannot_be_listened_on_is_told_before_the_folder_is_read(folder, monkeypatch):
    mesh = LocalMesh(folder, "localhost:99999")
    monkeypatch.setattr(mesh, "_read", lambda: pytest.fail("the folder was read"))
    with pytest.raises(LocalMeshError, match="cannot listen on 'localhost:99999'"):
        mesh.start()
