"""RequestAuthentication: for whom it holds, and keys that are fetched: late, new, wrong, over TLS, not at all.

That each field becomes what istiod makes of it is what e2e/test_same_resources.py compares with istiod itself.
"""

from __future__ import annotations

import logging
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from localmesh import LocalMesh
from localmesh.ca import CertificateAuthority
from localmesh.compile import Snapshot, View
from localmesh.compile.jwt_authn import NOBODYS_KEYS, KeySource
from localmesh.config import read_folder
from localmesh.jwks import KeySets, Times
from localmesh.jwks.fetch import LARGEST, NoKeys, fetch
from tests.localmesh.yaml_folder import SERVICE, resource, write

REVIEWS = View("demo", addresses=("127.0.0.2",))
ONE, OTHER = '{"keys":[]}', '{"keys": [{"kty":"oct","k":"AAAA"}]}'
OFTEN = Times(refresh=0.01, retry=0.01, longest_retry=0.02)
WAIT = 30.0


def tokens(rules, namespace="demo", name="t", more=""):
    return resource("RequestAuthentication", name, f"{more}jwtRules: {rules}", namespace).replace(
        "networking.", "security.", 1
    )


def providers(snapshot, view=REVIEWS):
    """Of the listener's first HTTP chain, in whose filters they must stand before all that answers."""
    for chain in Listener.FromString(snapshot.listeners(view)["virtualInbound"].value).filter_chains:
        manager = HttpConnectionManager()
        if chain.filters[-1].typed_config.Unpack(manager):
            config = JwtAuthentication()
            if not manager.http_filters[0].typed_config.Unpack(config):
                return {}
            return dict(config.providers)
    raise AssertionError


def keys_of(mesh):
    return [provider.local_jwks.inline_string for _, provider in sorted(providers(mesh._snapshot).items())]


SCOPES = {
    "its namespace": (tokens(f"[{{issuer: a, jwks: '{ONE}'}}]"), True),
    "another namespace": (tokens(f"[{{issuer: a, jwks: '{ONE}'}}]", "other"), False),
    "the mesh": (tokens(f"[{{issuer: a, jwks: '{ONE}'}}]", "istio-system"), True),
    "its labels, from the root namespace": (
        tokens(f"[{{issuer: a, jwks: '{ONE}'}}]", "istio-system", more="selector: {matchLabels: {version: v2}}\n"),
        True,
    ),
    "other labels": (tokens(f"[{{issuer: a, jwks: '{ONE}'}}]", more="selector: {matchLabels: {version: v1}}\n"), False),
    "a gateway": (
        tokens(
            f"[{{issuer: a, jwks: '{ONE}'}}]",
            more="targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}]\n",
        ),
        False,
    ),
    "no rules": (tokens("[]"), False),
}


@pytest.mark.parametrize(("document", "holds"), SCOPES.values(), ids=SCOPES)
def test_it_holds_for_whom_it_selects(tmp_path, document, holds):
    snapshot = Snapshot(read_folder(write(tmp_path, all=f"{SERVICE}\n---\n{document}")))
    assert bool(providers(snapshot, snapshot.view(REVIEWS))) is holds


class Issuer:
    """Answers as it is told, and waits at its gate before. ``asked`` are the paths."""

    def __init__(self):
        self.status, self.body, self.headers = 200, ONE, {}
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        self.changed = threading.Condition()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.gate.wait(WAIT)
                with issuer.changed:
                    issuer.asked.append(self.path)
                    answer = issuer.body(self.path) if callable(issuer.body) else issuer.body
                    status, headers = issuer.status, issuer.headers
                    issuer.changed.notify_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server.server_port}/keys"

    def answer(self, body, status=200, **headers):
        """From now on; returns once the next has been answered so."""
        with self.changed:
            self.body, self.status, self.headers = body, status, headers
        self.wait_for(len(self.asked) + 2)

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, WAIT)


@contextmanager
def serving(issuer):
    issuer.thread.start()
    try:
        yield issuer
    finally:
        issuer.gate.set()
        issuer.server.shutdown()
        issuer.thread.join()
        issuer.server.server_close()


@pytest.fixture
def issuer():
    with serving(Issuer()) as issuer:
        yield issuer


@pytest.fixture
def kept():
    """A `KeySets` that asks again and again, and an event for its changes."""
    changes = []
    told = threading.Condition()

    def changed():
        with told:
            changes.append(key_sets.known)
            told.notify_all()

    def until(condition):
        with told:
            assert told.wait_for(lambda: condition(key_sets.known), WAIT), key_sets.known

    key_sets = KeySets(changed, OFTEN)
    key_sets.start()
    yield key_sets, until, changes
    key_sets.stop()


def test_keys_are_fetched_taken_over_when_they_change_and_kept_when_they_cannot_be_had(issuer, kept, caplog):
    key_sets, until, changes = kept
    source = KeySource("a", issuer.uri)
    key_sets.want({source: 5.0})
    until(lambda known: known == {source: ONE})
    issuer.answer(OTHER)
    until(lambda known: known == {source: OTHER})
    for bad, status in (("oh", 200), ("[]", 200), (ONE, 500), (ONE, 404), (ONE + " " * LARGEST, 200)):
        issuer.answer(bad, status)
        assert key_sets.known == {source: OTHER}
    issuer.answer(ONE)
    until(lambda known: known == {source: ONE})
    assert changes == [{source: ONE}, {source: OTHER}, {source: ONE}]  # and of the same keys nobody was told
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("status 500" in text and "the last ones are still used" in text for text in said)
    assert len(said) == len(set(said))  # each reason once for as long as it lasts


def test_what_is_no_longer_wanted_is_forgotten(issuer, kept):
    key_sets, until, _ = kept
    source = KeySource("a", issuer.uri)
    key_sets.want({source: 5.0})
    until(lambda known: source in known)
    key_sets.want({})
    assert key_sets.known == {}


def test_an_issuer_that_hangs_holds_up_no_other(issuer, kept):
    key_sets, until, _ = kept
    with serving(Issuer()) as hanging:
        hanging.gate.clear()
        slow, good = KeySource("slow", hanging.uri), KeySource("good", issuer.uri)
        key_sets.want({slow: WAIT, good: 5.0})
        until(lambda known: known == {good: ONE})


def test_an_issuer_says_where_its_keys_are(issuer):
    configuration = f'{{"jwks_uri": "{issuer.uri}"}}'
    issuer.body = lambda path: configuration if path == "/.well-known/openid-configuration" else OTHER
    assert fetch(KeySource(issuer.uri.removesuffix("keys"), ""), 5.0) == OTHER
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.body = '{"jwks_uri": 1}'
    with pytest.raises(NoKeys, match="has no jwks_uri"):
        fetch(KeySource(issuer.uri, ""), 5.0)


def test_no_file_is_read_wherever_an_answer_leads(issuer, tmp_path):
    (tmp_path / "keys").write_text(OTHER)
    issuer.status, issuer.headers = 302, {"Location": f"file://{tmp_path}/keys"}
    with pytest.raises(NoKeys):
        fetch(KeySource("a", issuer.uri), 5.0)
    with pytest.raises(NoKeys, match="begins with neither"):
        fetch(KeySource(f"file://{tmp_path}", ""), 5.0)


def test_an_answer_that_is_cut_is_none(issuer):
    """What is left of it would be a set of fewer keys, here of none."""
    issuer.headers = {"Content-Length": str(len(ONE) + 1)}
    with pytest.raises(NoKeys, match="ends 1 bytes too soon"):
        fetch(KeySource("a", issuer.uri), 5.0)


def test_who_answers_bit_by_bit_is_given_up_in_time(issuer):
    drip = threading.Event()

    class Slow:
        def encode(self):
            drip.wait(WAIT)
            return b""

    issuer.body = Slow()
    try:
        with pytest.raises(NoKeys, match="timed out"):
            fetch(KeySource("a", issuer.uri), 0.2)
    finally:
        drip.set()


def test_certificates_are_verified_and_tls_is_not_left(issuer, tmp_path, monkeypatch):
    ca = CertificateAuthority(tmp_path / "ca")
    pair = ca.key_pair(["localhost"])
    (tmp_path / "pair.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    with serving(Issuer()) as secure:
        secure.server.socket = context.wrap_socket(secure.server.socket, server_side=True)
        source = KeySource("a", secure.uri.replace("http:", "https:").replace("127.0.0.1", "localhost"))
        with pytest.raises(NoKeys, match=r"(?i)certificate verify failed"):
            fetch(source, 5.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca" / "root-cert.pem"))
        assert fetch(source, 5.0) == ONE
        secure.status, secure.headers = 302, {"Location": issuer.uri}
        with pytest.raises(NoKeys, match="leads from https to http:"):
            fetch(source, 5.0)
    assert issuer.asked == []


def test_a_mesh_refuses_all_tokens_until_it_has_the_keys_and_then_tells_its_clients(issuer, tmp_path):
    issuer.gate.clear()
    rules = f"[{{issuer: a, jwksUri: '{issuer.uri}'}}]"
    reloads = threading.Semaphore(0)
    folder = write(tmp_path / "mesh", service=SERVICE, t=tokens(rules))
    with LocalMesh(folder, watch=False, on_reload=lambda _: reloads.release()) as mesh:
        assert (keys_of(mesh), mesh.version) == ([NOBODYS_KEYS], 1)
        issuer.gate.set()
        assert reloads.acquire(timeout=WAIT)
        assert (keys_of(mesh), mesh.version) == ([ONE], 2)
        mesh.reload()  # what is known stays
        assert keys_of(mesh) == [ONE]
        write(tmp_path / "mesh", t=tokens("[]"))
        mesh.reload()
        assert mesh._key_sets.known == {}
