"""A control plane that means harm, as a process of its own: it serves one good service, then attacks on command.

``python -m tests.hostile.plane ATTACK SECONDS ENDPOINT``. It prints its address, attacks once a line comes in, prints
a line when it is done, and serves the good service again, one route richer.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import random
import sys
import threading
import time
from concurrent import futures

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, inbound, response, route, subset
from xds_client.resource_type import ResourceType

CLUSTER, ENDPOINT, LISTENER, ROUTE = (
    ResourceType.CLUSTER,
    ResourceType.ENDPOINT,
    ResourceType.LISTENER,
    ResourceType.ROUTE,
)
METHOD = "DeltaAggregatedResources"
SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
GOOD = subset()
LARGE = 50_000_000


class Plane(grpc.GenericRpcHandler):
    """Answers each type's first request with what is good; `send` says anything to every stream."""

    def __init__(self, port):
        self.port = port
        self.short_lived = False
        self.richer = False
        self._nonces = map(str, itertools.count(1))
        self._streams = []
        self._lock = threading.Lock()

    def service(self, details):
        if details.method != f"/{SERVICE}/{METHOD}":
            return None
        return grpc.stream_stream_rpc_method_handler(self._stream)  # bytes in, bytes out

    def good(self, kind):
        table = route(REVIEWS_ROUTE, GOOD)
        if self.richer:
            table.virtual_hosts[0].routes.add(name="richer").CopyFrom(table.virtual_hosts[0].routes[0])
        service = {
            CLUSTER: cluster(GOOD),
            ENDPOINT: endpoints(GOOD, "127.0.0.1", port=self.port),
            LISTENER: inbound(1),
            ROUTE: table,
        }
        return response(kind, service[kind], nonce=next(self._nonces)).SerializeToString()

    def send(self, data, patience=1.0):
        """Wait until every stream has taken it: flow control is the client's only defence, and it has it."""
        with self._lock:
            streams = list(self._streams)
        for out in streams:
            with contextlib.suppress(queue.Full):
                out.put(data, timeout=patience)

    def recover(self):
        self.short_lived, self.richer = False, True
        self.send(self.good(ROUTE), patience=60.0)  # the client may be busy with what came before

    def _stream(self, requests, context):
        out = queue.Queue(2)
        with self._lock:
            self._streams.append(out)
        threading.Thread(target=self._listen, args=(requests, out), daemon=True).start()
        end = time.monotonic() + 0.01 if self.short_lived else None
        try:
            while context.is_active() and (end is None or time.monotonic() < end):
                try:
                    data = out.get(timeout=0.01 if end else 0.2)
                except queue.Empty:
                    continue
                if data is None:
                    return
                yield data
        finally:
            with self._lock:
                self._streams.remove(out)

    def _listen(self, requests, out):
        asked = set()
        try:
            for data in requests:
                request = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
                fresh = not request.response_nonce and request.resource_names_subscribe
                if request.type_url not in asked or fresh:
                    asked.add(request.type_url)
                    out.put(self.good(ResourceType(request.type_url)))
        except grpc.RpcError:
            pass


# ---- what it does to its clients, for ever; each step is one push


def wrong_types(plane):
    """Resources that are packed as something else, and types that nobody asked for, each time another."""
    for number in itertools.count():
        for kind, other in ((CLUSTER, LISTENER), (ENDPOINT, CLUSTER), (LISTENER, ROUTE), (ROUTE, ENDPOINT)):
            answer = response(kind, cluster(GOOD), nonce=f"w{number}")
            answer.resources[0].resource.type_url = other.value
            answer.resources[0].name = {LISTENER: "virtualInbound", ROUTE: REVIEWS_ROUTE}.get(kind, GOOD)
            plane.send(answer.SerializeToString())
            answer.type_url = f"type.googleapis.com/demo.Unknown{number}"
            plane.send(answer.SerializeToString())
        many = response(CLUSTER, nonce=f"m{number}")
        for index in range(2000):
            many.resources.add(name=f"c{number}-{index}", resource=any_pb2.Any(type_url="nothing", value=b"\xff" * 100))
        plane.send(many.SerializeToString())
        yield


def large(plane):
    """One resource of 50 MB: endpoints by the half million, a cluster, a table, a listener with an endless name."""
    table, listener = route(REVIEWS_ROUTE, GOOD), inbound(1)
    table.virtual_hosts[0].name = "x" * LARGE
    listener.filter_chains[0].name = "x" * LARGE
    endless = cluster(GOOD)
    endless.alt_stat_name = "x" * LARGE
    many = endpoints(GOOD, *(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(LARGE // 24 // 4)))
    for group in [many.endpoints[0]] * 3:
        many.endpoints.add().CopyFrom(group)
        many.endpoints[-1].priority = len(many.endpoints)
    answers = [
        response(kind, message, nonce="large").SerializeToString()
        for kind, message in ((ENDPOINT, many), (CLUSTER, endless), (ROUTE, table), (LISTENER, listener))
    ]
    for answer in itertools.cycle(answers):
        plane.send(answer)
        yield


def crowd(plane):
    """200,000 clusters, and the next time 200,000 others."""
    for number in itertools.count():
        answer = response(CLUSTER, *(cluster(f"crowd-{number}-{i}") for i in range(200_000)), nonce=f"c{number}")
        plane.send(answer.SerializeToString())
        yield


def pushes(plane):
    """1,000 pushes a second, each with something new in it."""
    begun = time.monotonic()
    for number in itertools.count():
        table = route(REVIEWS_ROUTE, GOOD)
        table.virtual_hosts[0].routes[0].name = f"r{number}"
        spare = cluster(f"spare-{number % 100}")
        spare.connect_timeout.nanos = number + 1
        listener = inbound(1, 2 + number % 100)
        kind, message = ((ROUTE, table), (CLUSTER, spare), (LISTENER, listener))[number % 3]
        plane.send(response(kind, message, nonce=f"p{number}").SerializeToString())
        time.sleep(max(0.0, begun + number / 1000 - time.monotonic()))
        yield


def closing(plane):
    """Each stream ends after 10 ms."""
    plane.short_lived = True
    plane.send(None)
    while True:
        time.sleep(0.05)
        yield


def contradictions(plane):
    """A resource twice, there and removed, under another's name, without a name, with an empty nonce, all removed
    that never was; a table that names what is not, and a cluster without endpoints beside the good one.
    """
    dice = random.Random(1)
    for number in itertools.count():
        for kind, message in (
            (CLUSTER, cluster(GOOD)),
            (ENDPOINT, endpoints(GOOD, "10.255.0.1")),
            (LISTENER, inbound(7)),
            (ROUTE, route(REVIEWS_ROUTE, "nowhere")),
        ):
            name = {LISTENER: "virtualInbound", ROUTE: REVIEWS_ROUTE}.get(kind, GOOD)
            twice = response(kind, message, message, nonce=dice.choice(("", f"t{number}")), removed=[name])
            other = response(kind, message, nonce=f"o{number}")
            other.resources[0].name = name + dice.choice(("", "x", "\0"))
            other.resources[0].resource.value = b""
            plane.send(twice.SerializeToString())
            plane.send(other.SerializeToString())
        gone = response(CLUSTER, nonce=f"g{number}", removed=[f"never-{number}-{i}" for i in range(1000)])
        plane.send(gone.SerializeToString())
        yield


def endless(plane):
    """Names, versions and nonces of a megabyte each, of resources that are good and of others that are not."""
    for number in itertools.count():
        answer = response(CLUSTER, nonce="n" * 1_000_000)
        for index in range(50):
            version, long = f"{number}-{index}-".ljust(1_000_000, "v"), f"{number}-{index}-".ljust(1_000_000, "c")
            good = any_pb2.Any(type_url=CLUSTER.value, value=cluster(f"c{number}-{index}").SerializeToString())
            answer.resources.add(name=f"c{number}-{index}", version=version, resource=good)
            answer.resources.add(name=long, resource=any_pb2.Any(type_url="nothing"))
        plane.send(answer.SerializeToString())
        yield


def pleading(plane):
    """Each push asks for twenty other things that no client carries out, at length."""
    for number in itertools.count():
        table = route(REVIEWS_ROUTE, GOOD)
        for index in range(20):
            asks = table.virtual_hosts[0].routes.add(name=f"{number}-{index}")
            asks.CopyFrom(table.virtual_hosts[0].routes[0])
            asks.name = f"{number}-{index}-".ljust(4000, "x")
            asks.route.request_mirror_policies.add(cluster="elsewhere")
        plane.send(response(ROUTE, table, nonce=f"q{number}").SerializeToString())
        yield


def nested(plane):
    """Groups, structs and messages, some thousand deep; and what is no response at all."""
    deep = b"\x0b" * 100_000  # the beginning of group 1, and of one in it, and so on
    struct = b""
    for _ in range(3000):
        value = _field(5, struct)  # Value.struct_value
        struct = _field(1, _field(1, b"a") + _field(2, value))  # Struct.fields["a"]
    metadata = _field(1, _field(1, b"a") + _field(2, struct))  # Metadata.filter_metadata["a"]
    inside = {
        CLUSTER: (GOOD, _field(25, metadata)),
        ENDPOINT: (GOOD, _field(2, _field(2, _field(3, metadata)))),  # endpoints, lb_endpoints
        LISTENER: ("virtualInbound", _field(6, metadata)),
        ROUTE: (REVIEWS_ROUTE, _field(2, _field(3, _field(4, metadata)))),  # virtual_hosts, routes
    }
    for number in itertools.count():
        for kind, (name, content) in inside.items():
            for data in (deep, _field(1, name.encode()) + content):
                answer = discovery_pb2.DeltaDiscoveryResponse(type_url=kind.value, nonce=f"d{number}")
                answer.resources.add(name=name, resource=any_pb2.Any(type_url=kind.value, value=data))
                plane.send(answer.SerializeToString())
        yield
        if number % 20 == 19:
            plane.send(b"\xff" * 1000)


def _field(number, data):
    """Bytes or a message, as field of this number."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


ATTACKS = {
    attack.__name__: attack
    for attack in (wrong_types, large, crowd, pushes, closing, contradictions, endless, pleading, nested)
}


def main(attack, seconds, port):
    plane = Plane(int(port))
    options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[plane], options=options)
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)  # noqa: T201 - how it talks to the test
    server.start()
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    steps = 0
    for _ in ATTACKS[attack](plane):
        steps += 1
        if time.monotonic() >= end:
            break
    print(steps, flush=True)  # noqa: T201 - how it talks to the test
    plane.recover()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
