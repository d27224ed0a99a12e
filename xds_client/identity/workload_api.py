"""`SpiffeWorkloadApi`: the identity that a SPIFFE agent (SPIRE's, say) streams over its Unix socket, ever anew.

Source: github.com/spiffe/spiffe standards/SPIFFE_Workload_API.md. One `step` is one stream, from connecting to its end.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from google.protobuf.message import DecodeError as WireError

from xds_client.channels import GRPCIO
from xds_client.errors import CertificateError, IdentityError, RootsError
from xds_client.fork import abandon
from xds_client.identity.certificate import Expected, make_identity, to_pem
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.der import split_der
from xds_client.identity.keeper import IdentityKeeper
from xds_client.identity.lifetime import by_its_dates
from xds_client.identity.messages import FETCH_X509_SVID, X509SvidRequest, X509SvidResponse
from xds_client.reconnect import ReconnectSchedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xds_client.identity.certificate import Chain
    from xds_client.identity.svid import Identity

logger = logging.getLogger(f"proxyless.{__name__}")

ANYBODY = Expected()

_HEADER = (("workload.spiffe.io", "true"),)  # section 3: proof that no browser was talked into asking
_OPTIONS = (
    ("grpc.default_authority", "localhost"),  # of a Unix socket there is none that every server accepts
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class SpiffeWorkloadApi(IdentityKeeper):
    """An `IdentitySource`: a SPIFFE agent, such as SPIRE's.

    ``address`` as in SPIFFE_ENDPOINT_SOCKET: ``unix:///path`` or ``tcp://ip:port``.

    >>> with SpiffeWorkloadApi("unix:///run/spire/agent.sock") as identity:  # doctest: +SKIP
    ...     identity.wait(timeout=10).spiffe_id
    'spiffe://example.org/shop'
    """

    def __init__(self, address: str, expected: Expected = ANYBODY, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(f"SPIFFE Workload API {address}", clock)
        self._target = address.removeprefix("tcp://")
        self._expected = expected
        self._schedule = ReconnectSchedule(first=1.0, longest=30.0, spread=clock.spread)
        self._lock = threading.Lock()
        self._call: Any = None
        self.federated_bundles: Mapping[str, bytes] = {}  # PEM by trust domain; noted, and trusted for nothing yet

    def step(self) -> float:
        with GRPCIO.insecure(self._target, _OPTIONS) as channel:
            method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(FETCH_X509_SVID)
            with self._lock:
                if self.closing:
                    return 0.0
                self._call = method(X509SvidRequest().SerializeToString(), metadata=_HEADER)
            try:
                for answer in self._call:
                    self._receive(answer)
                reason = "it ended the stream"
            except grpc.RpcError as error:
                reason = _reason(error)
        if self.closing:
            return 0.0
        delay = self._schedule.failed()
        failures = self._schedule.failures
        advice = "is the agent running, is its socket mounted, and has it an entry for this workload?"
        said = f"{self.name}: {reason}; {advice} Attempt {failures + 1} in {delay:.1f} s"
        self.complain(said, loud=failures & (failures - 1) == 0)
        return delay

    def inherit(self) -> None:
        super().inherit()
        abandon(self._call)
        self._lock, self._call = threading.Lock(), None

    def interrupt(self) -> None:
        with self._lock:
            if self._call is not None:
                self._call.cancel()

    def _receive(self, answer: bytes) -> None:
        try:
            identity, federated = self._read(answer)
            lifetime = by_its_dates(identity, self._clock.now(), self.name)
        except IdentityError as error:
            self.complain(str(error))
            return
        self._schedule.reset()
        self.federated_bundles = federated
        logger.info("%s: this is %s for %.0f s", self.name, identity.spiffe_id, lifetime.seconds)
        self.publish(identity, self._clock.monotonic() + lifetime.seconds)

    def _read(self, answer: bytes) -> tuple[Identity, Mapping[str, bytes]]:
        try:
            message = X509SvidResponse.FromString(answer)
        except WireError:
            raise CertificateError(f"{self.name}: an answer of {len(answer)} bytes of garbage") from None
        if not message.svids:
            raise CertificateError(f"{self.name}: an answer without an identity; register this workload with its agent")
        svid = message.svids[0]  # section 5.2.1: the first is the default one
        try:
            key = serialization.load_der_private_key(svid.x509_svid_key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise CertificateError(f"{self.name}: a private key that is no PKCS#8") from None
        now = self._clock.now()
        roots = tuple(c for c in self._certificates(svid.bundle, "bundle") if c.not_valid_after_utc > now)
        if not roots:
            raise RootsError(
                f"{self.name}: a bundle without a root that has not expired; the agent's server is to renew it"
            )
        identity = make_identity(self._certificates(svid.x509_svid, "SVID"), key, roots, self._expected, self.name)
        if identity.spiffe_id != svid.spiffe_id:
            raise CertificateError(f"{self.name}: the certificate of {identity.spiffe_id} is called {svid.spiffe_id!r}")
        bundles = {b.key: to_pem(self._certificates(b.value, f"bundle of {b.key}")) for b in message.federated_bundles}
        return identity, bundles

    def _certificates(self, der: bytes, what: str) -> Chain:
        try:
            found = tuple(x509.load_der_x509_certificate(one) for one in split_der(der))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"{self.name}: the {what} is no certificates: {error}") from error
        if not found:
            raise CertificateError(f"{self.name}: the {what} is empty")
        return found


def _reason(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
