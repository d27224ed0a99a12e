"""Keys that stand somewhere else: a real server over TLS, which rotates, fails, hangs, redirects, comes back."""

from __future__ import annotations

import functools
import gc
import ssl
import threading
import time
import weakref

import grpc
import pytest

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.fetch import LARGEST, FetchError, fetch
from rpc.authorization.jwt.keys import KeySet
from rpc.authorization.jwt.provider import Provider
from rpc.authorization.jwt.remote import RemoteKeys, remote_keys
from rpc.authorization.program import CannotCarryOutError
from tests.rpc.authorization.enforced import Enforced, jwt_authn
from tests.rpc.authorization.jwt_cases import envoy_config, rule
from tests.rpc.authorization.key_server import KeyServer, send
from tests.rpc.authorization.test_jwt_servers import Blocking, InALoop
from tests.rpc.authorization.tokens import ISSUER, NOW, RSA_1, RSA_2, jwks
from tests.rpc.tls.certificates import Authority
from xds_client.model import HttpUri, JwksFetch, JwtProvider, RemoteJwks

SOON = 0.02  # seconds from one fetch to the next
FIRST, SECOND = RSA_1.token("RS256").encode(), RSA_2.token("RS256").encode()


def until(condition, what="it is so"):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"30 s have passed, and never {what}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def server(tmp_path, authority):
    server = KeyServer(tmp_path, authority.issue(dns=("localhost",)))
    server.says(jwks(RSA_1.jwk()))
    yield server
    server.close()


@pytest.fixture
def trusting(authority):
    """How keys are fetched by whoever trusts the authority."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    return functools.partial(fetch, context=context)


def said(server, path="/keys", host="localhost", timeout=10.0, fresh=SOON, again=SOON):
    uri = HttpUri(f"https://{host}:{server.port}{path}", "outbound|443||issuer", timeout)
    return RemoteJwks(uri, fresh, JwksFetch(failed_refetch_duration=again))


@pytest.fixture
def provider(server, trusting):
    return made(said(server), trusting)


def made(where, get):
    return Provider(JwtProvider(issuer=ISSUER), RemoteKeys(where, get))


def verdict(provider, token=FIRST):
    """Of a call that waits for the keys, as calls do."""
    if provider.keys.current is None:
        known = threading.Event()
        provider.keys.when_known(known.set)
        assert known.wait(30)
    found = provider.judge(token, NOW)
    return found if isinstance(found, faults.Fault) else None


def test_keys_are_fetched_and_verify(provider, server):
    assert verdict(provider) is None
    assert server.asked[0] == "/keys"
    assert verdict(provider, SECOND) == faults.NO_SUCH_KEY


def test_keys_that_rotate_are_met_without_a_restart(provider, server):
    assert verdict(provider) is None
    server.says(jwks(RSA_2.jwk()))
    until(lambda: verdict(provider, SECOND) is None, "the new key verifies")
    assert verdict(provider, FIRST) == faults.NO_SUCH_KEY, "what was verified with the old key is not remembered"


def test_the_same_keys_again_leave_tokens_verified(provider, server):
    verdict(provider)
    before = provider.judge(FIRST, NOW)
    server.await_requests(3)
    assert provider.judge(FIRST, NOW) is before


def bad_answers():
    good = jwks(RSA_1.jwk())
    return {
        "an error": lambda handler: send(handler, b"no", 500),
        "no such page": lambda handler: send(handler, good.encode(), 404),
        "nothing": lambda handler: send(handler, b""),
        "garbage": lambda handler: send(handler, b"<html>"),
        "no keys": lambda handler: send(handler, b'{"keys": []}'),
        "too much": lambda handler: send(handler, good.encode() + b" " * LARGEST),
        "too little": lambda handler: send(handler, good.encode(), 200, {"Content-Length": "100000"}),
        "no HTTP": lambda handler: handler.wfile.write(b"hello\r\n"),
        "a header without end": lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000),
        "elsewhere": lambda handler: send(handler, good.encode(), 302, {"Location": "/elsewhere"}),
        "elsewhere for ever": lambda handler: send(handler, good.encode(), 308, {"Location": "/elsewhere"}),
        "unchanged, which nobody asked": lambda handler: send(handler, b"", 304),
    }


@pytest.mark.parametrize("name", bad_answers())
def test_without_keys_tokens_are_refused_until_the_server_comes_back(name, provider, server):
    server.answer = bad_answers()[name]
    assert verdict(provider) == faults.FETCH_FAILED
    server.says(jwks(RSA_1.jwk()))
    until(lambda: verdict(provider) is None, "the server has come back")
    assert "/elsewhere" not in server.asked


@pytest.mark.parametrize("name", bad_answers())
def test_the_last_good_keys_stay(name, provider, server):
    assert verdict(provider) is None
    server.answer = bad_answers()[name]
    server.await_requests(2)
    assert verdict(provider) is None
    server.says(jwks(RSA_2.jwk()))
    until(lambda: verdict(provider, SECOND) is None, "the server has come back")


def silent(handler):
    handler.rfile.read(1)


def dripping(handler):
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def dripping_body(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    dripping(handler)


def dripping_without_end(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    dripping(handler)


@pytest.mark.parametrize("answer", [silent, dripping, dripping_body, dripping_without_end])
def test_a_slow_server_has_the_time_that_is_said_and_no_more(answer, server, trusting):
    server.answer = answer
    began = time.monotonic()
    with pytest.raises(FetchError):
        trusting(f"https://localhost:{server.port}/", 0.5)
    assert time.monotonic() - began < 20  # it would drip for minutes, or be silent for ever


def test_a_server_of_another_authority_has_no_keys(server):
    provider = made(said(server), functools.partial(fetch, context=ssl.create_default_context()))
    assert verdict(provider) == faults.FETCH_FAILED
    assert server.asked == []


def test_a_server_of_another_name_has_no_keys(server, trusting):
    assert verdict(made(said(server, host="127.0.0.1"), trusting)) == faults.FETCH_FAILED
    assert server.asked == []


@pytest.mark.parametrize("uri", ["http://issuer/keys", "file:///keys", "issuer", "", "https://"])
def test_only_https_is_fetched(uri):
    with pytest.raises(CannotCarryOutError, match="only https"):
        RemoteKeys(RemoteJwks(HttpUri(uri)))


def test_failures_in_a_row_are_asked_for_less_and_less_often():
    keys = RemoteKeys(RemoteJwks(HttpUri("https://issuer/keys")))
    waits = [keys._backoff.after(failures) for failures in (0, 3, 100)]
    assert waits[0] < 2 < waits[1] < 30 < waits[2] <= 72


def test_one_source_for_one_place_however_many_configurations(monkeypatch):
    monkeypatch.setattr(RemoteKeys, "_due", lambda self: None)
    where = RemoteJwks(HttpUri("https://issuer/keys", "c", 1.0), 300.0)
    first = remote_keys(where)
    assert remote_keys(RemoteJwks(HttpUri("https://issuer/keys", "c", 1.0), 300.0)) is first
    assert remote_keys(RemoteJwks(HttpUri("https://issuer/other", "c", 1.0), 300.0)) is not first


def test_nobody_fetches_what_no_configuration_names_any_more(server, trusting):
    def named():
        keys = RemoteKeys(said(server), trusting)
        until(lambda: isinstance(keys.current, KeySet))
        return weakref.ref(keys)

    keys = named()
    gc.collect()
    until(lambda: gc.collect() is not None and keys() is None, "it is forgotten")
    until(
        lambda: (
            not any(thread.name.startswith(f"jwks https://localhost:{server.port}") for thread in threading.enumerate())
        ),
        "its thread ends",
    )


def test_a_child_of_a_fork_keeps_the_keys_and_fetches_on(server, trusting):
    keys = RemoteKeys(said(server), trusting)
    until(lambda: isinstance(keys.current, KeySet))
    before = keys.current
    keys.inherit()  # the thread is not there any more
    assert keys.current is before
    server.says(jwks(RSA_2.jwk()))
    until(lambda: keys.current is not before, "the child has fetched")


# ---- on servers


@pytest.fixture
def remote_filter(server, tmp_path, authority, monkeypatch):
    """As istiod sends it where it lets sidecars fetch keys (PILOT_JWT_ENABLE_REMOTE_JWKS)."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    config = envoy_config((rule(),))
    [provider] = config["providers"].values()
    del provider["local_jwks"]
    uri = {"uri": f"https://localhost:{server.port}/keys", "cluster": "outbound|443||issuer", "timeout": "10s"}
    provider["remote_jwks"] = {"http_uri": uri, "cache_duration": "300s"}
    return config


def ask(address, token=None):
    with grpc.insecure_channel(address) as channel:
        metadata = [("authorization", f"Bearer {token.decode()}")] if token else []
        return channel.unary_unary("/demo.Greeter/SayHello").with_call(b"", metadata=metadata, timeout=60)


@pytest.fixture(params=[Blocking, InALoop], ids=["sync", "aio"])
def serve(request, remote_filter):
    """Start a server of ours, which begins to fetch; its address."""
    servers = []

    def begin():
        servers.append(request.param(Enforced(jwt_authn(remote_filter))))
        return f"127.0.0.1:{servers[0].port}"

    yield begin
    for server in servers:
        server.close()


def test_a_call_waits_for_keys_and_holds_nobody_up(server, serve):
    asked_for, may_answer = threading.Event(), threading.Event()

    def late(handler):
        asked_for.set()
        assert may_answer.wait(60)
        send(handler, jwks(RSA_1.jwk()).encode())

    server.answer = late
    address = serve()
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/demo.Greeter/SayHello")
        waits = [
            call.future(b"", metadata=[("authorization", f"Bearer {FIRST.decode()}")], timeout=60) for _ in range(5)
        ]
        assert asked_for.wait(30)
        assert ask(address), "who has no token waits for nobody's keys"
        assert not any(one.done() for one in waits)
        may_answer.set()
        assert all(one.result() for one in waits)
    assert len(server.asked) == 1, "one fetch, however many wait"


def test_a_call_that_waits_for_keys_may_leave(server, serve):
    may_answer = threading.Event()
    server.answer = lambda handler: may_answer.wait(60)
    address = serve()
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/demo.Greeter/SayHello")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=[("authorization", f"Bearer {FIRST.decode()}")], timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert ask(address)
    may_answer.set()


def test_keys_that_cannot_be_had_refuse_tokens_in_envoys_words(server, serve):
    server.says("no", 500)
    address = serve()
    with pytest.raises(grpc.RpcError) as caught:
        ask(address, FIRST)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "Jwks remote fetch is failed",
    )
    assert ask(address), "no token is needed"
