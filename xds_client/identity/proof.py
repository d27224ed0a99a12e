"""What is shown to istiod as proof of who asks: the projected token, or a certificate that istiod issued before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from xds_client.identity.svid import Identity
    from xds_client.identity.token import Token

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TokenProof:
    token: Token

    @property
    def metadata(self) -> Metadata:
        return (("authorization", f"Bearer {self.token.value}"),)

    @property
    def certificate(self) -> Identity | None:
        return None

    @property
    def service_account(self) -> str:
        return self.token.service_account()

    def describe(self, now: datetime) -> str:
        return self.token.describe(now)

    def scrub(self, text: str) -> str:
        return self.token.scrub(text)


@dataclass(frozen=True, slots=True)
class CertificateProof:
    certificate: Identity

    @property
    def metadata(self) -> Metadata:
        return ()

    @property
    def service_account(self) -> str:
        return self.certificate.spiffe_id.partition("/sa/")[2]

    def describe(self, now: datetime) -> str:
        until = self.certificate.not_after.isoformat(timespec="seconds")
        said = "expired" if self.certificate.not_after <= now else "valid until"
        return f"the certificate of {self.certificate.spiffe_id} ({said} {until})"

    def scrub(self, text: str) -> str:
        return text


Proof = TokenProof | CertificateProof
