"""RequestAuthentication: one table of requests and tokens, on a stock Envoy and on servers of ours, which must agree.

The filter is the one that istiod makes of the rules; where the two may differ the case says so (``ours``).
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import rpc
import rpc.aio
from e2e.envoy.inbound_filters import FilteringEnvoy, typed
from e2e.envoy.sidecar import ENVOY
from tests.rpc.authorization.enforced import Enforced, Mirror, jwt_authn
from tests.rpc.authorization.jwt_cases import MISSING, Case, envoy_config, rule
from tests.rpc.authorization.jwt_request_cases import BAD_KEY_SETS, REQUEST_CASES
from tests.rpc.authorization.jwt_token_cases import TOKEN_CASES
from tests.rpc.authorization.jwt_tree_cases import TREE_CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [*TOKEN_CASES, *REQUEST_CASES, *TREE_CASES]
PATH = "/demo.Greeter/SayHello"
SHOWN = "x-seen-payload"
PAYLOAD = {SHOWN: "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload)%"}


@dataclass
class Answer:
    code: str
    details: str = ""
    query: str = ""
    metadata: list[tuple[str, str]] = field(default_factory=list)
    claims: dict[str, Any] | None = None
    challenge: str = ""  # without the host

    def differences(self, case: Case, *, ours: bool) -> list[str]:
        stricter = case.ours if ours else ""
        expected = ("UNAUTHENTICATED", stricter) if stricter else (case.code, case.refused)
        if (self.code, self.details) != expected:
            return [f"{self.code} {self.details!r} instead of {expected}"]
        if self.code != "OK":
            wanted = challenge(case, expected[1])
            return [] if self.challenge == wanted else [f"{self.challenge!r} instead of {wanted!r}"]
        seen = {name: [value for key, value in self.metadata if key == name] for name in case.seen}
        found = [
            f"{name}: {seen[name]} instead of {values}" for name, values in case.seen.items() if seen[name] != values
        ]
        claims = {name: (self.claims or {}).get(name) for name in case.claims or {}}
        if claims != (case.claims or {}):
            found.append(f"{claims} instead of {case.claims}")
        if case.query_seen is not None and self.query != case.query_seen:
            found.append(f"query {self.query!r} instead of {case.query_seen!r}")
        return found


def challenge(case: Case, refused: str) -> str:
    path = f"{PATH}?{case.query}" if case.query else PATH
    return f'Bearer realm="http://host{path[:256]}"' + ("" if refused == MISSING else ', error="invalid_token"')


class Servers:
    """The same rules on each of three: a stock Envoy before a plain server, and servers of ours."""

    def __init__(self, folder: Path) -> None:
        self._names: dict[str, str] = {}
        for case in CASES:
            self._names.setdefault(json.dumps(case.filter), f"rules-{len(self._names)}")
        configs = {name: json.loads(text) for text, name in self._names.items()}
        self._backend = grpc.server(ThreadPoolExecutor(2), handlers=[Mirror(ours=False)])
        self._backend.add_insecure_port(f"unix:{folder}/backend")
        self._backend.start()
        filters = {name: [jwt_filter(config)] for name, config in configs.items()}
        self._envoy = FilteringEnvoy(folder, f"{folder}/backend", filters, PAYLOAD)
        self._envoy.start()
        self._sync = rpc.server(ThreadPoolExecutor(2), handlers=[Mirror()])
        ports = {name: self._sync.add_secure_port("127.0.0.1:0", Enforced(jwt_authn(c))) for name, c in configs.items()}
        self._sync.start()
        self._loop = _Loop(configs)
        self._channels = {
            "envoy": {name: grpc.insecure_channel(self._envoy.address(name)) for name in configs},
            "sync": {name: grpc.insecure_channel(f"127.0.0.1:{port}") for name, port in ports.items()},
            "aio": {name: grpc.insecure_channel(f"127.0.0.1:{port}") for name, port in self._loop.ports.items()},
        }

    def ask(self, server: str, case: Case) -> Answer:
        channel = self._channels[server][self._names[json.dumps(case.filter)]]
        path = f"{PATH}?{case.query}" if case.query else PATH
        try:
            said = channel.unary_unary(path)(b"", metadata=case.headers, timeout=30, wait_for_ready=True)
        except grpc.RpcError as error:
            told = dict(error.trailing_metadata() or ()).get("www-authenticate", "")
            return Answer(error.code().name, error.details(), challenge=re.sub("http://[^/]*", "http://host", told))
        method, metadata, claims = json.loads(said)
        pairs = [(key, value) for key, value in metadata]
        if server == "envoy":
            claims = next((json.loads(value) for key, value in pairs if key == SHOWN), None)
        return Answer("OK", "", method.partition("?")[2], pairs, claims)

    def close(self) -> None:
        for channels in self._channels.values():
            for channel in channels.values():
                channel.close()
        self._loop.close()
        self._sync.stop(None).wait()
        self._envoy.stop()
        self._backend.stop(None).wait()


class _Loop:
    """A server of ours in a loop of its own."""

    def __init__(self, configs: dict[str, dict[str, Any]]) -> None:
        self.ports: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Any = None
        asyncio.run_coroutine_threadsafe(self._start(configs), self._loop).result()

    async def _start(self, configs: dict[str, dict[str, Any]]) -> None:
        self._server = rpc.aio.server(handlers=[Mirror(loop=True)])
        for name, config in configs.items():
            self.ports[name] = self._server.add_secure_port("127.0.0.1:0", Enforced(jwt_authn(config)))
        await self._server.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def jwt_filter(config: dict[str, Any]) -> dict[str, Any]:
    filled = typed("extensions.filters.http.jwt_authn.v3.JwtAuthentication", **config)
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": filled}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: it has sockets."""
    found = Path(tempfile.mkdtemp(prefix="jwt"))
    yield found
    shutil.rmtree(found)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    found = Path(tempfile.mkdtemp(prefix="jwt"))
    servers = Servers(found)
    yield servers
    servers.close()
    shutil.rmtree(found)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_envoy_and_we_decide_alike(servers: Servers, case: Case) -> None:
    found = {name: servers.ask(name, case).differences(case, ours=name != "envoy") for name in ("envoy", "sync", "aio")}
    assert not any(found.values()), found


@pytest.mark.parametrize("name", BAD_KEY_SETS)
def test_envoy_takes_no_configuration_with_keys_that_are_none(folder: Path, name: str) -> None:
    """We neither: tests/rpc/authorization/test_jwt.py has the same table."""
    bad = jwt_filter(envoy_config((rule(jwks=BAD_KEY_SETS[name]),)))
    FilteringEnvoy(folder, f"{folder}/backend", {"bad": [bad]})
    command = [str(ENVOY), "--mode", "validate", "-c", str(folder / "envoy.json"), "--log-level", "error"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "has invalid local jwks" in told.stdout + told.stderr
