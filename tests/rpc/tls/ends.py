"""Clients and servers whose TLS follows a `Mesh` of the test, and what the two sides know of each other."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import grpc

import rpc
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE, READ, greet, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.mesh import TARGET, Mesh, strict


class MeshWorld(World):
    def serve_in(self, mesh, listener=None, script=polite, **how):
        """A server of ours in the mesh; returns its address. ``listener``: its inbound one, or None: none came yet."""
        if listener is not None:
            mesh.inbound.set(listener)
        return self.serve(script, credentials=rpc.xds_server_credentials(mesh=mesh), **how)

    def call_from(self, mesh, address=None, **dials):
        """A client of ours in the mesh, to its target."""
        if address is not None:
            mesh.dials(address, **dials)
        return self.connect(TARGET, mesh=mesh)

    def pair(self, client_identity, server_identity, listener=None, script=polite, **dials):
        """Both, of these identities; returns the client, its mesh and the server's."""
        theirs, ours = Mesh(server_identity), Mesh(client_identity)
        address = self.serve_in(theirs, listener or strict(), script)
        return self.call_from(ours, address, **dials), ours, theirs


def hello(client, name="Ann", **how):
    answer = client.call("unary", asked(name), **how)
    assert (answer.code, answer.messages) == (grpc.StatusCode.OK, [f"Hello, {name}!"]), answer.details


def refused(client, *words, **how):
    """Call in vain; the failure is UNAVAILABLE and says all of this."""
    answer = client.call("unary", asked("Ann"), **how)
    assert answer.code is grpc.StatusCode.UNAVAILABLE, answer
    for word in words:
        assert word in answer.details, answer.details
    return answer.details


def tell_peer(seen):
    """A script: answer once, and put down what the context says of the client."""

    def look(context):
        seen.append((context.auth_context(), context.peer_identities(), context.peer_identity_key()))

    def script():
        asked = yield READ
        yield look
        yield greet(asked)

    return script


def until(truth, why="it did not come about"):
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE
    while not (value := truth()):
        assert time.monotonic() < end, why
        time.sleep(0.01)
    return value


def links(client):
    """The connections that the client has open."""
    core = client.channel._driver.core
    return [connection.transport for connection in core._pool.subchannels if connection.transport is not None]


def redial(client):
    """End the client's connections, as a network does; the next call dials anew."""
    for link in links(client):
        link.drain()
    until(lambda: not links(client))


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def raw(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), PATIENCE)


def ended(sock):
    """The other side ended the connection, in whatever way; what it said before is returned."""
    said = b""
    sock.settimeout(PATIENCE)
    try:
        while piece := sock.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said
