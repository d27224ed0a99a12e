"""PeerAuthentication changed while calls are in flight: who fits goes on, who does not is drained, nobody slips by."""

import contextlib
import itertools
import logging
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace

import grpc
import pytest

from tests.rpc.frames import GOAWAY, SETTINGS, RawClient, Wire, frame, message
from tests.rpc.script import READ, greet, polite, wait_for
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import REVIEWS, SHOP
from tests.rpc.tls.ends import MeshWorld, hello, links, raw, refused, until
from tests.rpc.tls.mesh import MUTUAL, Mesh, chain, disabled, listener, permissive, rule, strict
from xds_client.model import DownstreamTls, Filter, FilterChainMatch, SourceType

MODES = {"strict": strict(), "permissive": permissive(), "disabled": disabled()}
TAKES = {"strict": {"mutual"}, "permissive": {"mutual", "plaintext"}, "disabled": {"plaintext"}}


class Ends:
    """A server of ours in the mesh, and two clients: one calls over mutual TLS, one in plaintext."""

    def __init__(self, world, shop, reviews, mode, script=polite):
        self.mesh = Mesh(reviews)
        self.address = world.serve_in(self.mesh, MODES[mode], script)
        self.mutual = world.call_from(Mesh(shop), self.address)
        self.plaintext = world.connect(self.address)


@pytest.mark.parametrize("mode", MODES)
def test_what_each_mode_takes(our_world, shop, reviews, mode):
    ends = Ends(our_world, shop, reviews, mode)
    for kind in ("mutual", "plaintext"):
        client = getattr(ends, kind)
        if kind in TAKES[mode]:
            hello(client)
        else:
            refused(client)


@pytest.mark.parametrize("after", MODES)
@pytest.mark.parametrize("before", MODES)
def test_a_mode_flipped_under_calls(our_world, shop, reviews, before, after):
    """Calls that are legal before and after do not fail; connections that do not fit end well and are refused then."""
    release = threading.Event()

    def script():
        request = yield READ
        if request.name == "slow":
            yield wait_for(release)
        yield greet(request)

    ends = Ends(our_world, shop, reviews, before, script)
    clients = {kind: getattr(ends, kind) for kind in sorted(TAKES[before])}
    slow = {}
    for kind, client in clients.items():
        hello(client)
        slow[kind] = client.begin("unary", asked("slow"))
    had = {kind: links(client) for kind, client in clients.items()}
    ends.mesh.inbound.set(MODES[after])
    for kind, client in clients.items():
        if kind in TAKES[after]:
            hello(client)
            assert links(client) == had[kind], "a connection that fits was closed"
        else:
            until(lambda client=client: not links(client), "a connection that does not fit was kept")
            refused(client)
    release.set()
    assert {kind: call.code() for kind, call in slow.items()} == dict.fromkeys(slow, grpc.StatusCode.OK)


def test_flips_without_end_fail_no_call_that_is_always_legal(our_world, shop, reviews):
    ends = Ends(our_world, shop, reviews, "strict")
    hello(ends.mutual)
    [link] = links(ends.mutual)
    stop, failures = threading.Event(), []

    def keep_calling():
        while not stop.is_set():
            answer = ends.mutual.call("unary", asked("Ann"))
            if answer.code is not grpc.StatusCode.OK:
                failures.append(answer)

    caller = threading.Thread(target=keep_calling)
    caller.start()
    for number in range(40):
        ends.mesh.inbound.set(MODES["permissive" if number % 2 else "strict"])
        time.sleep(0.01)
    stop.set()
    caller.join()
    assert failures == []
    assert links(ends.mutual) == [link]


# ---- chains


def test_the_default_chain_takes_what_no_other_does(our_world, shop, reviews):
    theirs, ours = Mesh(reviews), Mesh(shop)
    only = chain("by name", tls=MUTUAL, transport="tls", names=("somebody.else",))
    address = our_world.serve_in(theirs, listener(only, default=chain("otherwise", tls=MUTUAL)))
    hello(our_world.call_from(ours, address))
    refused(our_world.connect(address))  # it is TLS that the default chain wants


V3 = "envoy.extensions.filters"
MANAGER = Filter("http", f"{V3}.network.http_connection_manager.v3.HttpConnectionManager")
ROUTER = Filter("envoy.filters.http.router", f"{V3}.http.router.v3.Router")


def http(*filters):
    return {"network_filters": (MANAGER,), "http_filters": (*filters, ROUTER)}


def network(*filters):
    return {"network_filters": (*filters, MANAGER), "http_filters": (ROUTER,)}


# What is refused has a harmless one's name wherever that could deceive.
REFUSED_CHAINS = {
    "it is for some sources only": {"match": FilterChainMatch(source_type=SourceType.EXTERNAL)},
    "istio.stats (envoy.extensions.filters.http.rbac.v3.RBAC)": http(Filter("istio.stats", f"{V3}.http.rbac.v3.RBAC")),
    "envoy.filters.http.router (acme.Unheard)": http(Filter("envoy.filters.http.router", "acme.Unheard")),
    "istio.stats (a filter without a type)": http(Filter("istio.stats")),
    "istio.stats (its configuration has not come yet)": http(
        Filter("istio.stats", discovered=True, unknown="its configuration has not come yet")
    ),
    "found (envoy.extensions.filters.http.wasm.v3.Wasm)": http(
        Filter("found", f"{V3}.http.wasm.v3.Wasm", discovered=True)
    ),
    "ecds (envoy.extensions.filters.http.router.v3.Router)": http(Filter("ecds", ROUTER.type, discovered=True)),
    "istio.metadata_exchange (envoy.extensions.filters.network.rbac.v3.RBAC)": network(
        Filter("istio.metadata_exchange", f"{V3}.network.rbac.v3.RBAC")
    ),
    "hidden (envoy.extensions.filters.network.http_connection_manager": network(Filter("hidden", MANAGER.type)),
    "echo (envoy.extensions.filters.network.echo.v3.Echo)": {
        "network_filters": (Filter("echo", f"{V3}.network.echo.v3.Echo"),)
    },
    "http (envoy.extensions.filters.network.http_connection_manager": {
        "network_filters": (Filter("http", MANAGER.type, discovered=True),)
    },
    "the mesh says so": {"unusable": "the mesh says so"},
}


@pytest.mark.parametrize(("why", "demands"), REFUSED_CHAINS.items(), ids=REFUSED_CHAINS)
def test_a_chain_with_demands_that_are_not_met_lets_nobody_in(our_world, shop, reviews, why, demands, caplog):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, listener(chain("odd", tls=MUTUAL, **demands)))
    refused(our_world.call_from(Mesh(shop), address))
    refused(our_world.connect(address))
    until(lambda: "odd lets nobody in" in caplog.text)
    assert why in caplog.text


@pytest.mark.parametrize("demands", REFUSED_CHAINS.values(), ids=REFUSED_CHAINS)
def test_who_is_inside_when_such_demands_come_is_told_to_go(our_world, shop, reviews, demands):
    """Authorization that is not carried out must not be escaped by having come before it."""
    ends = Ends(our_world, shop, reviews, "permissive")
    for client in (ends.mutual, ends.plaintext):
        hello(client)
    ends.mesh.inbound.set(listener(chain("odd", tls=MUTUAL, **demands)))
    for client in (ends.mutual, ends.plaintext):
        until(lambda client=client: not links(client), "a connection that is not let in any more was kept")
        refused(client)


def test_a_listener_filter_that_is_not_carried_out_closes_the_port(our_world, shop, reviews, caplog):
    proxied = Filter("tls_inspector", f"{V3}.listener.proxy_protocol.v3.ProxyProtocol")
    address = our_world.serve_in(Mesh(reviews), replace(strict(), listener_filters=(proxied,)))
    refused(our_world.call_from(Mesh(shop), address))
    until(lambda: "tls_inspector (envoy.extensions.filters.listener.proxy_protocol" in caplog.text)


def test_what_is_harmless_by_its_type_may_have_any_name(our_world, shop, reviews):
    exchange = Filter("envoy.filters.network.rbac", "envoy.tcp.metadataexchange.config.MetadataExchange")
    count = Filter("envoy.filters.http.rbac", "stats.PluginConfig")
    found = Filter("ecds", "stats.PluginConfig", discovered=True)
    demands = {**http(count, found), "network_filters": (exchange, MANAGER)}
    rules = listener(chain("open", tls=MUTUAL, transport="tls", **demands))
    inspector = Filter("proxy", f"{V3}.listener.tls_inspector.v3.TlsInspector")
    address = our_world.serve_in(Mesh(reviews), replace(rules, listener_filters=(inspector,)))
    hello(our_world.call_from(Mesh(shop), address))


def test_who_is_inside_when_other_names_are_wanted_is_told_to_go(our_world, shop, reviews):
    ends = Ends(our_world, shop, reviews, "strict")
    hello(ends.mutual)
    [link] = links(ends.mutual)
    ends.mesh.inbound.set(strict(DownstreamTls(subject_alt_names=(rule(SHOP), rule(REVIEWS)))))
    hello(ends.mutual)
    assert links(ends.mutual) == [link]
    ends.mesh.inbound.set(strict(DownstreamTls(subject_alt_names=(rule(REVIEWS),))))
    until(lambda: not links(ends.mutual))
    refused(ends.mutual)


# ---- changes that follow each other


def updates_without_end(mesh, *listeners):
    """Push these in turn, each before what follows from the one before it is due; returns what ends it."""
    stop = threading.Event()

    def push():
        for pushed in itertools.cycle(listeners):
            if stop.wait(0.2):
                return
            mesh.inbound.set(pushed)

    thread = threading.Thread(target=push)
    thread.start()
    return lambda: (stop.set(), thread.join())


def other_strict(tls=MUTUAL):
    """As strict, but not equal to it."""
    return listener(chain("as strict", tls=tls, transport="tls"), chain("nobody's", names=("nobody.example",)))


UPDATES = {
    "more of the same": (strict(), other_strict()),
    "the door opens and closes": (strict(), strict(), strict(), permissive()),
}


@pytest.mark.parametrize("updates", UPDATES.values(), ids=UPDATES)
def test_no_update_puts_off_what_an_earlier_one_demands(our_world, shop, reviews, updates):
    ends = Ends(our_world, shop, reviews, "permissive")
    hello(ends.plaintext)
    [link] = links(ends.plaintext)
    stop = updates_without_end(ends.mesh, *updates)
    try:
        until(lambda: link not in links(ends.plaintext), "plaintext was kept after STRICT, by updates that came later")
    finally:
        stop()


def test_an_expiring_certificate_does_not_put_off_what_a_change_demands(our_world, shop, reviews):
    ends = Ends(our_world, shop, reviews, "permissive")
    hello(ends.plaintext)
    ends.mesh.inbound.set(MODES["strict"])
    ends.mesh.identity.expire("the CA is gone")
    refused(our_world.call_from(Mesh(shop), ends.address))  # the server looks at its certificate
    until(lambda: not links(ends.plaintext), "plaintext was kept after STRICT, because the certificate has expired")


def test_a_change_that_meets_an_expired_certificate_closes_only_what_the_change_closes(our_world, shop, reviews):
    ends = Ends(our_world, shop, reviews, "permissive")
    for client in (ends.mutual, ends.plaintext):
        hello(client)
    [link] = links(ends.mutual)
    ends.mesh.identity.expire("the CA is gone")
    refused(our_world.call_from(Mesh(shop), ends.address))
    ends.mesh.inbound.set(MODES["strict"])
    until(lambda: not links(ends.plaintext))
    hello(ends.mutual)
    assert links(ends.mutual) == [link]


# ---- who does not want to go


def test_plaintext_that_ignores_goaway_makes_no_more_calls(our_world, shop, reviews):
    """A graceful GOAWAY ends with an answered ping; who does not answer would have calls taken for ever."""
    ends = Ends(our_world, shop, reviews, "permissive")
    stubborn = RawClient(ends.address)
    try:
        stubborn.call(message(asked("Ann").SerializeToString()))
        assert stubborn.answer()["grpc-status"] == "0"
        ends.mesh.inbound.set(MODES["strict"])
        assert stubborn.next(GOAWAY) is not None
        served, stream, end = 0, 3, time.monotonic() + 30
        while time.monotonic() < end:
            ends.mesh.inbound.set((MODES["strict"], other_strict())[served % 2])  # an update must not give it more time
            try:
                stubborn.call(message(asked("Ann").SerializeToString()), stream=stream)
                answer = stubborn.answer(stream)
            except OSError:
                answer = None
            if answer is None:
                break
            served += 1
            stream += 2
            time.sleep(0.5)
        else:
            pytest.fail(f"{served} calls were served after GOAWAY, and there is no end")
    finally:
        stubborn.close()
    hello(ends.mutual)


def test_a_connection_that_was_on_its_way_in_when_the_rules_changed_is_looked_at_again(our_world, mesh_root, reviews):
    """Its ClientHello met the old chain; it finishes its handshake when that chain lets nobody in any more."""
    theirs = Mesh(reviews)
    tls = DownstreamTls(require_client_certificate=False)
    address = our_world.serve_in(theirs, strict(tls))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    with raw(address) as sock:
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        sock.sendall(outgoing.read())
        done = False
        while not done:
            incoming.write(sock.recv(65536))
            try:
                session.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
        theirs.inbound.set(strict())  # from now on certificates are demanded
        session.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
        sock.sendall(outgoing.read())
        wire = _Sealed(sock, session, incoming, outgoing)
        with contextlib.suppress(OSError):  # the connection may be over already
            wire.call()
        assert wire.answer() is None, "a call was served on a connection that no chain lets in"


class _Sealed(RawClient):
    """A raw client inside TLS."""

    def __init__(self, sock, session, incoming, outgoing):
        Wire.__init__(self, sock)
        self._session, self._incoming, self._outgoing = session, incoming, outgoing

    def send(self, *pieces):
        self._session.write(b"".join(pieces))
        self.socket.sendall(self._outgoing.read())

    def _exactly(self, count):
        data = b""
        try:
            while len(data) < count:
                try:
                    piece = self._session.read(count - len(data))
                except ssl.SSLWantReadError:
                    got = self.socket.recv(65536)
                    if not got:
                        return None
                    self._incoming.write(got)
                    continue
                if not piece:
                    return None
                data += piece
        except (ConnectionError, ssl.SSLError):
            return None
        return data


def test_a_change_that_another_thread_brings_is_told_in_the_servers_loop(shop, reviews):
    """The exchanger's thread drains; the calls of a connection that is found dead then are told in their loop."""
    world = MeshWorld("aio")
    world.loop.loop.set_debug(True)  # asyncio looks at its callers' threads
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    began = threading.Event()

    def script():
        yield READ
        yield lambda _: began.set()
        yield wait_for(threading.Event())

    try:
        theirs = Mesh(reviews)
        address = world.serve_in(theirs, permissive(), script)
        client = RawClient(address)
        client.call(message(b""), end=True)
        assert began.wait(10)
        busy, free = threading.Event(), threading.Event()
        world.loop.loop.call_soon_threadsafe(lambda: (busy.set(), free.wait(10)))
        assert busy.wait(10)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
        client.close()
        time.sleep(0.1)
        theirs.inbound.set(strict())
        free.set()
    finally:
        world.close()


def test_debug_tells_who_was_let_in_by_which_chain_and_how(our_world, shop, reviews, caplog):
    caplog.set_level(logging.DEBUG, logger="proxyless.rpc")
    ends = Ends(our_world, shop, reviews, "permissive")
    hello(ends.mutual)
    hello(ends.plaintext)
    port = ends.address.rpartition(":")[2]
    let_in = rf"127\.0\.0\.1:0 \(port {port}\): let ipv4:127\.0\.0\.1:\d+ in by "
    for told in (rf"mutual: TLSv1\.3, h2, .*, the peer is {SHOP}", r"plaintext: in plaintext"):
        until(lambda told=told: re.search(f"{let_in}{told}$", caplog.text, re.MULTILINE), caplog.text)


def test_where_nobody_listens_for_it_nothing_is_made_of_who_is_let_in(our_world, shop, reviews, caplog, monkeypatch):
    made = []
    monkeypatch.setattr("rpc.security.inbound.agreed_on", made.append)
    caplog.set_level(logging.INFO, logger="proxyless.rpc")
    hello(Ends(our_world, shop, reviews, "strict").mutual)
    assert not made
