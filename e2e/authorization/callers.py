"""Callers of any identity and address, which send any request head as it is: no client of theirs corrects it."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, field
from socket import create_connection
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from e2e.authorization.cases import CLOSED, LET_IN, MALFORMED, NOT_GRPC, REFUSED, UNAUTHENTICATED
from tests.rpc.frames import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, Wire, frame

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

    from e2e.authorization.cases import Caller, Headers, Request

ALPN = ["istio-h2", "istio", "h2"]  # as a sidecar's HTTP calls offer
_EMPTY_MESSAGE = bytes(5)
_BY_STATUS = {"400": MALFORMED, "401": UNAUTHENTICATED, "403": REFUSED, "405": NOT_GRPC, "415": NOT_GRPC}
_BY_CODE = {"7": REFUSED, "13": MALFORMED, "16": UNAUTHENTICATED}  # as Envoy says the same to a caller of gRPC's


@dataclass(frozen=True, slots=True)
class Answer:
    """``outcome``: one of the words of `cases`; ``head`` and ``body``: what it is read from."""

    outcome: str
    head: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Callers:
    """``ca``: the folder of the mesh's certificate authority, which signs whatever identity somebody wants."""

    def __init__(self, ca: Path, folder: Path) -> None:
        self._ca = ca
        self._folder = folder
        self._contexts: dict[Caller, ssl.SSLContext] = {}

    def send(self, address: str, port: int, request: Request) -> Answer:
        """This request, on a connection of its own, to this address and port."""
        caller = request.by
        try:
            with create_connection((address, port), 10.0, (caller.address, 0)) as plain:
                if caller.identity is None:
                    return _ask(plain, request)
                with self._context(caller).wrap_socket(plain, server_hostname=request.sni or None) as protected:
                    return _ask(protected, request)
        except ConnectionRefusedError:
            raise  # there is no server: nobody has decided anything
        except TimeoutError:
            raise
        except OSError as error:  # a reset, or a TLS alert
            return Answer(CLOSED, {"error": str(error)})

    def _context(self, caller: Caller) -> ssl.SSLContext:
        if caller not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # a server of the mesh has a SPIFFE ID, and no host name
            context.load_verify_locations(self._ca / "root-cert.pem")
            context.set_alpn_protocols(ALPN)
            file = self._folder / f"caller-{len(self._contexts)}.pem"
            file.write_bytes(self._sign(caller))
            context.load_cert_chain(file)
            self._contexts[caller] = context
        return self._contexts[caller]

    def _sign(self, caller: Caller) -> bytes:
        """A key and its certificate, PEM."""
        signer = load_pem_private_key((self._ca / "ca-key.pem").read_bytes(), None)
        issuer = x509.load_pem_x509_certificate((self._ca / "ca-cert.pem").read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, caller.common_name)] if caller.common_name else []
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri) for uri in (caller.identity, *caller.also) if uri
        ]
        names += [x509.DNSName(name) for name in caller.dns]
        certificate = (
            x509.CertificateBuilder()
            .issuer_name(issuer.subject)
            .subject_name(x509.Name(subject))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=12))
            .add_extension(x509.SubjectAlternativeName(names), critical=not subject)
            .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return secret + certificate.public_bytes(Encoding.PEM)


def head_of(request: Request) -> Headers:
    pseudo = [(":method", request.method), (":scheme", "http"), (":path", request.path)]
    if request.authority is not None:
        pseudo.append((":authority", request.authority))
    regular = [("content-type", request.content_type)] if request.content_type else []
    if request.content_type == "application/grpc":
        regular.append(("te", "trailers"))
    return (*pseudo, *regular, *request.headers)


def _ask(connection: socket, request: Request) -> Answer:
    wire = Wire(connection)
    wire.send(PREFACE, frame(SETTINGS))
    wire.send(
        wire.headers(1, head_of(request), END_HEADERS),
        frame(DATA, 1, _EMPTY_MESSAGE, END_STREAM),
    )
    head: dict[str, str] = {}
    body = b""
    for got in wire.frames():
        if got.kind == GOAWAY and got.body[4:8] != bytes(4):
            break
        if got.stream != 1:
            continue
        if got.kind == HEADERS:
            head |= {str(name): str(value) for name, value in wire.decode(got.body).items()}
        if got.kind == DATA:
            body += got.body
        if got.kind == RST_STREAM:
            head |= {"reset": str(int.from_bytes(got.body))}
        if got.kind == RST_STREAM or (got.kind in {HEADERS, DATA} and got.flags & END_STREAM):
            break
    return Answer(_outcome(head), head, body)


def _outcome(head: dict[str, str]) -> str:
    if ":status" not in head:
        return CLOSED
    if "x-envoy-upstream-service-time" in head:
        return LET_IN  # whatever the app made of it
    return _BY_STATUS.get(head[":status"]) or _BY_CODE.get(head.get("grpc-status", ""), LET_IN)
