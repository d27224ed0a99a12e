"""From what the configuration names (`xds_client.model.tls`) to bytes of PEM. Files are read each time: they rotate."""

from __future__ import annotations

import os
import pkgutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from xds_client.model import (
    FileCertificate,
    FileRoots,
    InlineCertificate,
    InlineRoots,
    MeshSecret,
    NamedSecret,
    SystemRoots,
)
from xds_client.reading import read_file

if TYPE_CHECKING:
    from xds_client.identity import Identity
    from xds_client.model import CertificateSource, RootsSource


class SecurityError(OSError):
    """A connection cannot be protected as demanded, so it is not made; the message says what to mend.

    >>> rpc.ssl_channel_credentials(private_key=Path("key.pem").read_bytes())
    Traceback (most recent call last):
    rpc.security.material.SecurityError: ...
    """


_LONGEST_REASON = 1000  # characters


def printable(reason: str) -> str:
    """A reason as one line of bounded length: what a stranger offers or calls himself may be in it."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in reason)
    return shown if len(shown) <= _LONGEST_REASON else f"{shown[:_LONGEST_REASON]}..."


def certificate(source: CertificateSource | None, identity: Identity | None) -> tuple[bytes | None, bytes | None]:
    """Chain and key, or (None, None) where none is asked for. Raises `SecurityError`."""
    match source:
        case None:
            return None, None
        case MeshSecret():
            mesh = _mesh(identity)
            return mesh.certificate_chain, mesh.private_key
        case FileCertificate(certificate=chain, key=key):
            return _file(chain), _file(key)
        case InlineCertificate(certificate=inline, key=inline_key):
            return inline, inline_key
        case NamedSecret(name=name):
            raise SecurityError(f"secret {name!r} is not fetched in this release; mount it and name its files instead")


def roots(source: RootsSource | None, identity: Identity | None) -> bytes | None:
    """A PEM bundle, or None: nothing is verified. Raises `SecurityError`."""
    match source:
        case None:
            return None
        case MeshSecret():
            return _mesh(identity).roots
        case SystemRoots():
            return system_roots()
        case FileRoots(path=path):
            return _file(path)
        case InlineRoots(pem=pem):
            return pem
        case NamedSecret(name=name):
            raise SecurityError(f"secret {name!r} is not fetched in this release; mount it and name its file instead")


def system_roots() -> bytes:
    """The bundle of the operating system. Raises `SecurityError` where there is none."""
    paths = ssl.get_default_verify_paths()
    for path in (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if path is not None and Path(path).is_file():
            return _file(path)
    raise SecurityError(f"no system root certificates (looked for {paths.openssl_cafile}); install ca-certificates")


def default_roots() -> bytes:
    """What grpcio trusts without being told: GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, else the bundle that it ships."""
    path = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    if path:
        return _file(path)
    shipped = pkgutil.get_data("grpc._cython", "_credentials/roots.pem")
    return shipped if shipped is not None else system_roots()


def _mesh(identity: Identity | None) -> Identity:
    if identity is None:
        raise SecurityError("this process has no certificate of the mesh")
    return identity


def _file(path: str) -> bytes:
    try:
        return read_file(path)
    except (OSError, ValueError) as error:  # a name with a NUL in it
        raise SecurityError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
