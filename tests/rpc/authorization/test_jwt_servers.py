"""RequestAuthentication on servers of ours, in both worlds: what callers hear and what handlers see."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import rpc
import rpc.aio
from tests.rpc.authorization.enforced import Enforced, Mirror, http_filters, jwt_authn
from tests.rpc.authorization.jwt_cases import EXPIRED, envoy_config, rule
from tests.rpc.authorization.tokens import ISSUER, RSA_1, RSA_2, jwks

METHOD = "/demo.Greeter/SayHello"
RULE = rule(
    outputPayloadToHeader="x-payload",
    outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}],
    forwardOriginalToken=None,
    fromParams=["jwt"],
    fromHeaders=[{"name": "authorization", "prefix": "Bearer "}],
)
GOOD = RSA_1.token("RS256", scope="read write", roles={"admin": ["a"]})


class Blocking:
    def __init__(self, credentials):
        self._server = rpc.server(ThreadPoolExecutor(2), handlers=[Mirror()])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def close(self):
        self._server.stop(None).wait()


class InALoop:
    def __init__(self, credentials):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._run(self._start(credentials))

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _start(self, credentials):
        self._server = rpc.aio.server(handlers=[Mirror(loop=True)])
        port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()
        return port

    def close(self):
        self._run(self._server.stop(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


@pytest.fixture
def rules():
    return Enforced(jwt_authn(envoy_config((RULE,))))


@pytest.fixture(params=[Blocking, InALoop], ids=["sync", "aio"])
def call(request, rules):
    """One connection to a server: a call with these headers; what the handler saw, or the code and words."""
    server = request.param(rules)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")

    def ask(*headers, method=METHOD):
        try:
            method, metadata, claims = json.loads(channel.unary_unary(method)(b"", metadata=headers, timeout=60))
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return method, metadata, claims

    yield ask
    channel.close()
    server.close()


def bearer(token):
    return "authorization", f"Bearer {token}"


def test_a_handler_reads_the_claims_that_were_verified(call):
    claims = call(bearer(GOOD))[2]
    assert claims["sub"] == "alice"
    assert claims["scope"] == ["read", "write"]
    assert claims["roles"] == {"admin": ["a"]}
    assert isinstance(claims["exp"], int)
    assert call()[2] is None, "nobody said anything"


def test_a_handler_sees_headers_of_ours_and_no_token(call):
    seen = call(bearer(GOOD), ("x-user", "root"), ("x-payload", "forged"), ("x-other", "1"))[1]
    assert ["x-user", "alice"] in seen
    assert ["x-payload", GOOD.split(".")[1]] in seen
    assert ["x-other", "1"] in seen
    assert not {"root", "forged"} & {value for _, value in seen}
    assert "authorization" not in {name for name, _ in seen}
    assert not {"x-user", "x-payload"} & {name for name, _ in call(("x-user", "root"), ("x-payload", "forged"))[1]}


def test_a_token_that_goes_from_the_path_lets_the_method_be_found(call):
    method, _, claims = call(method=f"{METHOD}?jwt={GOOD}")
    assert method == METHOD
    assert claims["sub"] == "alice"


def test_a_bad_token_is_refused_in_envoys_words(call):
    assert call(bearer(RSA_1.token("RS256", exp=1))) == ("UNAUTHENTICATED", EXPIRED)
    assert call(bearer(GOOD))[2]["iss"] == ISSUER


def test_a_token_of_a_megabyte_costs_its_own_call_only(call):
    code, _ = call(bearer("a" * 2**20))
    assert code != "OK"
    assert call(bearer(GOOD))[2]["iss"] == ISSUER


def test_other_rules_hold_for_the_next_call_on_the_same_connection(call, rules):
    token = RSA_2.token("RS256")
    assert call(bearer(token))[2]["sub"] == "alice"
    rules.put(jwt_authn(envoy_config((rule(jwks=jwks(RSA_1.jwk())),))))
    assert call(bearer(token))[0] == "UNAUTHENTICATED"
    rules.put(jwt_authn(envoy_config((RULE,))))
    assert call(bearer(token))[2]["sub"] == "alice"
    rules.put(http_filters())
    assert call(bearer("garbage"))[2] is None


def test_what_a_handler_does_to_its_claims_is_its_own(rules):
    class Forger(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(_, context):
                claims = rpc.verified_claims(context)
                said = json.dumps(claims).encode()
                claims["sub"] = "root"
                claims["roles"]["admin"].append("root")
                return said

            return grpc.unary_unary_rpc_method_handler(answer)

    server = rpc.server(ThreadPoolExecutor(1), handlers=[Forger()])
    port = server.add_secure_port("127.0.0.1:0", rules)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answers = [channel.unary_unary(METHOD)(b"", metadata=[bearer(GOOD)], timeout=60) for _ in range(2)]
    server.stop(None).wait()
    assert answers[0] == answers[1]


def test_grpcios_own_servers_know_no_claims():
    class Asking(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda _, context: str(rpc.verified_claims(context)).encode())

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Asking()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary(METHOD)(b"", timeout=60) == b"None"
    server.stop(None).wait()
