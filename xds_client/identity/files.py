"""`CertificateFiles`: an identity that somebody else keeps current in three PEM files (cert-manager's csi-driver, say).

The files are read every few seconds and what is in them is taken when it fits together; a pair that is torn, because
one file is written and the other not yet, is left alone until it is whole. Confined to the thread that calls `step`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from xds_client.errors import CertificateError, IdentityError
from xds_client.identity.certificate import Expected, make_identity, read_chain, read_key
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.keeper import IdentityKeeper
from xds_client.identity.lifetime import by_its_dates
from xds_client.identity.roots import read_roots
from xds_client.reading import read_file

if TYPE_CHECKING:
    from xds_client.identity.svid import Identity

logger = logging.getLogger(f"proxyless.{__name__}")

LOOK = 5.0  # seconds
LOOK_AGAIN = 1.0  # seconds, while what is there cannot be used
ANYBODY = Expected()

_Material = tuple[bytes, bytes, bytes]


class CertificateFiles(IdentityKeeper):
    """An `IdentitySource`: PEM files that somebody else keeps current.

    ``certificate`` has the chain, leaf first; ``private_key`` is without a password; ``roots`` is a bundle.

    >>> with CertificateFiles("chain.pem", "key.pem", "roots.pem") as identity:
    ...     identity.wait(timeout=10).spiffe_id
    'spiffe://cluster.local/ns/demo/sa/web'
    """

    def __init__(
        self,
        certificate: str,
        private_key: str,
        roots: str,
        expected: Expected = ANYBODY,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(f"certificate file {certificate}", clock)
        self._paths = {"certificate": certificate, "private key": private_key, "roots": roots}
        self._expected = expected
        self._taken: _Material | None = None
        self._complaint = ""

    def step(self) -> float:
        try:
            material = self._read()
            known = self.held if material == self._taken else None
            identity = known or self._judge(material)
            # Its dates are judged every time: this host's clock may have been set.
            lifetime = by_its_dates(identity, self._clock.now(), self.name)
            self._taken = material
            if known is None:
                logger.info("%s is %s for %.0f s", self.name, identity.spiffe_id, lifetime.seconds)
            self.publish(identity, self._clock.monotonic() + lifetime.seconds)
        except IdentityError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.complain(self._complaint)
            return LOOK_AGAIN
        self._complaint = ""
        return LOOK

    def _read(self) -> _Material:
        read = []
        for what, path in self._paths.items():
            try:
                read.append(read_file(path))
            except OSError as error:
                advice = "mount it, or set where it is (docs/identity.md)"
                raise CertificateError(f"{what} file {path} cannot be read: {error.strerror}; {advice}") from error
        return read[0], read[1], read[2]

    def _judge(self, material: _Material) -> Identity:
        chain, key, roots = material
        return make_identity(
            read_chain(chain, self.name),
            read_key(key, f"private key file {self._paths['private key']}"),
            read_roots(roots, f"roots file {self._paths['roots']}", self._clock.now()),
            self._expected,
            self.name,
        )
