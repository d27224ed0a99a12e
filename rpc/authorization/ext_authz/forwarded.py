"""``x-forwarded-client-cert``, which a connection manager of Envoy's writes or takes away before any filter.

A service that trusts it must not be told what a client made up.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpc.authorization.request import Request
    from xds_client.model import ConnectionManager

FORWARDED = "x-forwarded-client-cert"
_FORWARDS = frozenset({"FORWARD_ONLY", "APPEND_FORWARD"})
_WRITES = frozenset({"SANITIZE_SET", "APPEND_FORWARD"})


def forwarded_certificates(request: Request, manager: ConnectionManager | None, own: str) -> str:
    """Empty: there is no such header. ``own``: our name in the mesh.

    Of the caller's certificate what is always said: By, Hash, and the URI that istiod asks for; its subject, which no
    certificate of the mesh has, and its names of DNS are left out.
    """
    how = manager.forward_client_cert_details if manager is not None else "SANITIZE"
    came = ",".join(value.decode(errors="replace") for value in request.values(FORWARDED))
    if how == "ALWAYS_FORWARD_ONLY":
        return came
    tls = request.tls_info()
    if tls is None or not tls.certificates:  # nobody vouches for it
        return ""
    elements = [came] if came and how in _FORWARDS else []
    if how in _WRITES:
        digest = hashlib.sha256(tls.certificates[0]).hexdigest()
        by = f"By={own};" if own else ""
        elements.append(f"{by}Hash={digest};URI={tls.identity or ''}")
    return ",".join(elements)
