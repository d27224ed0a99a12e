"""The gRPC servers: the plaintext one, and the one behind the secure port. Started and stopped by one thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from localmesh.errors import LocalMeshError
from localmesh.serve.addresses import check_free
from localmesh.serve.callers import Callers
from localmesh.serve.certificates import Certificates
from localmesh.serve.doors import PLAINTEXT, Door
from localmesh.serve.secrets import RENEWED_AFTER, SecretService
from localmesh.serve.streams import AdsService, Streams
from localmesh.serve.tls_port import TlsPort

if TYPE_CHECKING:
    from collections.abc import Callable

    from localmesh.ca import CertificateAuthority, TokenIssuer
    from localmesh.serve.secrets import Secrets

MAX_STREAMS = 200
MAX_REQUEST = 16 * 1024 * 1024  # bytes; the names of 100,000 clusters that a client holds
MIN_PING_INTERVAL_MS = 15_000  # as istiod (keepalive enforcement)
_BEHIND = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Trust:
    """What proves who somebody is."""

    authority: CertificateAuthority
    tokens: TokenIssuer
    cluster_id: str
    trust_domain: Callable[[], str]
    secrets: Secrets


class Servers:
    def __init__(self, streams: Streams, trust: Trust) -> None:
        self._streams = streams
        self._trust = trust
        self._renewal: threading.Timer | None = None
        self._servers: list[grpc.Server] = []
        self._threads: list[ThreadPoolExecutor] = []
        self._tls: TlsPort | None = None

    def start(self, address: str, secure_address: str | None) -> tuple[str, str | None]:
        """Listen; returns the addresses with the ports that they got. Raises `LocalMeshError`, and listens nowhere."""
        try:
            port = self._serve([AdsService(self._streams, PLAINTEXT)], address)
            secure_port = self._start_secure(secure_address) if secure_address is not None else None
        except BaseException:
            self.stop(0.0)
            raise
        for server in self._servers:
            server.start()
        given = f"{address.rpartition(':')[0]}:{port}"
        return given, None if secure_address is None else f"{secure_address.rpartition(':')[0]}:{secure_port}"

    def stop(self, grace: float) -> None:
        """End all streams after ``grace`` seconds and let go of the ports."""
        for ended in [server.stop(grace) for server in self._servers]:
            ended.wait()
        if self._tls is not None:
            self._tls.stop()
        if self._renewal is not None:
            self._renewal.cancel()
        for threads in self._threads:
            threads.shutdown(wait=False)
        self._servers, self._threads, self._tls = [], [], None

    def certificate_changed(self) -> None:
        """Of the root, or because it is time: everybody who did not ask for a certificate himself gets a new one."""
        if self._tls is not None:
            self._tls.certificate_changed()
            self._trust.secrets.renew()
            self._streams.repeat()

    def _renew_later(self) -> None:
        self._renewal = threading.Timer(RENEWED_AFTER, self._renew)
        self._renewal.daemon = True
        self._renewal.start()

    def _renew(self) -> None:
        try:
            self.certificate_changed()
        finally:
            self._renew_later()  # whatever went wrong today may be mended tomorrow

    def _start_secure(self, address: str) -> int:
        trust = self._trust
        tls = TlsPort(address, trust.authority, trust.trust_domain)
        port = tls.bind()
        self._tls = tls
        door = Door(Callers(trust.tokens, trust.cluster_id, trust.trust_domain), tls.connection)
        handlers = [
            AdsService(self._streams, door),
            Certificates(trust.authority, door),
            SecretService(trust.secrets, door),
        ]
        tls.start(self._serve(handlers, _BEHIND))
        self._renew_later()
        return port

    def _serve(self, handlers: list[grpc.GenericRpcHandler], address: str) -> int:
        threads = ThreadPoolExecutor(MAX_STREAMS, thread_name_prefix="localmesh-stream")
        self._threads.append(threads)
        server = grpc.server(
            threads,
            handlers=handlers,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_REQUEST),
                # members ping a quiet stream every 30 s; gRPC's own limit would throw them out (too_many_pings)
                ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
            maximum_concurrent_rpcs=MAX_STREAMS,  # each holds a thread: refuse the next one rather than keep it waiting
        )
        self._servers.append(server)
        check_free(address)
        try:
            port: int = server.add_insecure_port(address)
        except RuntimeError as error:
            raise LocalMeshError(f"cannot listen on {address}: {error}") from error
        return port
