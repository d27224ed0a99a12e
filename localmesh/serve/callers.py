"""Who calls on the secure port, and whether he is the node that he says he is: by istiod's rules. Pure.

Follows `pkg/security/authentication.go`, `security/pkg/server/ca/authenticate` and `pilot/pkg/xds/auth.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmesh.ca import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localmesh.ca import TokenIssuer
    from localmesh.serve.node import Node
    from localmesh.serve.tls_port import Connection

_BEARER = "Bearer "
_SPIFFE_PARTS = 5


class Unauthenticated(Exception):  # noqa: N818  # says what it is, as InvalidNode does
    """Nobody we know. The message is for the log; istiod tells the client only that it failed."""


class Unauthorized(Exception):  # noqa: N818
    """Somebody else than he says; the message is what istiod tells the client."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The SPIFFE ids that a certificate or a token has proven."""

    identities: tuple[str, ...]

    def check(self, node: Node) -> None:
        """`checkConnectionIdentity`: namespace, and service account where the node names one, must be the proven."""
        for identity in self.identities:
            parts = identity.removeprefix("spiffe://").split("/")
            if len(parts) != _SPIFFE_PARTS or (parts[1], parts[3]) != ("ns", "sa"):
                continue
            if node.view.namespace not in ("", parts[2]) or node.service_account not in ("", parts[4]):
                continue
            return
        found = " ".join(self.identities)
        wanted = f"{node.view.namespace}/{node.service_account}"
        raise Unauthorized(f"authorization failed: no identities ([{found}]) matched {wanted}")


@dataclass(frozen=True, slots=True)
class Callers:
    """A client certificate counts first, then a token."""

    tokens: TokenIssuer
    cluster_id: str
    trust_domain: Callable[[], str]

    def caller(self, connection: Connection | None, metadata: Mapping[str, str]) -> Caller:
        """Raises `Unauthenticated`."""
        if connection is None:
            raise Unauthenticated("the connection did not come through the secure port")
        if connection.identities:
            return Caller(connection.identities)
        return Caller((self._by_token(metadata),))

    def _by_token(self, metadata: Mapping[str, str]) -> str:
        given = metadata.get("authorization")
        if given is None:
            raise Unauthenticated("no client certificate is presented and no authorization header exists")
        if not given.startswith(_BEARER):
            raise Unauthenticated("no bearer token exists in the authorization header")
        cluster = metadata.get("clusterid", "")
        if cluster not in ("", self.cluster_id):
            raise Unauthenticated(
                f"client claims to be in cluster {cluster!r}, but we only know about local cluster {self.cluster_id!r}"
            )
        try:
            account = self.tokens.verify(given.removeprefix(_BEARER))
        except TokenRefused as error:
            raise Unauthenticated(str(error)) from error
        return f"spiffe://{self.trust_domain()}/ns/{account.namespace}/sa/{account.name}"
