"""Identities of a policy, in every trust domain that is the mesh's own. Pure.

Follows istiod's `pilot/pkg/security/trustdomain/bundle.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOCAL = "cluster.local"  # whatever it is called, this means the mesh's own
_PARTS = 5  # DOMAIN/ns/NAMESPACE/sa/ACCOUNT


@dataclass(frozen=True, slots=True)
class TrustDomains:
    """The mesh's own first, then its aliases."""

    names: tuple[str, ...]

    def principals(self, values: Sequence[str]) -> tuple[str, ...]:
        """What names one of the domains is put into all of them."""
        return tuple(found for value in values for found in self._of_principal(value))

    def expanded(self, values: Sequence[str]) -> tuple[str, ...]:
        """Domains, with all that mean the same."""
        return tuple(
            dict.fromkeys(name for value in values for name in (self.names if value in self.names else (value,)))
        )

    def _of_principal(self, principal: str) -> Iterator[str]:
        domain, *rest = principal.split("/")
        if len((domain, *rest)) != _PARTS or domain == "*":  # of no domain in particular
            yield principal
        elif domain == _LOCAL or any(_overlap(domain, name) for name in self.names):
            yield from dict.fromkeys(
                principal if _ends_as(name, domain) else "/".join((name, *rest)) for name in self.names
            )
        else:
            yield principal


def _overlap(one: str, other: str) -> bool:
    if other in (one, "*"):
        return True
    return any(_begins_as(*pair) or _ends_as(*pair) for pair in ((one, other), (other, one)))


def _begins_as(text: str, pattern: str) -> bool:
    return pattern.endswith("*") and text.startswith(pattern[:-1])


def _ends_as(text: str, pattern: str) -> bool:
    return pattern.startswith("*") and text.endswith(pattern[1:])
