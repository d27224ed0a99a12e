"""Peers that start TLS and stop: they cost little, not for long, and nobody else."""

import contextlib
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time

import grpc
import pytest

import rpc
from tests.rpc.frames import PREFACE
from tests.rpc.peers import World
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import Authority
from tests.rpc.tls.ends import ended, hello, raw, refused, until
from tests.rpc.tls.mesh import Mesh, permissive, strict

LIMIT = 10.0  # seconds that the server gives a greeting
MEMORY_EACH = 32 * 1024  # bytes of a connection that said hello and stopped


def client_hello():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="reviews").do_handshake()
    return outgoing.read()


BEGINNINGS = {
    "nothing": b"",
    "one byte of TLS": b"\x16",
    "half of HTTP/2": PREFACE[:12],
    "half a ClientHello": client_hello()[:100],
    "a ClientHello": client_hello(),
}


def test_a_server_gives_up_on_whoever_stops_and_serves_the_others_meanwhile(our_world, shop, reviews):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, permissive())
    good = our_world.call_from(Mesh(shop), address)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        stopped = {name: stack.enter_context(raw(address)) for name in BEGINNINGS}
        for name, sock in stopped.items():
            sock.sendall(BEGINNINGS[name])
        while time.monotonic() - began < LIMIT / 2:
            hello(good)
            time.sleep(0.2)
        for name, sock in stopped.items():
            ended(sock)
            assert time.monotonic() - began > LIMIT - 1, f"{name}: ended before its time"
    hello(good)


RUBBISH = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: reviews\r\n\r\n",
    "zeros": bytes(1000),
    "TLS that is none": b"\x16\x03\x01\x40\x00" + b"\xff" * 0x4000,
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "a ClientHello without end": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\0" * 0x3FFC,
    "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
}


@pytest.mark.parametrize("bytes_", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused_at_once_and_said(our_world, shop, reviews, bytes_, caplog):
    address = our_world.serve_in(Mesh(reviews), permissive())
    began = time.monotonic()
    with raw(address) as sock:
        sock.sendall(bytes_)
        ended(sock)
    assert time.monotonic() - began < LIMIT - 1
    until(lambda: "not accepted" in caplog.text)
    hello(our_world.call_from(Mesh(shop), address))


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x03", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"])
def test_a_client_gives_up_on_a_server_that_stops(our_world, shop, said):
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    taken.append(sock)
                    sock.sendall(said)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            client = our_world.call_from(Mesh(shop), address, connect_timeout=0.5)
            began = time.monotonic()
            refused(client, "said nothing in time", wait_for_ready=False)
            assert time.monotonic() - began < 20
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for sock in taken:
                sock.close()


def test_a_flood_of_refusals_is_a_few_lines_without_a_strangers_line_breaks(our_world, shop, reviews, caplog):
    address = our_world.serve_in(Mesh(reviews), strict())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2\nCRITICAL forged \x1b[31m", "y" * 200])
    for _ in range(100):
        with raw(address) as sock, contextlib.suppress(OSError, ssl.SSLError), context.wrap_socket(sock) as tls:
            tls.recv(1)
    until(lambda: "not accepted" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if "not accepted" in record.getMessage()]
    assert len(lines) < 30
    assert all(line.isprintable() and len(line) < 1500 for line in lines)
    assert "more since the last such line" in caplog.text or len(lines) == 1
    hello(our_world.call_from(Mesh(shop), address))


# ---- crowds


@pytest.fixture
def crowd_of(tmp_path):
    """Start a server in a process of its own; returns its address, and what asks for its memory."""
    root = Authority()
    leaf = root.issue(ips=["127.0.0.1"])
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    key.write_bytes(leaf.key)
    chain.write_bytes(leaf.chain)
    processes = []

    def start(kind, descriptors):
        command = [sys.executable, "-m", "tests.rpc.tls.crowded_server", kind, str(descriptors), str(key), str(chain)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        port = process.stdout.readline().strip()

        def ask():
            process.stdin.write("\n")
            process.stdin.flush()
            return [int(word) for word in process.stdout.readline().split()]

        return f"127.0.0.1:{port}", root, ask

    yield start
    for process in processes:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@pytest.fixture
def many_descriptors():
    """As many as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def call(address, root):
    world = World("sync")
    try:
        client = world.connect(address, credentials=rpc.ssl_channel_credentials(root.pem))
        answer = client.call("unary", asked("Ann"))
        assert answer.code is grpc.StatusCode.OK, answer.details
    finally:
        world.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_ten_thousand_half_open_handshakes(kind, crowd_of, many_descriptors):
    count = min(10_000, many_descriptors - 500)
    address, root, ask = crowd_of(kind, many_descriptors)
    call(address, root)
    before, _ = ask()
    hellos = client_hello()
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        for number in range(count):
            stack.enter_context(raw(address)).sendall(hellos if number % 2 else b"\x16")
            if number % 1000 == 0:
                call(address, root)
        took = time.monotonic() - began
        call(address, root)
        memory, descriptors = ask()
        assert descriptors > min(count, 1000), "they are not there"
        assert memory - before < count * MEMORY_EACH, f"{(memory - before) / count:.0f} bytes each after {took:.0f} s"
        until(lambda: ask()[1] < 200, "they are still there after their time")
        call(address, root)


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_who_says_hello_finds_room_when_descriptors_are_gone(kind, crowd_of):
    address, root, _ = crowd_of(kind, 100)
    call(address, root)
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(raw(address)).sendall(b"\x16")
        for _ in range(5):
            call(address, root)
    call(address, root)
