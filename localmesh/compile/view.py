"""Who asks: the part of a node that changes what it is sent. A frozen value, made from the request's Node."""

from __future__ import annotations

from dataclasses import dataclass


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
    namespace: str
    locality: Locality = Locality()
    labels: tuple[tuple[str, str], ...] = ()
    ipv6_only: bool = False
