"""How istiod is reached over TLS, for CSRs and for the ADS stream: whom we believe it is, and what we show it.

Roots and token are read anew for every channel. No thread; no message contains what was shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from xds_client.channels import CHANNEL_OPTIONS, GRPCIO, Channels
from xds_client.errors import RootsError, TokenError
from xds_client.identity.certificate import to_pem
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.proof import CertificateProof, Proof, TokenProof
from xds_client.identity.token import read_token

if TYPE_CHECKING:
    from xds_client.identity.proof import Metadata
    from xds_client.identity.roots import RootsFile
    from xds_client.identity.svid import Identity

_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_PLAINTEXT = "one that is meant to be spoken to in plaintext needs PROXYLESS_SECURITY=plaintext"


class IstiodAccess:
    """``server_name``: the name in istiod's certificate, where it is not the address's host (a port-forward, say)."""

    def __init__(
        self,
        address: str,
        roots: RootsFile,
        token_path: str,
        *,
        cluster_id: str = "Kubernetes",
        server_name: str = "",
        clock: Clock = SYSTEM_CLOCK,
        channels: Channels = GRPCIO,
    ) -> None:
        self.address = address
        self._channels = channels
        self._cluster_id = cluster_id
        self._roots = roots
        self._token_path = token_path
        self._server_name = server_name
        self._clock = clock

    def token(self) -> TokenProof:
        """What the token file has now; raises `TokenError`."""
        return TokenProof(read_token(self._token_path))

    def proofs(self, identity: Identity | None) -> tuple[list[Proof], TokenError | None]:
        """Token, then certificate: those that there are, and why there is no token."""
        certificate: list[Proof] = [CertificateProof(identity)] if identity else []
        try:
            return [self.token(), *certificate], None
        except TokenError as error:
            return certificate, error

    def metadata(self, proof: Proof) -> Metadata:
        """What goes with every call: the cluster says where istiod is to have the token reviewed."""
        return (*proof.metadata, ("clusterid", self._cluster_id))

    def channel(self, proof: Proof, identity: Identity | None) -> grpc.Channel:
        """A channel to istiod, verified against the mesh root file and the roots of ``identity``.

        Raises `RootsError` when there is neither.
        """
        try:
            roots = to_pem(self._roots.read(self._clock.now()))
        except RootsError:
            if identity is None:
                raise
            roots = b""
        shown = proof.certificate
        name = (("grpc.ssl_target_name_override", self._server_name),) if self._server_name else ()
        return self._channels.secure(
            self.address,
            roots + (identity.roots if identity else b""),
            shown.private_key if shown else None,
            shown.certificate_chain if shown else None,
            (*CHANNEL_OPTIONS, *name),
        )

    def explain(self, error: grpc.RpcError, proof: Proof) -> str:
        """The reason as istiod or grpcio gives it, and what to do about it."""
        if not isinstance(error, grpc.Call):
            return proof.scrub(str(error)) or type(error).__name__
        code, details = error.code(), error.details() or ""
        advice = self._advice(code, details, proof)
        return proof.scrub(f"{code.name}: {details}") + (f"; {advice}" if advice else "")

    def _advice(self, code: grpc.StatusCode, details: str, proof: Proof) -> str:
        if code in _REFUSED:
            shown = f"it was shown {proof.describe(self._clock.now())}, as of cluster {self._cluster_id!r}"
            return f"{shown}; istiod's log says more"
        advice = {
            # our engine's words
            "reaches none of our roots": f"is {self._roots.path} the root of that mesh?",
            "InvalidSignature": f"is {self._roots.path} the root of that mesh? It has the name, and another key",
            "is a clock off": "look at this host's clock",
            "the peer's certificate is for": "set PROXYLESS_SERVER_NAME to a name that istiod's certificate has, "
            "such as istiod.istio-system.svc",
            "does not speak TLS": f"istiod does on port 15012; {_PLAINTEXT}",
            # BoringSSL's words
            "CERTIFICATE_VERIFY_FAILED": f"is {self._roots.path} the root of that mesh, and this host's clock right?",
            "Hostname Verification Check failed": "set PROXYLESS_SERVER_NAME to a name that istiod's certificate has, "
            "such as istiod.istio-system.svc",
            "WRONG_VERSION_NUMBER": f"it does not speak TLS there; istiod does on port 15012; {_PLAINTEXT}",
            # codes
            "UNIMPLEMENTED": "it is no istiod, or none with a CA",
            "UNAVAILABLE": "is istiod running, and can it be reached there?",
            "DEADLINE_EXCEEDED": "is it istiod that listens there, and is it overloaded?",
        }
        said = f"{details} {code.name}"
        return next((advice[sign] for sign in advice if sign in said), "")
