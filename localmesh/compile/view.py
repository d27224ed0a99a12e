"""Who asks: the part of a node that changes what it is sent. A frozen value, made from the request's Node."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_IPV4 = 4


@dataclass(frozen=True, slots=True)
class Locality:
    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    @classmethod
    def parse(cls, text: str) -> Locality:
        """``region/zone/subzone``, shorter forms allowed."""
        region, zone, sub_zone, *_ = [*text.split("/"), "", "", ""]
        return cls(region, zone, sub_zone)


@dataclass(frozen=True, slots=True)
class View:
    """``addresses`` are the node's own: the workloads that have one of them are the node itself."""

    namespace: str
    locality: Locality = Locality()
    labels: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def has_ipv4(self) -> bool:
        """Also when no address is known."""
        return not self.addresses or any(ipaddress.ip_address(address).version == _IPV4 for address in self.addresses)

    @property
    def has_ipv6(self) -> bool:
        return any(ipaddress.ip_address(address).version != _IPV4 for address in self.addresses)
