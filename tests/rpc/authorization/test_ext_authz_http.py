"""CUSTOM by HTTP: a server of ours asks a web server, whose status decides."""

from __future__ import annotations

import gc
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from rpc.authorization.ext_authz import filter as ext_authz
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.authorization.test_ext_authz import CLUSTER, DENIED, gone, seen
from tests.rpc.authorization.test_ext_authz import asks as asks_by_grpc
from tests.rpc.script import PATIENCE, polite, request
from tests.rpc.tls.ends import hello, until
from tests.rpc.tls.mesh import WHO_DIALS, Mesh, chain, listener


class WebAuthorizer:
    """``answer``: status, headers and body, or what is written as it is; a function of the request."""

    def __init__(self):
        self.asked = []
        self.answer = lambda _: (200, [], b"")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.asked.append((self.path, [(name.lower(), value) for name, value in self.headers.items()]))
                said = outer.answer(self)
                if isinstance(said, bytes):
                    self.wfile.write(said)
                    self.close_connection = True
                    return
                status, headers, body = said
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who was asked may have been given up on
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web():
    made = WebAuthorizer()
    yield made
    made.close()


def asks(timeout=f"{PATIENCE}s", service=None, **how):
    uri = {"uri": "http://authorizer", "cluster": CLUSTER, "timeout": timeout}
    http = {"server_uri": uri, **(service or {})}
    config = {"@type": f"{V3}.ext_authz.v3.ExtAuthz", "http_service": http, "transport_api_version": "V3", **how}
    return listener(chain("plaintext", http_filters=http_filters(authz=config)))


def serve(world, web, script=polite, address=None, tls=None, **how):
    mesh = Mesh(plaintext=True).dials(address or web.address, tls=tls)
    return world.connect(world.serve_in(mesh, asks(**how), script))


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_the_status_decides(our_world, web, kind):
    web.answer = lambda asked: (
        (401, [("WWW-Authenticate", "Basic")], b"who?") if asked.headers["x-user"] else (200, [], b"")
    )
    client = serve(our_world, web, allowed_headers={"patterns": [{"exact": "x-user"}]})
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    answer = client.call(kind, request("Eve"), metadata=[("x-user", "eve")])
    assert (answer.code, answer.details) == (grpc.StatusCode.UNAUTHENTICATED, "who?")


def test_it_is_told_the_head_and_only_headers_that_it_may_know(our_world, web):
    service = {
        "path_prefix": "/check",
        "authorization_request": {"headers_to_add": [{"key": "x-added", "value": "1"}]},
    }
    client = serve(our_world, web, service=service, allowed_headers={"patterns": [{"prefix": "x-"}]})
    hello(client, metadata=[("x-yes", "1"), ("other", "1"), ("authorization", "Bearer t")])
    ((path, headers),) = web.asked
    assert path == "/check/hello.Greeter/SayHello"
    told = dict(headers)
    assert told.pop("host")
    assert told.pop("connection") == "close"
    assert told == {"x-yes": "1", "x-added": "1", "authorization": "Bearer t", "content-length": "0"}


def test_what_it_says_handlers_and_callers_see_as_far_as_it_may(our_world, web):
    web.answer = lambda _: (
        200,
        [("x-user", "ann"), ("x-role", "more"), ("x-other", "1"), ("x-answer", "1"),
         ("x-envoy-auth-headers-to-remove", "x-secret, x-none")],
        b"",
    )  # fmt: skip
    service = {
        "authorization_response": {
            "allowed_upstream_headers": {"patterns": [{"exact": "x-user"}]},
            "allowed_upstream_headers_to_append": {"patterns": [{"exact": "x-role"}]},
            "allowed_client_headers_on_success": {"patterns": [{"exact": "x-answer"}]},
        }
    }
    metadata = []
    client = serve(our_world, web, script=seen(metadata), service=service)
    sent = [("x-user", "admin"), ("x-role", "reader"), ("x-secret", "s")]
    answer = client.call("unary", request("Ann"), metadata=sent)
    assert answer.messages == ["Hello, Ann!"]
    found = sorted(pair for pair in metadata[0] if pair[0].startswith("x-"))
    assert found == [("x-role", "more"), ("x-role", "reader"), ("x-user", "ann")]
    assert answer.initial == [("x-answer", "1")]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(None, [("x-one", "1"), ("x-two", "2")]), ({"patterns": [{"exact": "x-two"}]}, [("x-two", "2")])],
)
def test_who_is_denied_is_told_what_it_may_tell(our_world, web, allowed, expected):
    web.answer = lambda _: (403, [("x-one", "1"), ("x-two", "2")], b"no")
    response = {"authorization_response": {"allowed_client_headers": allowed}} if allowed else {}
    answer = serve(our_world, web, service=response).call("unary", request("Ann"))
    assert (answer.code, answer.details, answer.trailing) == (DENIED, "no", expected)


def hangs(free):
    def answer(_):
        free.wait(PATIENCE)
        return (200, [], b"")

    return answer


def drips(free):
    def answer(asked):
        asked.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not free.wait(0.05):
            asked.wfile.write(b".")
        return b""

    return answer


TROUBLE = {
    "hangs": hangs,
    "drips": drips,
    "answers nonsense": lambda _: lambda _: b"nonsense\r\n\r\n",
    "answers half": lambda _: lambda _: b"HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nhalf",
    "answers too much": lambda _: lambda _: (403, [], b"x" * 100_000),
    "fails": lambda _: lambda _: (500, [], b"oops"),
    "is gone": lambda _: lambda _: (200, [], b""),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_service_that_gives_no_answer_lets_nobody_in(our_world, web, trouble, caplog):
    free = threading.Event()
    web.answer = TROUBLE[trouble](free)
    ext_authz._warnings._last = float("-inf")
    with caplog.at_level(logging.WARNING, "proxyless"):
        how = {"timeout": "0.3s"} if trouble in ("hangs", "drips") else {}
        client = serve(our_world, web, address=gone() if trouble == "is gone" else None, **how)
        answer = client.call("unary", request("Ann"))
    free.set()
    assert (answer.code, answer.details) == (DENIED, "")
    assert f"not let in: {CLUSTER} was asked and gave no answer" in caplog.text


def test_a_service_that_demands_tls_is_not_asked_in_plaintext(our_world, web, caplog):
    ext_authz._warnings._last = float("-inf")
    with caplog.at_level(logging.WARNING, "proxyless"):
        assert serve(our_world, web, tls=WHO_DIALS).call("unary", request("Ann")).code is DENIED
    assert "its endpoints demand TLS" in caplog.text
    assert web.asked == []


def test_a_service_that_hangs_keeps_no_thread_that_others_need(our_world, web):
    free = threading.Event()
    web.answer = lambda asked: free.wait(PATIENCE) and (200, [], b"") if asked.headers["x-slow"] else (200, [], b"")
    client = serve(our_world, web, allowed_headers={"patterns": [{"exact": "x-slow"}]})
    slow = [client.begin("unary", request("Ann"), metadata=[("x-slow", "1")]) for _ in range(4)]
    until(lambda: len(web.asked) == 4)
    for _ in range(5):
        hello(client)
    slow.pop().cancel()
    free.set()
    assert [call.code() for call in slow] == [grpc.StatusCode.OK] * 3


def test_sixteen_questions_are_on_their_way_at_a_time_and_others_wait(our_world, web):
    free = threading.Event()
    web.answer = hangs(free)
    client = serve(our_world, web)
    asking = [client.begin("unary", request("Ann")) for _ in range(16)]
    until(lambda: len(web.asked) == 16)
    assert client.call("unary", request("Eve"), timeout=0.5).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(web.asked) == 16
    waiting = client.begin("unary", request("Ann"))
    free.set()
    assert {call.code() for call in (*asking, waiting)} == {grpc.StatusCode.OK}
    assert len(web.asked) == 17  # nobody asks for a call that is over


@pytest.mark.parametrize("by", ["grpc", "http"])
def test_a_filter_that_goes_lets_its_service_go(our_world, authorizer, web, by):
    asked = {"grpc": authorizer, "http": web}[by]
    mesh = Mesh(plaintext=True).dials(asked.address, tls=None)
    filters = {"grpc": asks_by_grpc, "http": asks}[by]()
    client = our_world.connect(our_world.serve_in(mesh, filters))
    hello(client)
    assert len(mesh.outbound) == 1
    mesh.inbound.set(filters)
    hello(client)
    assert len(mesh.outbound) == 1  # it is the same: nothing is dialled anew
    mesh.inbound.set(listener(chain("plaintext")))
    hello(client)
    client.close()  # a connection keeps what it came in by

    def let_go():
        gc.collect()
        return len(mesh.outbound) == 0

    until(let_go)
