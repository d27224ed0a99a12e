"""What a stream to istiod shows: the certificate once there is one, else the token, and the other one after a failure.

`open` is called on the exchanger's thread, `Opening.ended` on the stream's, one stream after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xds_client.identity.proof import CertificateProof, Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from xds_client.identity.access import IstiodAccess
    from xds_client.identity.proof import Metadata
    from xds_client.identity.source import IdentitySource


@dataclass(frozen=True, slots=True)
class Opening:
    """A channel for one stream, and what to send with it. `ended` takes how it ended, and says it with advice."""

    channel: grpc.Channel
    metadata: Metadata
    ended: Callable[[grpc.RpcError | None, bool], str]


class StreamAccess:
    """``source`` None: there is only the token, ever."""

    def __init__(self, access: IstiodAccess, source: IdentitySource | None) -> None:
        self._access = access
        self._source = source
        self._failed: type[Proof] | None = None  # what the last stream showed, if it was not answered

    def open(self) -> Opening:
        """Raises `TokenError` or `RootsError` when there is nothing to show, or nobody to believe."""
        identity = self._source.current if self._source else None
        proofs, without_token = self._access.proofs(identity)
        if without_token is not None and not proofs:
            raise without_token
        # Stable: certificate before token, and what failed last time after what did not.
        proofs.sort(key=lambda proof: (type(proof) is self._failed, not isinstance(proof, CertificateProof)))
        proof = proofs[0]

        def ended(error: grpc.RpcError | None, answered: bool) -> str:
            self._failed = None if answered else type(proof)
            return self._access.explain(error, proof) if error is not None else "the control plane ended the stream"

        return Opening(self._access.channel(proof, identity), self._access.metadata(proof), ended)
