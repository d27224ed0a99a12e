"""Host names as istiod reads them: short names expanded, wildcards matched. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh.config.service_entry import is_ip

if TYPE_CHECKING:
    from collections.abc import Mapping


def fully_qualified(host: str, namespace: str, domain: str) -> str:
    """`ResolveShortnameToFQDN` (pilot/pkg/model/config.go): only a name without any dot is short."""
    if host == "*" or "." in host or is_ip(host):
        return host
    return f"{host}.{namespace}.svc.{domain}"


def most_specific(host: str, patterns: Mapping[str, object]) -> str | None:
    """The pattern that says most about the host: itself, else the longest wildcard that covers it."""
    if host in patterns:
        return host
    wildcards = (pattern for pattern in patterns if pattern.startswith("*") and host.endswith(pattern[1:]))
    return max(wildcards, key=len, default=None)
