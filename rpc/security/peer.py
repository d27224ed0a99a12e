"""Who the other end of a connection is, as `grpc.ServicerContext.auth_context` says it.

Keys and values are grpcio's (grpc/src/core/tsi/ssl_transport_security.cc, grpc_security_constants.h), so handlers that
read them need no change. Parsed only for handlers that ask.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from rpc._native import TlsInfo

AuthContext = dict[str, list[bytes]]

COMMON_NAME = "x509_common_name"
SPIFFE_ID = "peer_spiffe_id"
SUBJECT_ALTERNATIVE_NAME = "x509_subject_alternative_name"
_NAMES: dict[type, str] = {
    x509.DNSName: "peer_dns",
    x509.UniformResourceIdentifier: "peer_uri",
    x509.RFC822Name: "peer_email",
    x509.IPAddress: "peer_ip",
}
_SPIFFE = b"spiffe://"
_TYPE, _LOCAL = "transport_security_type", b"local"


def auth_context(tls: TlsInfo | None, *, local: bool = False) -> AuthContext:
    """Of plaintext, that it is. ``local``: it came in by local credentials, which are plaintext, and as good as TLS."""
    if local:
        return {_TYPE: [_LOCAL], "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"]}
    if tls is None:
        return {_TYPE: [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
    context: AuthContext = {_TYPE: [b"ssl"]}
    if tls.certificates:
        context |= {key: list(values) for key, values in _certificate(tls.certificates[0]).items()}
    if tls.identity is not None:
        context[SPIFFE_ID] = [tls.identity.encode()]
    context["security_level"] = [b"TSI_PRIVACY_AND_INTEGRITY"]
    context["ssl_session_reused"] = [b"true" if tls.resumed else b"false"]
    context["ssl_tls_version"] = [tls.version.encode()]
    if tls.server_name:
        context["ssl_requested_server_name"] = [tls.server_name.encode()]
    if tls.key_exchange:
        context["ssl_negotiated_key_exchange_group"] = [tls.key_exchange.encode()]
    return context


def identity_key(context: AuthContext, tls: TlsInfo | None) -> str | None:
    """Which of the properties identifies the peer; None: nothing does.

    In the mesh it is the SPIFFE ID, which is all that the mesh vouches for: whatever else a certificate calls its
    holder is not looked at. Elsewhere it is what grpcio says: all alternative names, or else the common name.
    """
    if tls is not None and tls.identity is not None:
        return SPIFFE_ID
    for key in (SUBJECT_ALTERNATIVE_NAME, COMMON_NAME):
        if key in context:
            return key
    return _TYPE if context[_TYPE] == [_LOCAL] else None


@lru_cache(256)
def server_names(chain: bytes) -> tuple[str, ...]:
    """The DNS names, exact or `*.suffix`, that a server with this chain (PEM, leaf first) can be asked for; without
    alternative names, the common name, as grpcio has it. Empty: none, or it cannot be read.
    """
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        common = [str(a.value) for a in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        try:
            extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            names = common
        else:
            names = extension.value.get_values_for_type(x509.DNSName)
    except (ValueError, UnsupportedAlgorithm):
        return ()
    return tuple(name.lower() for name in names)


def agreed_on(info: TlsInfo) -> str:
    """For the log: what was agreed on, and who the peer is."""
    shown = _certificate(info.certificates[0]) if info.certificates else {}
    names = shown.get(SUBJECT_ALTERNATIVE_NAME) or shown.get(COMMON_NAME) or [b"nobody"]
    peer = info.identity or ", ".join(name.decode(errors="replace") for name in names)
    resumed = ", resumed" if info.resumed else ""
    return f"{info.version}, {info.protocol or 'no ALPN'}, {info.key_exchange}{resumed}, the peer is {peer or 'nobody'}"


@lru_cache(256)
def _certificate(der: bytes) -> AuthContext:
    """Never raises: a certificate that was good enough for TLS and cannot be read here identifies nobody."""
    try:
        return _read(der)
    except ValueError:
        return {}


def _read(der: bytes) -> AuthContext:
    certificate = x509.load_der_x509_certificate(der)
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    context: AuthContext = {
        "x509_subject": [_escaped(certificate.subject.rfc4514_string({}))],
        COMMON_NAME: [_bytes(common[0].value) if common else b""],
        "x509_pem_cert": [certificate.public_bytes(Encoding.PEM)],
    }
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return context
    for name in names:
        key = _NAMES.get(type(name))
        if key is None:
            continue
        value = str(name.value).encode()
        context.setdefault(SUBJECT_ALTERNATIVE_NAME, []).append(value)
        context.setdefault(key, []).append(value)
    uris = context.get("peer_uri", [])
    if len(uris) == 1 and uris[0].startswith(_SPIFFE):
        context[SPIFFE_ID] = list(uris)
    return context


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _escaped(name: str) -> bytes:
    """RFC 2253 as grpcio's TLS prints it: in ASCII only."""
    return "".join(chr(b) if 0x20 <= b < 0x7F else f"\\{b:02X}" for b in name.encode()).encode()  # noqa: PLR2004
