"""Keepalive pings, idleness and age of connections, both ways; what peers that ping too much are told."""

from __future__ import annotations

import random
import threading
import time

import grpc
import pytest

from tests.rpc.frames import ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, frame, message
from tests.rpc.proxy import Proxy
from tests.rpc.script import PATIENCE, READ, greet, polite, request, stay_until_over, wait_for

SOON = 200  # milliseconds
PINGING = [
    ("grpc.keepalive_time_ms", SOON),
    ("grpc.keepalive_timeout_ms", SOON),
    ("grpc.keepalive_permit_without_calls", 1),
]
HELLO = message(b"\n\x03Ann")


def silent(connection, _):
    """A server that takes requests and never says a word again, as one whose machine was lost."""
    connection.greet()
    connection.next(-1)


@pytest.mark.parametrize("kind", ["unary", "server_stream", "client_stream", "bidi"])
def test_a_server_that_is_silent_to_pings_is_given_up(our_world, start, kind):
    client = our_world.connect(start(silent).address, PINGING)
    answer = client.call(kind, request(), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "keepalive" in answer.details


def test_a_future_on_a_silent_server_is_given_up(sync_world, start):
    client = sync_world.connect(start(silent).address, PINGING)
    assert client.stub.SayHello.future(request(), timeout=PATIENCE).code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_that_answers_pings_may_take_its_time(our_world, start):
    pings = []

    def slow(connection, _):
        connection.greet()
        stream = None
        for got in connection.frames():
            if got.kind in {HEADERS, DATA} and got.flags & END_STREAM:
                stream = got.stream
            if got.kind == PING and not got.flags & ACK:
                pings.append(got)
                connection.send(frame(PING, body=got.body, flags=ACK))
                if len(pings) == 4 and stream is not None:
                    connection.reply(stream)

    client = our_world.connect(start(slow).address, PINGING)
    assert client.call("unary", request(), timeout=PATIENCE).messages == ["hi"]
    assert len(pings) >= 4


def test_without_calls_there_are_no_pings_unless_allowed(our_world, start):
    pings = []

    def noting(connection, _):
        connection.greet()
        for got in connection.frames():
            if got.kind in {HEADERS, DATA} and got.flags & END_STREAM:
                connection.reply(got.stream)
            if got.kind == PING and not got.flags & ACK:
                pings.append(got)
                connection.send(frame(PING, body=got.body, flags=ACK))

    address = start(noting).address
    client = our_world.connect(address, PINGING[:2])
    assert client.call("unary", request()).messages == ["hi"]
    time.sleep(4 * SOON / 1000)
    assert not pings
    allowed = our_world.connect(address, PINGING)
    assert allowed.call("unary", request()).messages == ["hi"]
    deadline = time.monotonic() + PATIENCE
    while not pings and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pings


def test_a_client_that_is_silent_to_pings_is_hung_up_on(our_world, dial):
    raw = dial(our_world.serve(polite, PINGING))
    assert raw.next(PING) is not None
    assert raw.hung_up()


def test_pings_of_the_server_are_answered(world):
    """Whoever answers them stays connected."""
    arrived, over = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    client = world.connect(world.serve(stay, PINGING))
    call = client.begin("server_stream", request())
    assert arrived.wait(PATIENCE)
    assert not over.wait(5 * SOON / 1000)
    call.cancel()
    assert over.wait(PATIENCE)


# ---- too many


def ping_often(raw, times=8):
    raw.send(*(frame(PING, body=number.to_bytes(8)) for number in range(times)))


def told(raw):
    """The GOAWAY that says that it is enough, or None if the connection stays."""
    raw.socket.settimeout(1)
    try:
        got = raw.next(GOAWAY)
    except TimeoutError:
        return None
    return got and (int.from_bytes(got.body[4:8]), got.body[8:])


def test_a_client_that_pings_too_often_is_told(our_world, dial):
    raw = dial(our_world.serve(polite))
    ping_often(raw)
    assert told(raw) == (0xB, b"too_many_pings")


@pytest.mark.parametrize(
    "options",
    [
        [("grpc.http2.min_ping_interval_without_data_ms", 0), ("grpc.keepalive_permit_without_calls", 1)],
        [("grpc.http2.max_ping_strikes", 0)],
    ],
    ids=["any interval", "any number of strikes"],
)
def test_a_server_may_allow_more(our_world, dial, options):
    raw = dial(our_world.serve(polite, options))
    ping_often(raw)
    assert told(raw) is None


# ---- age and idleness


@pytest.fixture
def proxied():
    proxies = []

    def proxy(address):
        proxies.append(Proxy(address))
        return proxies[-1]

    yield proxy
    for one in proxies:
        one.close()


def test_no_call_is_lost_to_a_connections_age(world, proxied):
    if world.server_make == "grpcio" and world.client_make == "grpcio":
        pytest.skip("grpcio is no concern of ours")
    proxy = proxied(world.serve(polite, [("grpc.max_connection_age_ms", SOON)]))
    client = world.connect(proxy.address)
    until = time.monotonic() + PATIENCE
    while proxy.accepted < 4 and time.monotonic() < until:
        assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert proxy.accepted >= 4


def test_no_call_is_lost_to_a_connections_idleness_under_load(our_world):
    """The server lets idle connections go just when calls come again, with and without others in progress."""
    idle = 30  # milliseconds
    address = our_world.serve(polite, [("grpc.max_connection_idle_ms", idle)])
    clients = [our_world.connect(address) for _ in range(4)]
    lost, sockets = [], set()

    def caller(number):
        chance = random.Random(number)
        client = clients[number % len(clients)]
        for _ in range(25):
            time.sleep(chance.uniform(0.5, 1.5) * idle / 1000)
            for kind in ("unary", "bidi"):
                answer = client.call(kind, request("Ann"))
                if answer.messages != ["Hello, Ann!"]:
                    lost.append(answer)
            [connection] = client.channel._driver.core.subchannels
            sockets.update(connection.transports)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(6)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(PATIENCE * 2)
    assert not any(one.is_alive() for one in callers)
    assert lost == []
    assert len(sockets) > len(clients), "no connection was ever let go"


def test_what_outlives_age_and_grace_is_ended(world):
    over = threading.Event()

    def stay():
        yield greet((yield READ))
        yield stay_until_over(over)

    options = [("grpc.max_connection_age_ms", SOON), ("grpc.max_connection_age_grace_ms", SOON)]
    answer = world.connect(world.serve(stay, options)).call("server_stream", request("Ann"), timeout=PATIENCE)
    assert answer.messages == ["Hello, Ann!"]
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert over.wait(PATIENCE)


def test_a_stream_lives_through_age_without_an_end_of_grace(world):
    go = threading.Event()

    def stay():
        asked = yield READ
        yield greet(asked)
        yield wait_for(go)
        yield greet(asked)

    client = world.connect(world.serve(stay, [("grpc.max_connection_age_ms", SOON)]))
    call = client.begin("server_stream", request("Ann"))
    assert call.read().message == "Hello, Ann!"
    time.sleep(3 * SOON / 1000)
    go.set()
    assert call.read().message == "Hello, Ann!"
    assert call.read() is None


def test_an_idle_client_is_sent_away(our_world, dial):
    raw = dial(our_world.serve(polite, [("grpc.max_connection_idle_ms", SOON)]))
    got = raw.next(GOAWAY)
    assert got.body[4:8] == b"\0\0\0\0"


def test_a_channel_that_is_idle_lets_go_and_comes_back(our_world, proxied):
    proxy = proxied(our_world.serve(polite))
    client = our_world.connect(proxy.address, [("grpc.client_idle_timeout_ms", SOON)])
    assert client.call("unary", request()).code.name == "OK"
    deadline = time.monotonic() + PATIENCE
    core = client.channel._driver.core
    while core.connectivity() is not grpc.ChannelConnectivity.IDLE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert core.connectivity() is grpc.ChannelConnectivity.IDLE
    assert client.call("unary", request()).code.name == "OK"
    assert proxy.accepted == 2


# ---- headers


@pytest.mark.parametrize("name", ["grpc.max_metadata_size", "grpc.absolute_max_metadata_size"])
def test_the_limit_of_metadata_is_announced(our_world, dial, name):
    raw = dial(our_world.serve(polite, [(name, 5000)]))
    settings = raw.next(SETTINGS).body
    entries = {
        int.from_bytes(settings[at : at + 2]): int.from_bytes(settings[at + 2 : at + 6])
        for at in range(0, len(settings), 6)
    }
    assert entries[0x6] == 5000


def test_too_much_metadata_fails_its_call_only(our_world):
    client = our_world.connect(our_world.serve(polite, [("grpc.max_metadata_size", 5000)]))
    assert client.call("unary", request()).code.name == "OK"
    answer = client.call("unary", request(), metadata=(("x-big", "x" * 10_000),))
    assert answer.code in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]


@pytest.mark.parametrize("where", ["initial", "trailing"])
@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_an_answer_with_more_metadata_than_the_client_takes_fails_its_call_only(world, proxied, kind, where):
    big = (("x-big", "x" * 20_000),)

    def metadata(context):
        if where == "initial":
            return context.send_initial_metadata(big)
        return context.set_trailing_metadata(big)

    def script():
        asked = yield READ
        if asked.name == "big":
            yield metadata
        yield greet(asked)

    proxy = proxied(world.serve(script))
    options = [("grpc.max_metadata_size", 5000), ("grpc.absolute_max_metadata_size", 5000)]
    client = world.connect(proxy.address, options)
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    answer = client.call(kind, request("big"))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED, answer
    if world.server_make == "ours":
        assert "the answer's metadata are larger than the client takes" in answer.details
    assert client.call(kind, request("Bob")).messages == ["Hello, Bob!"]
    assert proxy.accepted == 1, "the connection was lost with the call"
