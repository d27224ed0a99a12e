"""How a connection must be secured, as the mesh says it. Frozen values, no behaviour; no secrets but inline ones.

Field meanings are Envoy's (envoy/extensions/transport_sockets/tls/v3); where material comes from is istiod's naming
(pkg/security SdsCertificateConfig, pilot/pkg/security/model). Cipher suites and curves are the engine's own: all of
them are AEAD with forward secrecy, so none is weaker than what a mesh asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.matching import StringMatch


@dataclass(frozen=True, slots=True)
class MeshSecret:
    """The workload's own certificate, or the mesh's roots: what the process's identity holds (SDS default, ROOTCA)."""


@dataclass(frozen=True, slots=True)
class SystemRoots:
    """The certificate authorities that the operating system trusts."""


@dataclass(frozen=True, slots=True)
class FileRoots:
    """A PEM bundle of certificate authorities. The file is read again when it changes."""

    path: str


@dataclass(frozen=True, slots=True)
class InlineRoots:
    """A PEM bundle that came with the configuration."""

    pem: bytes


@dataclass(frozen=True, slots=True)
class FileCertificate:
    """Paths of a PEM chain, leaf first, and of its private key. The files are read again when they change."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class InlineCertificate:
    """PEM chain and private key that came with the configuration."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A secret that the control plane serves by name (``kubernetes://credential``, over SDS)."""

    name: str


CertificateSource = MeshSecret | FileCertificate | InlineCertificate | NamedSecret
RootsSource = MeshSecret | SystemRoots | FileRoots | InlineRoots | NamedSecret


class TlsVersion(Enum):
    """What the engine speaks. Older versions are never spoken, whatever a mesh allows."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How to connect: what to say, what to show and what to demand.

    ``auto_sni``: the server name sent is the call's authority without its port, not ``sni``. ``auto_san_validation``:
    the certificate must be for that authority, besides ``subject_alt_names``, of which one must match a URI, DNS or IP
    SAN; an exact one matches a wildcard DNS SAN as host names do. Empty: with the mesh's roots any identity of the
    trust domain, with other roots any certificate that they vouch for. ``certificate`` None: no client certificate
    (SIMPLE). ``roots`` None: nothing is verified (insecureSkipVerify).
    """

    sni: str = ""
    auto_sni: bool = False
    alpn: tuple[str, ...] = ()
    subject_alt_names: tuple[StringMatch, ...] = ()
    auto_san_validation: bool = False
    certificate: CertificateSource | None = MeshSecret()
    roots: RootsSource | None = MeshSecret()
    min_version: TlsVersion = TlsVersion.TLS_1_2
    max_version: TlsVersion = TlsVersion.TLS_1_3


@dataclass(frozen=True, slots=True)
class DownstreamTls:
    """How to accept. ``roots`` None: client certificates are not looked at.

    ``require_client_certificate`` False with roots: a client may come without one, but one that it shows must be good.
    ``subject_alt_names``: one must match (the trust domain and its aliases come as prefixes here); empty: any.
    """

    alpn: tuple[str, ...] = ()
    certificate: CertificateSource = MeshSecret()
    roots: RootsSource | None = MeshSecret()
    require_client_certificate: bool = True
    subject_alt_names: tuple[StringMatch, ...] = ()
    min_version: TlsVersion = TlsVersion.TLS_1_2
    max_version: TlsVersion = TlsVersion.TLS_1_3
