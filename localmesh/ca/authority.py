"""The certificate authority: signs requests as istiod does, and changes its root while workloads go on.

Any thread. One lock orders changes of the root; what is current is one reference, so signing takes no lock.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from localmesh.ca.bundle import (
    KEY,
    Bundle,
    BundleError,
    holds_bundle,
    key_pem,
    load_bundle,
    new_bundle,
    pem,
    save_bundle,
)
from localmesh.ca.keys import weakness
from localmesh.ca.leaf import issue
from localmesh.errors import LocalMeshError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localmesh.ca.keys import CertifiedKey

log = logging.getLogger("proxyless.localmesh")

DEFAULT_LIFETIME = timedelta(hours=24)  # istiod's DefaultWorkloadCertTTL, for a request that asks for nothing
MAX_LIFETIME = timedelta(days=90)  # istiod's DefaultMaxWorkloadCertTTL
SERVER_LIFETIME = timedelta(days=365)
MAX_REQUEST = 64 * 1024  # bytes of a certificate signing request; one of an RSA key of 8,192 bits has 4 KiB
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_NEXT = "next"  # the folder's subfolder of the root that is trusted but does not sign yet


class SigningError(LocalMeshError):
    """A request that is not signed. ``is_clients_fault`` tells INVALID_ARGUMENT from INTERNAL, as istiod does."""

    def __init__(self, reason: str, *, is_clients_fault: bool = True) -> None:
        super().__init__(reason)
        self.is_clients_fault = is_clients_fault


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its key, PEM; the chain starts with the leaf."""

    chain: bytes
    key: bytes = field(repr=False)


class CertificateAuthority:
    """With a folder the root is made once and kept there, and taken over when its files change; else it is in memory.

    Raises `BundleError` if the folder holds something else.
    """

    def __init__(self, folder: str | Path | None = None, trust_domain: str = "cluster.local") -> None:
        self.folder = Path(folder) if folder is not None else None
        self.trust_domain = trust_domain
        self._lock = threading.Lock()
        self._observers: list[Callable[[], None]] = []
        self._next: Bundle | None = None
        self._complained = ""
        if self.folder is not None and holds_bundle(self.folder):
            self._bundle = load_bundle(self.folder)
            if (self.folder / _NEXT / KEY).exists():
                self._next = load_bundle(self.folder / _NEXT)
        else:
            self._bundle = new_bundle(trust_domain)
            self._save()

    @property
    def root_certificates(self) -> bytes:
        """PEM of all trusted roots: what the ConfigMap istio-ca-root-cert holds in a cluster."""
        return pem(self._bundle.roots)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """PEM of the certificates between a leaf and the roots, one each."""
        return tuple(pem((certificate,)) for certificate in self._bundle.chain)

    def sign(self, csr: bytes, names: Sequence[str], lifetime: timedelta | None = None) -> bytes:
        """The leaf (PEM) for the request's key and these names; what else the request says does not count.

        No lifetime, or none above zero, is a day. Raises `SigningError` with istiod's words.
        """
        if lifetime is not None and lifetime > MAX_LIFETIME:
            asked, allowed = go_duration(lifetime), go_duration(MAX_LIFETIME)
            raise SigningError(f"requested TTL {asked} is greater than the max allowed TTL {allowed}")
        request, key = _parse(csr)
        if lifetime is None or lifetime <= timedelta(0):
            lifetime = DEFAULT_LIFETIME
        has_common_name = any(attribute.value for attribute in request.subject)
        try:
            leaf = issue(self._bundle, key, names, lifetime, common_name=has_common_name)
        except (ValueError, TypeError) as error:
            raise SigningError(str(error), is_clients_fault=False) from error
        return pem((leaf,))

    def key_pair(self, names: Sequence[str], lifetime: timedelta = DEFAULT_LIFETIME) -> KeyPair:
        """A new key and its certificate, for those who cannot ask for themselves: our own server, an Envoy by SDS."""
        key = ec.generate_private_key(ec.SECP256R1())
        bundle = self._bundle
        return KeyPair(pem((issue(bundle, key.public_key(), names, lifetime), *bundle.chain)), key_pem(key))

    def observe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever roots or signer have changed, from the thread that changed them."""
        self._observers.append(changed)

    # The three steps of a new root. Between two, every workload must have heard of the one before.

    def introduce_root(self) -> None:
        """A new root is trusted beside the old; the old still signs."""
        with self._lock:
            if self._next is not None:
                raise LocalMeshError("a new root is already introduced: switch_root() comes next")
            self._next = new_bundle(self.trust_domain)
            self._bundle = replace(self._bundle, roots=(*self._bundle.roots, *self._next.roots))
            self._save()
        self._tell()

    def switch_root(self) -> None:
        """The new root signs; the old is still trusted."""
        with self._lock:
            if self._next is None:
                raise LocalMeshError("there is no new root to switch to: introduce_root() comes first")
            self._bundle, self._next = replace(self._next, roots=self._bundle.roots), None
            self._save()
        self._tell()

    def retire_roots(self) -> None:
        """Only the root that signs is trusted from now on."""
        with self._lock:
            if self._next is not None:
                raise LocalMeshError("the new root does not sign yet: switch_root() comes first")
            own = tuple(root for root in self._bundle.roots if root.subject == self._bundle.certificate.issuer)
            own = tuple(root for root in own if replace(self._bundle, roots=(root,)).problem() is None)
            self._bundle = replace(self._bundle, roots=own)
            self._save()
        self._tell()

    def reload(self) -> bool:
        """Take over what the folder holds now; False: its files do not fit together, and what was is kept."""
        if self.folder is None:
            return True
        with self._lock:
            try:
                found = load_bundle(self.folder)
            except BundleError as error:
                self._complain(str(error))
                return False
            self._complained = ""
            before, self._bundle = self._bundle, found
            if (found.certificate, found.chain, found.roots) == (before.certificate, before.chain, before.roots):
                return True
        self._tell()
        return True

    def _complain(self, reason: str) -> None:
        """Once: a folder that is wrong is looked at every second."""
        if reason != self._complained:
            self._complained = reason
            log.warning("%s (the certificate authority as it was goes on)", reason)

    def _save(self) -> None:
        if self.folder is None:
            return
        if self._next is not None:
            save_bundle(self.folder / _NEXT, self._next)
        save_bundle(self.folder, self._bundle)
        if self._next is None:
            (self.folder / _NEXT / KEY).unlink(missing_ok=True)

    def _tell(self) -> None:
        for changed in self._observers:
            changed()


def _parse(csr: bytes) -> tuple[x509.CertificateSigningRequest, CertifiedKey]:
    """The request and its key; what is dear to do is done last, and never to a key that is not certified anyway."""
    if len(csr) > MAX_REQUEST or b"-----BEGIN" not in csr:
        raise SigningError("certificate signing request is not properly encoded")
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        hashed = request.signature_hash_algorithm
        _ = request.subject
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningError("failed to parse X.509 certificate signing request") from error
    if weak := weakness(key):
        raise SigningError(f"{weak}: make a key of another kind")
    if hashed is not None and not isinstance(hashed, _HASHES):
        raise SigningError(f"the request is signed with {hashed.name}, which proves nothing: sign it with SHA-256")
    try:
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningError("failed to parse X.509 certificate signing request") from error
    if not valid:
        raise SigningError("the signature of the certificate signing request does not fit its key")
    return request, cast("CertifiedKey", key)


def go_duration(duration: timedelta) -> str:
    """Whole seconds as Go prints them: ``2160h0m0s``."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
