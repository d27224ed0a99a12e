"""`Identity`: who this process is in the mesh and whom it trusts, as one immutable value. Safe on any thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """An X.509-SVID (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md) and the roots of its mesh.

    All material is PEM. ``certificate_chain`` has the leaf first and no root; ``private_key`` is PKCS#8;
    ``roots`` has every root that is trusted now, old and new while they rotate. ``not_before`` and ``not_after`` are
    the leaf's, aware and in UTC. ``trust_domains`` has our own first, then its aliases.

    >>> identity = rpc.mesh().identity.wait(timeout=10)
    >>> identity.spiffe_id, identity.trust_domains
    ('spiffe://cluster.local/ns/demo/sa/web', ('cluster.local',))
    """

    spiffe_id: str
    certificate_chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    roots: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    trust_domains: tuple[str, ...]
