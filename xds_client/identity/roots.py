"""The roots of the mesh: those in the mesh root file, and those that came with certificates of ours. No thread."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from xds_client.errors import RootsError
from xds_client.identity.certificate import anchor, is_root, reaches
from xds_client.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from xds_client.identity.certificate import Chain

_MESH = "mount the ConfigMap istio-ca-root-cert there, or set PROXYLESS_ROOT_CERTIFICATE_PATH"


class RootsFile:
    """A PEM bundle that may change at any time: it is read anew whenever it is asked."""

    def __init__(self, path: str, what: str = "mesh root file", advice: str = _MESH) -> None:
        self.path = path
        self._what = f"{what} {path}"
        self._advice = advice

    def read(self, now: datetime) -> Chain:
        """What is in it now without the expired ones; raises `RootsError`."""
        try:
            pem = read_file(self.path)
        except OSError as error:
            raise RootsError(f"{self._what} cannot be read: {error.strerror}; {self._advice}") from error
        return read_roots(pem, self._what, now)


def read_roots(pem: bytes, origin: str, now: datetime) -> Chain:
    """The certificates of a bundle that have not expired. One that has would only confuse who builds chains."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RootsError(f"{origin} is no PEM bundle of certificates: {error}") from error
    alive = union(c for c in found if c.not_valid_after_utc > now)
    if not alive:
        newest = max(found, key=lambda c: c.not_valid_after_utc)
        raise RootsError(
            f"{origin} has only expired roots, the last one {newest.subject.rfc4514_string()!r} until "
            f"{newest.not_valid_after_utc.isoformat()} (it is {now.isoformat()} here); renew the mesh's root"
        )
    return alive


def union(certificates: Iterable[x509.Certificate]) -> Chain:
    """Each once, in the order of its first coming."""
    return tuple(dict.fromkeys(certificates))


def roots_behind(chain: Chain) -> Chain:
    """The roots at the chain's end, none, one or several.

    istiod sends the leaf, its CA's intermediates (a plugged-in CA's file may end in the root), then all of its
    root-cert.pem: several roots while they rotate, in any order (istio: security/pkg/server/ca/server.go). It was asked
    over a connection that the roots of before vouch for, so all of them are the mesh's. Other CAs may send none.
    """
    behind = itertools.takewhile(is_root, reversed(chain))
    return tuple(reversed(tuple(behind)))


class Trust:
    """The union of the files' roots and of those behind the chains that issued certificates still alive.

    So old and new roots are trusted together while they rotate: as long as a certificate of ours from the old root
    could be in use, our peers' from it are too. Confined to the source's thread.
    """

    def __init__(self, file: RootsFile, more: RootsFile | None = None) -> None:
        self._file = file
        self._more = more
        self._mesh: Chain = ()
        self._extra: Chain = ()
        self._issued: dict[x509.Certificate, float] = {}  # until when, on the monotonic clock

    def reread(self, now: datetime) -> None:
        """Read the files; raises `RootsError`, and what was read before stays."""
        mesh = self._file.read(now)
        extra = self._more.read(now) if self._more else ()
        self._mesh, self._extra = mesh, extra

    def add_issued(self, chain: Chain, expires_at: float) -> None:
        """Trust the roots that came with the chain while its certificate lives; if none did, the one it leads to."""
        issuing = roots_behind(chain)
        if not issuing and (known := anchor(chain, self._mesh)) is not None:
            issuing = (known,)
        for root in issuing:
            self._issued[root] = max(expires_at, self._issued.get(root, 0.0))

    def with_chain(self, chain: Chain) -> Chain:
        """What would be trusted if this chain were ours."""
        return union((*self._mesh, *self._extra, *roots_behind(chain)))

    def roots(self, monotonic: float, now: datetime) -> Chain:
        self._issued = {root: until for root, until in self._issued.items() if monotonic < until}
        return union(c for c in (*self._mesh, *self._extra, *self._issued) if c.not_valid_after_utc > now)

    def vouches_for(self, chain: Chain) -> bool:
        """Whether the chain leads to a root that the mesh root file has."""
        return chain != () and reaches(chain, self._mesh)
