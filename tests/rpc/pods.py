"""Servers on one port of several addresses behind one name of DNS, whose answer the test gives."""

from __future__ import annotations

import socket

from tests.rpc.script import READ, greet, request

NAME = "pods.test"
# Long enough to carry a call each: connections that end unused are another matter, they count as failed.
SHORT_LIVES = [("grpc.max_connection_age_ms", 700), ("grpc.max_connection_age_grace_ms", 60_000)]


class Pods:
    """Servers on one port of several addresses, each greeting by its own, and what the name says of them."""

    def __init__(self, world, monkeypatch, name=NAME):
        self.world = world
        self.name = name
        self.port = 0
        self.addresses = []
        self.looked_up = 0
        system_s = socket.getaddrinfo

        def getaddrinfo(host, port, *args, flags=0, **how):
            if host != self.name:
                return system_s(host, port, *args, flags=flags, **how)
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no IP address")
            self.looked_up += 1
            if not self.addresses:
                raise socket.gaierror(socket.EAI_NONAME, "nobody is called so")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def start(self, address, options=None, **how):
        def script():
            yield READ
            yield greet(request(address))

        self.port = self.world.start_server(script, options, address=f"{address}:{self.port}", **how)[1]


def answering(client):
    """Who answers the next call."""
    [said] = client.call("unary", request(), wait_for_ready=True).messages
    return said.removeprefix("Hello, ").removesuffix("!")
