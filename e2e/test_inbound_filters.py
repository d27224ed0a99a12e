"""Filters that ask, count, change and break: one table of requests, on a stock Envoy and on servers of ours.

What becomes of a request has to be alike: status, details, what the handler sees and what the caller is told. So has
what an authorizer is told of it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest

import rpc
import rpc.aio
from e2e.envoy.inbound_filters import FilteringEnvoy, typed
from tests.rpc.authorization.authorizers import Authorizer, allow, deny, header
from tests.rpc.authorization.enforced import Mirror, http_filters
from tests.rpc.authorization.test_ext_authz_http import WebAuthorizer
from tests.rpc.tls.mesh import Mesh, chain, listener

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/demo.Greeter/SayHello"
CLUSTER = "outbound|9000||authorizer.demo.svc.cluster.local"
WEB = "outbound|8000||web.demo.svc.cluster.local"
ALL, NONE = {"default_value": {"numerator": 100}}, {"default_value": {"numerator": 0}}
# What an Envoy says of itself and of the connection before any filter; our servers do not.
OF_ENVOY = ("x-envoy-", "x-request-id", "x-forwarded-proto", "x-forwarded-for")

DIFFERENT = (":authority", "user-agent", "grpc-timeout")  # at each request, whoever serves it
Pairs = list[tuple[str, str]]


class Case(NamedTuple):
    """``requests``: one after the other, by their metadata."""

    name: str
    filter: str
    config: dict[str, Any]
    requests: tuple[Pairs, ...] = ([],)


def asks(**how: Any) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": CLUSTER, "authority": "authorizer.test"}, "timeout": "30s"}
    return {"grpc_service": service, "transport_api_version": "V3", **how}


def asks_web(response: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    uri = {"uri": "http://web.test", "cluster": WEB, "timeout": "30s"}
    request = {"headers_to_add": [{"key": "x-added", "value": "1"}]}
    service = {"server_uri": uri, "path_prefix": "/check", "authorization_request": request}
    if response is not None:
        service["authorization_response"] = response
    allowed = {"patterns": [{"exact": "x-do"}, {"prefix": "x-told"}]}
    return {"http_service": service, "transport_api_version": "V3", "allowed_headers": allowed, **how}


def limits(most: int, **how: Any) -> dict[str, Any]:
    bucket = {"max_tokens": most, "tokens_per_fill": 1, "fill_interval": "3600s"}
    return {"stat_prefix": "x", "token_bucket": bucket, "filter_enabled": ALL, "filter_enforced": ALL, **how}


def append(key: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD", **how: Any) -> dict[str, Any]:
    return {"append": {"header": {"key": key, "value": value}, "append_action": action, **how}}


def mutates(*request: dict[str, Any]) -> dict[str, Any]:
    return {"mutations": {"request_mutations": request}}


def aborts(**how: Any) -> dict[str, Any]:
    return {"abort": {"percentage": {"numerator": 100}, **how}}


ANSWERS = {
    "ok": allow(),
    "set": allow(headers=[header("x-a", "new"), header("x-b", "1"), header("x-b", "2")]),
    "append": allow(headers=[header("x-a", "more", append=True), header("x-none", "1", append=True)]),
    "action": allow(headers=[header("x-a", "new", append_action="ADD_IF_ABSENT")]),
    "remove": allow(headers_to_remove=["x-a", ":path", "host"]),
    "answer": allow(response_headers_to_add=[header("x-answer", "1"), header("x-answer", "2")]),
    "answer over": allow(
        response_headers_to_add=[header("x-answer", "1"), header("x-answer", "2", append=False)],
    ),
    "path": allow(headers=[header(":path", "/demo.Greeter/Other?a=1")]),
    "query": allow(query_parameters_to_set=[{"key": "a", "value": "x y"}], query_parameters_to_remove=["b"]),
    "case": allow(headers=[header("X-A", "new"), header("X-None", "1", append=True)], headers_to_remove=["X-DO"]),
    "empty": allow(headers=[header("x-a", "")]),
    "bytes": allow(headers=[header("x-b-bin", "AAEC")], response_headers_to_add=[header("x-answer-bin", "AAEC")]),
    "answer by action": allow(
        response_headers_to_add=[
            header("x-answer", "1"),
            header("x-answer", "2", append_action="ADD_IF_ABSENT"),
            header("x-other", "3", append_action="OVERWRITE_IF_EXISTS"),
        ],
    ),
    "deny": deny(),
    "deny 200": deny(status={"code": 200}, body="fine"),
    "deny 302": deny(status={"code": 302}, headers=[header("location", "/"), header("x-why", "1")]),
    "deny bytes": deny(headers=[header("x-why-bin", "AAEC"), header("X-WHY", "1")]),
    "deny append": deny(headers=[header("x-why", "1", append=True), header("x-why", "2", append=False)]),
    "deny in lines": deny(body="one\ntwo\ttab"),
    "deny in full": deny(body="x" * 3000),
    "deny 401": deny(status={"code": 401}, body="who are you?", headers=[header("x-why", "1"), header("x-why", "2")]),
    "deny 404": deny(status={"code": 404}, body="ü, 100%"),
    "deny 400": deny(status={"code": 400}),
    "deny 429": deny(status={"code": 429}),
    "deny 500": deny(status={"code": 500}),
    "deny by code": deny(headers=[header("grpc-status", "5"), header("x-why", "1")], body="none"),
}
WEB_ANSWERS: dict[str, tuple[int, Pairs, bytes]] = {
    "ok": (200, [("x-a", "new"), ("x-b", "1"), ("x-b", "2"), ("x-answer", "1")], b"ignored"),
    "remove": (200, [("x-envoy-auth-headers-to-remove", "x-a, x-none")], b""),
    "201": (201, [], b"created"),
    "302": (302, [("location", "/login"), ("x-why", "1")], b""),
    "401": (401, [("www-authenticate", "Basic"), ("x-why", "1"), ("x-other", "1")], b"who?"),
    "403": (403, [("x-why", "1"), ("x-why", "2")], b"no"),
    "404": (404, [], b""),
    "500": (500, [("x-why", "1")], b"oops"),
    "503": (503, [], b""),
}
ONLY = {
    "allowed_upstream_headers": {"patterns": [{"exact": "x-b"}]},
    "allowed_upstream_headers_to_append": {"patterns": [{"exact": "x-a"}]},
    "allowed_client_headers": {"patterns": [{"exact": "x-why"}]},
    "allowed_client_headers_on_success": {"patterns": [{"exact": "x-answer"}]},
}
OPENS = ("failure_mode_allow", "failure_mode_allow_header_add")
STATUSES = ("BadRequest", "Unauthorized", "NotFound", "TooManyRequests", "InternalServerError", "ServiceUnavailable")
DO = [[("x-do", name), ("x-a", "old")] for name in [*ANSWERS, "fail"]]
BY_USER = {"actions": [{"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}]}
EVE = {
    "entries": [{"key": "user", "value": "eve"}],
    "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
}
USERS: list[Pairs] = [[("x-user", name)] for name in ("eve", "eve", "ann", "eve", "ann", "ann")]
TIMES: tuple[Pairs, ...] = ([], [], [], [])
SHOWN = {"enable_x_ratelimit_headers": "DRAFT_VERSION_03"}
CASES = [
    *(Case(f"authorizer: {dict(do)['x-do']}", "ext_authz", asks(), (do,)) for do in DO),
    *(Case(f"fails as {s}", "ext_authz", asks(status_on_error={"code": s}), (DO[-1],)) for s in STATUSES),
    *(
        Case(f"web: {do}{kind}", "ext_authz", asks_web(only), ([("x-do", do), ("x-a", "old")], [("x-do", do)]))
        for do in WEB_ANSWERS
        for kind, only in (("", None), (" of some", ONLY))
    ),
    Case("web fails open", "ext_authz", asks_web(failure_mode_allow=True), ([("x-do", "500")],)),
    Case("web fails", "ext_authz", asks_web(status_on_error={"code": "ServiceUnavailable"}), ([("x-do", "500")],)),
    Case("fails open", "ext_authz", asks(failure_mode_allow=True), (DO[-1],)),
    Case("fails open, marked", "ext_authz", asks(**dict.fromkeys(OPENS, True)), (DO[-1],)),
    Case("nobody is asked", "ext_authz", asks(filter_enabled=NONE | {"runtime_key": "k"}), (DO[0],)),
    Case(
        "nobody is asked, and denied",
        "ext_authz",
        asks(filter_enabled=NONE, deny_at_disable={"default_value": True, "runtime_key": "k"}),
    ),
    Case(
        "some headers are told",
        "ext_authz",
        asks(
            allowed_headers={"patterns": [{"prefix": "x-"}, {"exact": ":path"}]},
            disallowed_headers={"patterns": [{"exact": "x-no"}]},
        ),
        ([("x-do", "ok"), ("x-yes", "1"), ("x-yes", "2"), ("x-no", "1"), ("other", "1")],),
    ),
    Case("a limit", "local_ratelimit", limits(2), TIMES[:4]),
    Case("a limit, exhausted", "local_ratelimit", limits(1, rate_limited_as_resource_exhausted=True), TIMES[:2]),
    Case("a limit of another status", "local_ratelimit", limits(1, status={"code": "Forbidden"}), TIMES[:2]),
    Case("a limit that shows", "local_ratelimit", limits(2, **SHOWN), TIMES[:3]),
    Case(
        "a limit that marks",
        "local_ratelimit",
        limits(
            1,
            filter_enforced=NONE,
            request_headers_to_add_when_not_enforced=[{"header": {"key": "x-over", "value": "1"}}],
        ),
        TIMES[:2],
    ),
    Case(
        "a limit that answers",
        "local_ratelimit",
        limits(1, response_headers_to_add=[{"header": {"key": "x-limited", "value": "1"}}]),
        TIMES[:2],
    ),
    Case("limits by user", "local_ratelimit", limits(4, rate_limits=[BY_USER], descriptors=[EVE]), tuple(USERS)),
    Case(
        "limits by each user",
        "local_ratelimit",
        limits(9, rate_limits=[BY_USER], descriptors=[EVE | {"entries": [{"key": "user"}]}]),
        tuple(USERS),
    ),
    Case(
        "limits by two things",
        "local_ratelimit",
        limits(
            9,
            rate_limits=[{"actions": [*BY_USER["actions"], {"generic_key": {"descriptor_value": "v"}}]}, BY_USER],
            descriptors=[
                EVE | {"entries": [*EVE["entries"], {"key": "generic_key", "value": "v"}]},
                EVE | {"entries": [{"key": "user", "value": "ann"}]},
            ],
        ),
        tuple(USERS),
    ),
    Case(
        "limits by the query",
        "local_ratelimit",
        limits(
            9,
            rate_limits=[{"actions": [{"query_parameters": {"query_parameter_name": "a", "descriptor_key": "user"}}]}],
            descriptors=[EVE | {"entries": [{"key": "user", "value": "1"}]}],
        ),
        TIMES[:2],
    ),
    Case(
        "limits by user alone",
        "local_ratelimit",
        limits(2, rate_limits=[BY_USER], descriptors=[EVE], always_consume_default_token_bucket=False),
        tuple(USERS),
    ),
    *(
        Case(f"mutation {action}", "header_mutation", mutates(append("x-a", "2", action)), ([("x-a", "1")], []))
        for action in ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")
    ),
    Case(
        "mutations",
        "header_mutation",
        {
            "mutations": {
                "request_mutations": [{"remove": "x-a"}, append("x-b", "100%%"), append("x-c", "")],
                "response_mutations": [append("x-answer", "1"), append("x-answer", "2"), {"remove": "x-none"}],
            }
        },
        ([("x-a", "1"), ("x-b", "1")], []),
    ),
    *(Case(f"abort {s}", "fault", aborts(http_status=s)) for s in (400, 401, 403, 404, 429, 500, 503, 418)),
    Case("abort by code", "fault", aborts(grpc_status=9)),
    Case(
        "abort by header",
        "fault",
        aborts(header_abort={}),
        ([], [("x-envoy-fault-abort-request", "503")], [("x-envoy-fault-abort-grpc-request", "5")],
         [("x-envoy-fault-abort-request", "x")],
         [("x-envoy-fault-abort-request", "503"), ("x-envoy-fault-abort-request-percentage", "0")]),
    ),
    Case(
        "abort some",
        "fault",
        aborts(http_status=503) | {"headers": [{"name": "x-user", "string_match": {"exact": "eve"}}]},
        tuple(USERS[1:3]),
    ),
    Case("istiod's own fault", "fault", {}),
]  # fmt: skip
TYPES = {
    "ext_authz": "ExtAuthz",
    "local_ratelimit": "LocalRateLimit",
    "header_mutation": "HeaderMutation",
    "fault": "HTTPFault",
}


def config_of(case: Case) -> dict[str, Any]:
    return typed(f"extensions.filters.http.{case.filter}.v3.{TYPES[case.filter]}", **case.config)


def answer(check: Any) -> Any:
    what = check.attributes.request.http.headers.get("x-do", "ok")
    if what == "fail":
        raise ValueError(what)
    return ANSWERS[what]


class Servers:
    """The same filters on each of three: a stock Envoy before a plain server, and servers of ours."""

    def __init__(self, folder: Path) -> None:
        self.authorizer = Authorizer(answer, "grpcio")
        self.web = WebAuthorizer()
        self.web.answer = lambda asked: WEB_ANSWERS[asked.headers["x-do"]]
        self._names = {case.name: f"filter-{number}" for number, case in enumerate(CASES)}
        self._backend = grpc.server(ThreadPoolExecutor(2), handlers=[Mirror(ours=False)])
        self._backend.add_insecure_port(f"unix:{folder}/backend")
        self._backend.start()
        filters = {
            self._names[case.name]: [{"name": f"envoy.filters.http.{case.filter}", "typed_config": config_of(case)}]
            for case in CASES
        }
        self._envoy = FilteringEnvoy(
            folder,
            f"{folder}/backend",
            filters,
            clusters=[
                _cluster(CLUSTER, self.authorizer.address),
                _cluster(WEB, self.web.address, "http_protocol_options"),
            ],
        )
        self._envoy.start()
        self._sync = rpc.server(ThreadPoolExecutor(2), handlers=[Mirror()])
        ports = {case.name: self._sync.add_secure_port("127.0.0.1:0", self.credentials(case)) for case in CASES}
        self._sync.start()
        self._loop = _Loop(self)
        self._channels = {
            "envoy": {name: grpc.insecure_channel(self._envoy.address(short)) for name, short in self._names.items()},
            "sync": {name: grpc.insecure_channel(f"127.0.0.1:{port}") for name, port in ports.items()},
            "aio": {name: grpc.insecure_channel(f"127.0.0.1:{port}") for name, port in self._loop.ports.items()},
        }

    def credentials(self, case: Case) -> Any:
        asked = self.web if "http_service" in case.config else self.authorizer
        mesh = Mesh(plaintext=True).dials(asked.address, tls=None)
        mesh.inbound.set(listener(chain("plaintext", http_filters=http_filters(it=config_of(case)))))
        return rpc.xds_server_credentials(mesh=mesh)  # type: ignore[arg-type]  # by hand

    def ask(self, server: str, case: Case) -> list[dict[str, Any]]:
        return [self._ask(self._channels[server][case.name], metadata) for metadata in case.requests]

    def _ask(self, channel: grpc.Channel, metadata: Pairs) -> dict[str, Any]:
        call = channel.unary_unary(f"{PATH}?a=1&b=2").future(
            b"", metadata=list(metadata), timeout=30, wait_for_ready=True
        )
        if call.code() is not grpc.StatusCode.OK:
            return {"code": call.code().name, "details": call.details(), "told": _own(call.trailing_metadata())}
        path, seen, _ = json.loads(call.result())
        return {"code": "OK", "path": path, "seen": _own(seen), "told": _own(call.initial_metadata())}

    def close(self) -> None:
        for channels in self._channels.values():
            for channel in channels.values():
                channel.close()
        self._loop.close()
        self._sync.stop(None).wait()
        self._envoy.stop()
        self._backend.stop(None).wait()
        self.authorizer.close()
        self.web.close()


def _own(pairs: Any) -> list[tuple[str, str]]:
    """What filters and callers have said, sorted: HTTP keeps the order of one name's values only."""
    kept = [(key, value) for key, value in pairs or () if key.startswith("x-")]
    spoken = [pair for pair in kept if not pair[0].startswith(OF_ENVOY) or "failure-mode" in pair[0]]
    return sorted(spoken, key=lambda pair: pair[0])


def _cluster(name: str, address: str, protocol: str = "http2_protocol_options") -> dict[str, Any]:
    host, port = address.split(":")
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {
            options: typed(options.removeprefix("envoy."), explicit_http_config={protocol: {}})
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


class _Loop:
    """A server of ours in a loop of its own."""

    def __init__(self, servers: Servers) -> None:
        self.ports: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Any = None
        asyncio.run_coroutine_threadsafe(self._start(servers), self._loop).result()

    async def _start(self, servers: Servers) -> None:
        self._server = rpc.aio.server(handlers=[Mirror(loop=True)])
        for case in CASES:
            self.ports[case.name] = self._server.add_secure_port("127.0.0.1:0", servers.credentials(case))
        await self._server.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    found = Path(tempfile.mkdtemp(prefix="filters"))
    servers = Servers(found)
    yield servers
    servers.close()
    shutil.rmtree(found)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_request_ends_as_behind_envoy(servers: Servers, case: Case) -> None:
    envoy = servers.ask("envoy", case)
    for world in ("sync", "aio"):
        assert servers.ask(world, case) == envoy, world


@pytest.mark.parametrize("name", ["authorizer: ok", "some headers are told"])
def test_an_authorizer_is_told_what_envoy_tells(servers: Servers, name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)
    told = []
    for server in ("envoy", "sync", "aio"):
        before = len(servers.authorizer.asked)
        servers.ask(server, case)
        told.append(_told(servers.authorizer.asked[before]))
    assert told[1] == told[2] == told[0]


def test_a_web_server_is_told_what_envoy_tells(servers: Servers) -> None:
    case = Case("", "ext_authz", asks_web(), ([("x-do", "ok"), ("x-told", "1"), ("x-told", "2"), ("other", "1")],))
    case = case._replace(name="web: ok")
    told = []
    for server in ("envoy", "sync", "aio"):
        before = len(servers.web.asked)
        servers.ask(server, case)
        path, headers = servers.web.asked[before]
        different = (*DIFFERENT, "host", "connection")
        told.append((path, sorted(p for p in headers if not p[0].startswith(OF_ENVOY) and p[0] not in different)))
    assert told[1] == told[2] == told[0]


def _told(check: Any) -> dict[str, Any]:
    """Without what is another at each request: ports, times and numbers; Envoy listens at a socket without address."""
    http = check.attributes.request.http
    headers = {k: v for k, v in http.headers.items() if not k.startswith(OF_ENVOY) and k not in DIFFERENT}
    return {
        "headers": headers,
        "method": http.method,
        "path": http.path,
        "scheme": http.scheme,
        "protocol": http.protocol,
        "size": http.size,
        "body": http.body,
        "id": bool(http.id),
        "time": check.attributes.request.HasField("time"),
        "principals": (check.attributes.source.principal, check.attributes.destination.principal),
        "context": dict(check.attributes.context_extensions),
        "metadata": check.attributes.HasField("metadata_context"),
        "route metadata": check.attributes.HasField("route_metadata_context"),
        "session": check.attributes.HasField("tls_session"),
    }
