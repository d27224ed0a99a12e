"""localmesh's own certificate authority, and the tokens that say who asks it: what istiod and the API server do."""

from localmesh.ca.authority import CertificateAuthority, SigningError
from localmesh.ca.tokens import AUDIENCE, TokenIssuer, TokenRefused

__all__ = ["AUDIENCE", "CertificateAuthority", "SigningError", "TokenIssuer", "TokenRefused"]
