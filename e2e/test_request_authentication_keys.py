"""Keys that a server fetches by itself (``remote_jwks``): over TLS, from one that rotates, fails, lies and comes back.

A stock Envoy and servers of ours give the same answers, but that ours keep the last good keys.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

import rpc
from e2e.envoy.inbound_filters import FilteringEnvoy, typed
from tests.rpc.authorization.enforced import Enforced, Mirror, jwt_authn
from tests.rpc.authorization.jwt_cases import NO_SUCH_KEY, envoy_config, rule
from tests.rpc.authorization.key_server import KeyServer
from tests.rpc.authorization.tokens import RSA_1, RSA_2, jwks
from tests.rpc.tls.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/demo.Greeter/SayHello"
FETCH_FAILED = "Jwks remote fetch is failed"
FIRST, SECOND = RSA_1.token("RS256"), RSA_2.token("RS256")
FIRST_KEYS, SECOND_KEYS = jwks(RSA_1.jwk()), jwks(RSA_2.jwk())


class Both:
    """A stock Envoy and a server of ours, with the same filter, and the issuer's server."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        roots = folder / "roots.pem"
        roots.write_bytes(authority.pem)
        self.issuer = KeyServer(folder, authority.issue(dns=("localhost",)))
        self.issuer.says(FIRST_KEYS)
        self.closing = [self.issuer.close]
        uri = {"uri": f"https://localhost:{self.issuer.port}/keys", "cluster": "issuer", "timeout": "5s"}
        config = envoy_config((rule(),))
        [provider] = config["providers"].values()
        del provider["local_jwks"]
        provider["remote_jwks"] = {"http_uri": uri, "cache_duration": "0.5s"}
        backend = grpc.server(ThreadPoolExecutor(2), handlers=[Mirror(ours=False)])
        backend.add_insecure_port(f"unix:{folder}/backend")
        backend.start()
        self.closing.append(lambda: backend.stop(None).wait())
        filled = typed("extensions.filters.http.jwt_authn.v3.JwtAuthentication", **config)
        filters = {"all": [{"name": "envoy.filters.http.jwt_authn", "typed_config": filled}]}
        envoy = FilteringEnvoy(folder, f"{folder}/backend", filters, clusters=[self._cluster(roots)])
        envoy.start()
        self.closing.append(envoy.stop)
        self._config = config
        self._folder = folder
        self._channels = {"envoy": grpc.insecure_channel(envoy.address("all"))}

    def start_ours(self) -> None:
        """It begins to fetch at once, where Envoy waits for a call."""
        server = rpc.server(ThreadPoolExecutor(2), handlers=[Mirror()])
        port = server.add_secure_port("127.0.0.1:0", Enforced(jwt_authn(self._config)))
        server.start()
        self.closing.append(lambda: server.stop(None).wait())
        self._channels["ours"] = grpc.insecure_channel(f"127.0.0.1:{port}")

    def _cluster(self, roots: Path) -> dict[str, object]:
        validation = {"trusted_ca": {"filename": str(roots)}}
        context = {"common_tls_context": {"validation_context": validation}, "sni": "localhost"}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.issuer.port}}
        tls = typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", **context)
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        return {
            "name": "issuer",
            "type": "STATIC",
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            "load_assignment": {"cluster_name": "issuer", "endpoints": endpoints},
        }

    def ask(self, token: str | None) -> dict[str, str]:
        """What each says; empty: the call was let in."""
        metadata = [("authorization", f"Bearer {token}")] if token else []
        said = {}
        for name, channel in self._channels.items():
            try:
                channel.unary_unary(PATH)(b"", metadata=metadata, timeout=60, wait_for_ready=True)
                said[name] = ""
            except grpc.RpcError as error:
                said[name] = error.details()
        return said

    def until(self, token: str | None, envoy: str, ours: str) -> None:
        end = time.monotonic() + 60
        while (said := self.ask(token)) != {"envoy": envoy, "ours": ours}:
            assert time.monotonic() < end, said
            time.sleep(0.1)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        for close in reversed(self.closing):
            close()


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    folder = Path(tempfile.mkdtemp(prefix="jwt"))  # short: it has sockets
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "roots.pem"))
    both = Both(folder)
    yield both
    both.close()
    shutil.rmtree(folder)


def test_keys_are_fetched_and_met_anew_when_they_rotate(both: Both) -> None:
    both.start_ours()
    assert both.ask(FIRST) == {"envoy": "", "ours": ""}
    assert both.ask(SECOND) == {"envoy": NO_SUCH_KEY, "ours": NO_SUCH_KEY}
    assert both.ask(None) == {"envoy": "", "ours": ""}
    both.issuer.says(SECOND_KEYS)
    both.until(SECOND, envoy="", ours="")
    both.until(FIRST, envoy=NO_SUCH_KEY, ours=NO_SUCH_KEY)


BAD = {
    "an error": {"text": "no", "status": 500},
    "garbage": {"text": "<html>"},
    "no keys": {"text": '{"keys": []}'},
    "elsewhere": {"text": "", "status": 302, "Location": "/elsewhere"},
}


@pytest.mark.parametrize("name", BAD)
def test_without_keys_tokens_are_refused_until_the_issuer_comes_back(both: Both, name: str) -> None:
    both.issuer.says(**BAD[name])
    both.start_ours()
    assert both.ask(FIRST) == {"envoy": FETCH_FAILED, "ours": FETCH_FAILED}
    assert both.ask(None) == {"envoy": "", "ours": ""}
    both.issuer.says(FIRST_KEYS)
    both.until(FIRST, envoy="", ours="")
    assert "/elsewhere" not in both.issuer.asked


@pytest.mark.parametrize("name", BAD)
def test_we_keep_the_last_good_keys_where_envoy_drops_them(both: Both, name: str) -> None:
    both.start_ours()
    assert both.ask(FIRST) == {"envoy": "", "ours": ""}
    both.issuer.says(**BAD[name])
    both.until(FIRST, envoy=FETCH_FAILED, ours="")
    both.issuer.says(SECOND_KEYS)
    both.until(SECOND, envoy="", ours="")
