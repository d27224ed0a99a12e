"""Host names as istiod reads them: short names expanded, wildcards matched. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from localmesh.config.service_entry import is_ip

if TYPE_CHECKING:
    from collections.abc import Iterator

ValueT = TypeVar("ValueT")


def fully_qualified(host: str, namespace: str, domain: str) -> str:
    """`ResolveShortnameToFQDN` (pilot/pkg/model/config.go): only a name without any dot is short."""
    if host == "*" or "." in host or is_ip(host):
        return host
    return f"{host}.{namespace}.svc.{domain}"


class HostTable(Generic[ValueT]):
    """Values by host or wildcard. The wildcards stand apart: of many hosts, most have none to be looked through."""

    def __init__(self) -> None:
        self._hosts: dict[str, ValueT] = {}
        self._wildcards: dict[str, ValueT] = {}

    def __iter__(self) -> Iterator[str]:
        yield from self._hosts
        yield from self._wildcards

    def __setitem__(self, host: str, value: ValueT) -> None:
        (self._wildcards if host.startswith("*") else self._hosts)[host] = value

    def written(self, host: str) -> ValueT | None:
        """Of the host as it is written."""
        return self._hosts.get(host) or self._wildcards.get(host)

    def most_specific(self, host: str) -> ValueT | None:
        """Of the pattern that says most about the host: itself, else the longest wildcard that covers it."""
        if (found := self.written(host)) is not None:
            return found
        covering = (pattern for pattern in self._wildcards if host.endswith(pattern[1:]))
        longest = max(covering, key=len, default=None)
        return self._wildcards[longest] if longest is not None else None
