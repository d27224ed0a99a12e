"""What a caller asked for: a host and a port of the mesh, and the names it may stand for. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEME = "xds:///"
_MAX_PORT = 65535


class InvalidTargetError(ValueError):
    """The target is not ``xds:///host[.namespace[.svc[.domain]]]:port``; the message names it and what is wrong.

    >>> Target.parse("xds:///reviews.demo")
    Traceback (most recent call last):
    xds_client.model.target.InvalidTargetError: 'xds:///reviews.demo': a mesh target needs a port, as in xds:///reviews.demo:9080
    """


@dataclass(frozen=True, slots=True)
class Target:
    """One port of one host, as the caller wrote it (``reviews``, ``reviews.demo``, a ServiceEntry's host, ...), or one
    cluster.

    >>> Target.parse("xds:///reviews.demo:9080")
    Target(host='reviews.demo', port=9080)
    """

    host: str
    port: int
    # Called past all routes, as filters of the mesh call services; empty: routes say which.
    cluster: str = field(default="", repr=False)

    @classmethod
    def of_cluster(cls, name: str) -> Target:
        """A cluster, whatever routes say (``outbound|9000||authorizer.demo.svc.cluster.local``); any name is one."""
        direction, _, rest = name.partition("|")
        port, _, host = rest.partition("|")
        number = int(port) if direction == "outbound" and port.isascii() and port.isdigit() else 0
        return cls(host.rpartition("|")[2].lower() if number else name, number, name)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse ``xds:///host:port`` or ``host:port``; raise `InvalidTargetError` that names the text."""
        rest = text.removeprefix(SCHEME)
        if "://" in rest or rest.startswith("//"):
            raise InvalidTargetError(f"{text!r}: a mesh target is written {SCHEME}host:port, without an authority")
        host, colon, port = rest.rpartition(":")
        if not colon or not host:
            raise InvalidTargetError(f"{text!r}: a mesh target needs a port, as in {SCHEME}reviews.demo:9080")
        number = port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))
        if not number or not 0 < int(port) <= _MAX_PORT:
            raise InvalidTargetError(f"{text!r}: {port!r} is not a port (1 to {_MAX_PORT})")
        if any(c.isspace() or c in "/:|[]" for c in host):
            raise InvalidTargetError(f"{text!r}: {host!r} is not a host name")
        return cls(host.lower(), int(port))

    def candidates(self, namespace: str, domain: str) -> tuple[str, ...]:
        """The fully qualified names this host may mean, first one first.

        Kubernetes' search order with one difference: istiod answers ``reviews`` and its FQDN as one service and
        leaves one of them empty when both are asked in one request, so short names are expanded here and only the
        next candidate is asked once the one before is known to be unknown.
        """
        if self.host.endswith("."):
            return (self.host.rstrip("."),)
        match self.host.split("."):
            case [_]:
                return (f"{self.host}.{namespace}.svc.{domain}",)
            case [_, _]:
                return (f"{self.host}.svc.{domain}", self.host)
            case [_, _, "svc"]:
                return (f"{self.host}.{domain}",)
        return (self.host,)

    def __str__(self) -> str:
        return self.cluster or f"{self.host}:{self.port}"
