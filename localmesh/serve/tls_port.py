"""The secure port: terminates TLS as istiod's 15012 does and hands the bytes on to the gRPC server behind it.

grpcio's servers cannot do what istiod does, take a client certificate if there is one and ask for none. So TLS ends
here, in one thread with a loop of its own, and who a connection is goes by the address it has behind this port.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cryptography import x509

from localmesh.ca.authority import SERVER_LIFETIME
from localmesh.errors import LocalMeshError
from localmesh.files import advice
from localmesh.serve.addresses import listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from localmesh.ca import CertificateAuthority

log = logging.getLogger("proxyless.localmesh")

MAX_CONNECTIONS = 400  # more are closed at once: each holds two of the usual 1,024 descriptors
MAX_HANDSHAKES = 100  # at a time; of more the oldest is given up, which is seldom one that means it
HANDSHAKE_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 1.0
BACKLOG = 1024
# what istiod answers to (getDNSNames), and what somebody on the same machine calls it
HOST_NAMES = (
    *("istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc"),
    *("localhost", "127.0.0.1", "::1"),
)
_CHUNK = 65536
_OUT_OF_FILES_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Connection:
    """Who is at the other end of a TLS connection; no identities: no certificate was shown."""

    peer: str
    identities: tuple[str, ...] = ()


class TlsPort:
    """`certificate_changed` is for the authority's observers, `connection` for the gRPC server; any thread."""

    def __init__(self, address: str, authority: CertificateAuthority, trust_domain: Callable[[], str]) -> None:
        self._address = address
        self._authority = authority
        self._trust_domain = trust_domain
        self._context = self._new_context()
        self._behind = 0  # the port of the gRPC server, on loopback
        self._connections: dict[str, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # one for each connection
        self._handshakes: dict[asyncio.Task[None], None] = {}  # those that are not through yet, the oldest first
        self._listener: socket.socket | None = None
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._thread: threading.Thread | None = None

    def bind(self) -> int:
        """Take the address; returns the port. Raises `LocalMeshError`."""
        self._listener = listener(self._address, BACKLOG)
        self._listener.setblocking(False)
        port: int = self._listener.getsockname()[1]
        return port

    def start(self, behind: int) -> None:
        self._behind = behind
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="localmesh-tls", daemon=True
        )
        self._thread.start()
        started.wait()  # or there would be nothing yet that stop() could tell

    def stop(self) -> None:
        """Closes the port and every connection."""
        if self._running is not None:
            loop, ended = self._running
            with suppress(RuntimeError):  # its loop has ended by itself
                loop.call_soon_threadsafe(ended.set)
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()

    def certificate_changed(self) -> None:
        """New connections are met with a certificate of the current root, and may be of any trusted one."""
        try:
            self._context = self._new_context()
        except LocalMeshError as error:
            log.error("%s (new connections are shown the one before)", error)  # noqa: TRY400  # it says all

    def connection(self, peer: str) -> Connection | None:
        """Whom gRPC calls ``peer``; None if that connection did not come through this port."""
        return self._connections.get(peer)

    def _new_context(self) -> ssl.SSLContext:
        """Raises `LocalMeshError`."""
        try:
            return self._made_context()
        except OSError as error:
            step = f"{advice(error)} (its key goes through a file; TMPDIR says in which folder)"
            raise LocalMeshError(f"the secure port's certificate cannot be made: {step}") from error
        except ValueError as error:
            step = f"{error}: renew the certificate authority's, or name an empty --ca folder"
            raise LocalMeshError(f"the secure port's certificate cannot be made: {step}") from error

    def _made_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["h2"])
        context.options |= ssl.OP_NO_TICKET  # each connection shows its certificate: a resumed one would not
        context.num_tickets = 0
        context.load_verify_locations(cadata=self._authority.root_certificates.decode())
        pair = self._authority.key_pair(HOST_NAMES, SERVER_LIFETIME)
        with tempfile.TemporaryDirectory(prefix="localmesh-") as folder:  # ssl reads keys from files only
            path = Path(folder, "pair.pem")
            path.touch(mode=0o600)
            path.write_bytes(pair.key + pair.chain)
            context.load_cert_chain(path)
        return context

    async def _run(self, started: threading.Event) -> None:
        assert self._listener is not None
        ended = asyncio.Event()
        self._running = asyncio.get_running_loop(), ended
        started.set()
        accepting = asyncio.create_task(self._accept(self._listener))
        await ended.wait()
        accepting.cancel()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # the aborted transports close their sockets in the loop's next turn

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("secure port: cannot accept: %s", error)
                await asyncio.sleep(_OUT_OF_FILES_PAUSE)
                continue
            if len(self._tasks) >= MAX_CONNECTIONS + MAX_HANDSHAKES:
                log.warning("secure port: %s is turned away: too many connections are open", address)
                accepted.close()
                continue
            if len(self._handshakes) >= MAX_HANDSHAKES:
                next(iter(self._handshakes)).cancel()
            task = asyncio.create_task(self._serve(accepted, f"{address[0]}:{address[1]}"))
            self._handshakes[task] = None
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, accepted))

    def _done(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        accepted.close()  # here and not in the task: one that is cancelled before its first step runs nothing
        self._tasks.discard(task)
        self._handshakes.pop(task, None)

    async def _serve(self, accepted: socket.socket, peer: str) -> None:
        try:
            reader, writer = await self._handshake(accepted)
            try:
                self._handshakes.pop(cast("asyncio.Task[None]", asyncio.current_task()), None)
                connection = Connection(peer, self._identities(writer.get_extra_info("ssl_object")))
                await self._relay(reader, writer, connection)
            finally:
                writer.transport.abort()
        except ValueError as error:
            log.warning("secure port: %s is turned away: %s", peer, error)
        except OSError as error:  # TLS errors and time-outs are of its kind
            log.info("secure port: %s: %s", peer, error)

    async def _handshake(self, accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _identities(self, tls: ssl.SSLObject) -> tuple[str, ...]:
        """What the verified certificate says (VerifyPeerCert): one SPIFFE id of our trust domain, or no entrance."""
        der = tls.getpeercert(binary_form=True)
        if not der:
            return ()
        certificate = x509.load_der_x509_certificate(der)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            raise ValueError("peer certificate does not contain 1 URI type SAN, detected 0") from None
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1:
            raise ValueError(f"peer certificate does not contain 1 URI type SAN, detected {len(uris)}")
        ours = f"spiffe://{self._trust_domain()}/"
        if not uris[0].startswith(ours):
            raise ValueError(f"{uris[0]!r} is not of the trust domain {self._trust_domain()}")
        return tuple(uris)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        name = f"ipv4:127.0.0.1:{inner_writer.get_extra_info('sockname')[1]}"  # as gRPC's context.peer() says it
        self._connections[name] = connection
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, inner_writer))
                both.create_task(_pump(inner_reader, writer))
        except* OSError as errors:
            log.debug("secure port: %s: %s", connection.peer, errors.exceptions[0])
        finally:
            inner_writer.transport.abort()
            del self._connections[name]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends; then both do: HTTP/2 has no use for one half of a connection."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()  # what was written has gone out
    raise ConnectionResetError("closed by the other side")
