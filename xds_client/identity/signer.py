"""One call of CreateCertificate: bytes of a CSR in, bytes of a chain out. `cancel` is for any thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError as WireError

from xds_client.errors import CertificateError, IssuerError
from xds_client.fork import abandon
from xds_client.identity.messages import CREATE_CERTIFICATE, CertificateRequest, CertificateResponse

if TYPE_CHECKING:
    from xds_client.identity.access import IstiodAccess
    from xds_client.identity.proof import Proof


class Signer:
    """``ttl`` and ``timeout`` in seconds."""

    def __init__(self, ttl: float, timeout: float) -> None:
        self._ttl = ttl
        self._timeout = timeout
        self._lock = threading.Lock()
        self._call: grpc.Future[bytes] | None = None
        self._cancelled = False

    def inherit(self) -> None:
        """In the child of a fork: the call in progress is the parent's."""
        abandon(self._call)
        self._lock, self._call = threading.Lock(), None

    def sign(self, channel: grpc.Channel, csr: bytes, proof: Proof, access: IstiodAccess) -> bytes:
        """The chain in PEM, maybe empty. Raises `IssuerError`, or `CertificateError` when the answer is no answer."""
        request = CertificateRequest(csr=csr.decode("ascii"), validity_duration=round(self._ttl))
        # Without (de)serializers: grpcio would log what it cannot parse.
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CREATE_CERTIFICATE)
        with self._lock:
            if self._cancelled:
                raise IssuerError("closed")
            self._call = method.future(
                request.SerializeToString(), timeout=self._timeout, metadata=access.metadata(proof)
            )
        try:
            answer = self._call.result()
        except grpc.FutureCancelledError:
            raise IssuerError("closed") from None
        except grpc.RpcError as error:
            reason = access.explain(error, proof)
            raise IssuerError(f"the CA at {access.address}: {reason}") from None
        try:
            entries = CertificateResponse.FromString(answer).cert_chain
        except WireError:
            raise CertificateError(f"the CA at {access.address} answered {len(answer)} bytes of garbage") from None
        return "\n".join(entries).encode("utf-8", "replace")

    def cancel(self) -> None:
        """End the call in progress, and let there be no other."""
        with self._lock:
            self._cancelled = True
            call = self._call
        if call is not None:
            call.cancel()
