"""Who a request comes from, past proxies that the mesh trusts (``use_remote_address``, ``xff_num_trusted_hops``)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from rpc.authorization.request import Request
    from xds_client.model import ConnectionManager

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def remote_address(request: Request, manager: ConnectionManager | None) -> Address | None:
    """None: it came by a socket that has no address.

    Where the connection's own address counts, trusted proxies stand before it; else the last that ``X-Forwarded-For``
    names is the first of them (source/common/http/conn_manager_utility.cc).
    """
    hops = manager.xff_num_trusted_hops if manager is not None else 0
    if manager is not None and manager.use_remote_address:
        hops -= 1
    if hops >= 0:
        said = [
            part.strip() for value in request.values("x-forwarded-for") for part in value.decode("latin-1").split(",")
        ]
        if len(said) > hops:
            found = _address(said[-1 - hops])
            if found is not None:
                return found
    kind, _, rest = unquote(request.peer).partition(":")
    return _address(rest.rpartition(":")[0].strip("[]")) if kind.startswith("ip") else None


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
