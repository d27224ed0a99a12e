"""What an address is."""

from __future__ import annotations

import ipaddress


def is_ip(address: str) -> bool:
    """An IP address, and no name that has to be looked up or verified as one."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
