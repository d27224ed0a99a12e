"""Targets of every kind, on every pairing: names, addresses, Unix domains, lists, and HTTP proxies."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from rpc.transport.proxy import Proxy, proxy_for
from tests.rpc.parity.test_sizes_parity import free_port
from tests.rpc.peers import KINDS
from tests.rpc.script import PATIENCE, READ, polite, request

ROUND_ROBIN = [("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]}))]


def named(name):
    """A script that answers with a name."""

    def script():
        while (yield READ) is not None:
            yield HelloReply(message=name)

    return script


@pytest.mark.parametrize("target", ["dns:localhost:{}", "dns:///localhost:{}", "localhost:{}", "ipv4:127.0.0.1:{}"])
def test_a_target_may_say_its_scheme(world, target):
    port = world.serve(polite).rpartition(":")[2]
    assert world.connect(target.format(port)).call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_an_address_of_ipv6(world):
    port = world.start_server(polite, address="[::1]:0")[1]
    for target in ("ipv6:[::1]:{}", "[::1]:{}"):
        assert world.connect(target.format(port)).call("unary", request("Ann")).messages == ["Hello, Ann!"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_unix_domain_socket(world, tmp_path, kind):
    said = []

    def look():
        said.append((yield lambda context: context.peer()))
        yield from polite()

    address = f"unix:{tmp_path}/hello.sock"
    assert world.start_server(look, address=address)[1] == 1
    assert world.connect(address).call(kind, request("Ann")).messages == ["Hello, Ann!"]
    assert said[0].startswith("unix:")


def test_a_unix_domain_socket_with_slashes(world, tmp_path):
    world.start_server(polite, address=f"unix://{tmp_path}/hello.sock")
    assert world.connect(f"unix:{tmp_path}/hello.sock").call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert world.connect(f"unix://{tmp_path}/hello.sock").call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_a_unix_domain_socket_with_a_space(world, tmp_path):
    (tmp_path / "a b").mkdir()
    world.start_server(polite, address=f"unix:{tmp_path}/a b/hello.sock")
    assert world.connect(f"unix:{tmp_path}/a b/hello.sock").call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_an_abstract_unix_domain_socket(world, tmp_path):
    address = f"unix-abstract:{tmp_path.name}-{world.kind}-{world.client_make}-{world.server_make}"
    world.start_server(polite, address=address)
    assert world.connect(address).call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_a_unix_domain_socket_that_is_not_there_is_unavailable_and_named(world, tmp_path):
    answer = world.connect(f"unix:{tmp_path}/nobody.sock").call("unary", request())
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "nobody.sock" in answer.details or world.client_make == "grpcio"


def test_a_server_takes_the_place_of_one_that_left_its_socket(our_world, tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{tmp_path}/hello.sock")
    left.close()
    server, _ = our_world.start_server(polite, address=f"unix:{tmp_path}/hello.sock")
    assert our_world.connect(f"unix:{tmp_path}/hello.sock").call("unary", request()).code.name == "OK"
    our_world.stop(server)
    assert not (tmp_path / "hello.sock").exists()


def test_a_file_that_is_no_socket_is_left_alone(our_world, tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(RuntimeError, match="precious"):
        our_world.start_server(polite, address=f"unix:{tmp_path}/precious")
    assert (tmp_path / "precious").read_text() == "data"


# ---- several addresses


def test_the_first_of_several_addresses_is_taken(world):
    first, second = world.serve(named("first")), world.serve(named("second"))
    client = world.connect(f"ipv4:{first},{second}")
    assert {client.call("unary", request()).messages[0] for _ in range(10)} == {"first"}


def test_the_next_address_is_taken_where_the_first_is_dead(world):
    second = world.serve(named("second"))
    client = world.connect(f"ipv4:127.0.0.1:{free_port()},{second}")
    assert {client.call("unary", request()).messages[0] for _ in range(5)} == {"second"}


@pytest.mark.parametrize("by", ["service config", "option"])
def test_round_robin_takes_all_addresses(world, by):
    options = ROUND_ROBIN if by == "service config" else [("grpc.lb_policy_name", "round_robin")]
    servers = ",".join(world.serve(named(name)) for name in ("a", "b", "c"))
    client = world.connect(f"ipv4:{servers}", options)
    seen = set()
    for _ in range(500):
        seen.update(client.call("unary", request(), wait_for_ready=True).messages)
        if len(seen) == 3:
            break
    assert seen == {"a", "b", "c"}
    after = [client.call("unary", request()).messages[0] for _ in range(30)]
    assert all(after.count(name) == 10 for name in "abc")


def test_round_robin_over_a_name(world):
    port = world.serve(polite).rpartition(":")[2]
    client = world.connect(f"dns:///localhost:{port}", ROUND_ROBIN)
    assert client.call("unary", request("Ann"), wait_for_ready=True).messages == ["Hello, Ann!"]


def test_a_name_that_does_not_exist_is_unavailable(world):
    answer = world.connect("dns:///nobody.invalid:80", ROUND_ROBIN).call("unary", request(), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "nobody.invalid" in answer.details


def test_a_name_is_looked_up_again_when_its_addresses_fail(our_world, monkeypatch):
    """The name moves from one server to another; round robin follows."""
    first, second = our_world.start_server(named("first")), our_world.start_server(named("second"))
    port = first[1]
    where = ["127.0.0.1"]
    real = socket.getaddrinfo

    def lookup(host, *args, **how):
        return real(where[0] if host == "moving.test" else host, *args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    moved, _ = our_world.start_server(named("moved"), address=f"127.0.0.2:{port}")
    options = [*ROUND_ROBIN, ("grpc.dns_min_time_between_resolutions_ms", 10)]
    client = our_world.connect(f"dns:///moving.test:{port}", options)
    assert client.call("unary", request()).messages == ["first"]
    where[0] = "127.0.0.2"
    our_world.stop(first[0])
    answer = client.call("unary", request(), wait_for_ready=True)
    assert answer.messages == ["moved"]
    assert moved is not second


# ---- proxies


class ConnectProxy:
    """An HTTP proxy that connects everything to one address."""

    def __init__(self, to, answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        host, port = to.rsplit(":", 1)
        self._to, self._answer = (host, int(port)), answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads = []
        self._open = []
        self._threads = []
        self._start(self._accept)

    def _start(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = client.recv(1)
                if not piece:
                    return
                head += piece
            self.heads.append(head.decode())
            client.sendall(self._answer)
            if b" 200 " not in self._answer:
                return
            server = socket.create_connection(self._to)
            self._open.append(server)
            for one, other in ((client, server), (server, client)):
                self._start(self._copy, one, other)

    @staticmethod
    def _copy(one, other):
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)

    def close(self):
        """Who is still at it may open more: what is open is ended until nobody is left."""
        self._listener.shutdown(socket.SHUT_RDWR)
        while any(thread.is_alive() for thread in self._threads):
            for one in tuple(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in tuple(self._threads):
                thread.join(0.05)
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def proxied():
    made = []

    def proxy(*args, **how):
        made.append(ConnectProxy(*args, **how))
        return made[-1]

    yield proxy
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_proxy_of_the_environment_is_gone_through(world, proxied, monkeypatch, variable):
    proxy = proxied(world.serve(polite))
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    answer = world.connect("reviews.example:9080").call("unary", request("Ann"))
    assert answer.messages == ["Hello, Ann!"]
    assert proxy.heads[0].startswith("CONNECT reviews.example:9080 HTTP/1.")


def test_a_proxys_user_is_told(world, proxied, monkeypatch):
    proxy = proxied(world.serve(polite))
    monkeypatch.setenv("http_proxy", f"http://ann:pass%40word@{proxy.address}")
    assert world.connect("reviews.example:9080").call("unary", request()).code.name == "OK"
    token = base64.b64encode(b"ann:pass@word").decode()
    assert f"proxy-authorization: basic {token}".lower() in proxy.heads[0].lower()


@pytest.mark.parametrize("exception", ["127.0.0.1", "localhost, 127.0.0.0/8", "0.0.1"])
def test_exceptions_are_called_directly(world, monkeypatch, exception):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", exception)
    assert world.connect(world.serve(polite)).call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_a_channel_may_do_without(world, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    client = world.connect(world.serve(polite), [("grpc.enable_http_proxy", 0)])
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_a_proxy_that_refuses_is_unavailable_and_named(world, proxied, monkeypatch):
    proxy = proxied(world.serve(polite), answer=b"HTTP/1.1 403 Forbidden\r\n\r\n")
    monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
    answer = world.connect("reviews.example:9080").call("unary", request(), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "403" in answer.details


def test_a_unix_domain_needs_no_proxy(world, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    world.start_server(polite, address=f"unix:{tmp_path}/hello.sock")
    assert world.connect(f"unix:{tmp_path}/hello.sock").call("unary", request()).code.name == "OK"


@pytest.mark.parametrize(
    ("environment", "host", "proxy"),
    [
        ({}, "a", None),
        ({"http_proxy": "http://p:3128"}, "a", Proxy("p", 3128)),
        ({"http_proxy": "p:3128"}, "a", None),
        ({"http_proxy": "127.0.0.1:3128"}, "a", None),
        ({"grpc_proxy": "", "http_proxy": "http://p:1"}, "a", None),
        ({"http_proxy": "http://ann@p:1"}, "a", Proxy("p", 1, "Basic YW5u")),
        ({"http_proxy": "http://p"}, "a", Proxy("p", 80)),
        ({"http_proxy": "https://p:1"}, "a", None),
        ({"http_proxy": "http://p:port"}, "a", None),
        ({"grpc_proxy": "http://g:1", "http_proxy": "http://p:1"}, "a", Proxy("g", 1)),
        ({"http_proxy": "http://p:1", "no_proxy": "example.com"}, "shop.example.com", None),
        ({"http_proxy": "http://p:1", "no_proxy": ".example.com"}, "example.org", Proxy("p", 1)),
        ({"http_proxy": "http://p:1", "no_proxy": "xample.com"}, "example.com", Proxy("p", 1)),
        ({"http_proxy": "http://p:1", "no_proxy": ".example.com"}, "Example.com", None),
        ({"http_proxy": "http://p:1", "no_proxy": "*"}, "a", Proxy("p", 1)),
        ({"http_proxy": "http://p:1", "no_grpc_proxy": "", "no_proxy": "a"}, "a", Proxy("p", 1)),
        ({"http_proxy": "http://p:1", "no_grpc_proxy": "b", "no_proxy": "a"}, "a", Proxy("p", 1)),
        ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "10.1.2.3", None),
        ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "11.1.2.3", Proxy("p", 1)),
    ],
)
def test_which_proxy_a_host_has(environment, host, proxy):
    assert proxy_for(host, environment) == proxy
