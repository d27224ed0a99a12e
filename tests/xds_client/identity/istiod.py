"""A whole istiod for one pod: ADS over TLS, the pod's files, certificates when the test says so."""

from __future__ import annotations

import queue

import grpc

from tests.xds_client.ads_server import AdsServer
from tests.xds_client.identity.authority import SPIFFE_ID, Authority, new_key, pem, private_pem
from tests.xds_client.identity.ca_server import HOST
from xds_client import ResourceType
from xds_client.codec import DeltaRequest
from xds_client.identity.access import IstiodAccess
from xds_client.identity.certificate import Expected, make_identity
from xds_client.identity.clock import SYSTEM_CLOCK
from xds_client.identity.keeper import IdentityKeeper
from xds_client.identity.roots import RootsFile
from xds_client.identity.stream_access import StreamAccess
from xds_client.session import DeltaSession
from xds_client.transport import GrpcTransport

FOREVER = float("inf")


class Events(queue.Queue):
    def opened(self):
        pass

    def received(self, data):
        self.put("received")

    def closed(self, reason):
        self.put(reason)

    def next(self):
        return self.get(timeout=30)


class Istiod:
    """Files of a pod, an ADS server over TLS, and streams to it."""

    def __init__(self, folder, channels):
        self.channels = channels
        self.authority = Authority()
        self.token, self.roots = folder / "token", folder / "root-cert.pem"
        self.token.write_text("good-token")
        self.roots.write_bytes(self.authority.pem)
        self.source = IdentityKeeper("the test", SYSTEM_CLOCK)
        self.server = None
        self.streams = []

    def serve(self, *messages, authority=None, by_certificate=False):
        key, authority = new_key(), authority or self.authority
        pair = private_pem(key), pem(authority.issue(key, dns=[HOST, "localhost"]))
        credentials = grpc.ssl_server_credentials([pair], self.authority.pem, by_certificate)
        self.server = AdsServer(*messages, credentials=credentials)
        return self.server

    def certify(self):
        """A new certificate of ours."""
        key = new_key()
        leaf, expected = self.authority.issue(key, SPIFFE_ID), Expected()
        identity = make_identity([leaf], key, [self.authority.certificate], expected, "test")
        self.source.publish(identity, FOREVER)
        return leaf

    def transport(self, address=None, server_name=""):
        address = address or f"localhost:{self.server.port}"
        roots = RootsFile(str(self.roots))
        access = IstiodAccess(
            address, roots, str(self.token), cluster_id="east", server_name=server_name, channels=self.channels
        )
        return GrpcTransport(address, StreamAccess(access, self.source), self.channels)

    def connect(self, node, transport=None):
        events = Events()
        stream = (transport or self.transport()).connect(DeltaSession.method, events)
        stream.send(DeltaRequest(ResourceType.CLUSTER, subscribe=("*",), node=node).encode())
        self.streams.append(stream)
        return stream, events

    def shown(self):
        return self.server.shown.get(timeout=30)
