"""PeerAuthentication cases, and the filter chains that a node must be given for each: Istio's rules, as a table.

A case says which mode each port ends up in; `CHAINS` says what a mode means for a kind of port. From Istio's reference
of PeerAuthentication and, for the chains, pilot/pkg/networking/core/filterchain_options.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e import yamls
from xds_client.model import ChainKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xds_client.model import FilterChain

IP = "10.0.0.5"
LABELS = (("app", "shop"), ("version", "v1"))
ROOT_NAMESPACE = "istio-system"

# The ports of the node's one service, and ports that no service declares.
GRPC, TCP, AUTO, UNDECLARED, OTHER_UNDECLARED = 19080, 19081, 19082, 12345, 12346
KINDS = {GRPC: "http", TCP: "tcp", AUTO: "auto", UNDECLARED: "auto", OTHER_UNDECLARED: "auto"}

STRICT, PERMISSIVE, DISABLE, UNSET = "STRICT", "PERMISSIVE", "DISABLE", "UNSET"

# What callers offer: sidecars for HTTP, for TCP, and either.
_MTLS_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
_MTLS_TCP = ("istio-peer-exchange", "istio")
_MTLS_ANY = ("istio", "istio-peer-exchange", *_MTLS_HTTP)
_PLAIN_HTTP = ("http/1.1", "h2c")  # as the inspector recognises it


@dataclass(frozen=True, slots=True)
class Expected:
    """One chain: what it is for, whether it ends mTLS, and what it makes of the connection."""

    transport_protocol: str
    application_protocols: tuple[str, ...]
    mtls: bool
    kind: ChainKind


_HTTP, _TCP = ChainKind.HTTP, ChainKind.TCP

CHAINS: dict[tuple[str, str], set[Expected]] = {
    ("http", STRICT): {Expected("tls", (), True, _HTTP)},
    ("http", PERMISSIVE): {Expected("tls", _MTLS_ANY, True, _HTTP), Expected("raw_buffer", (), False, _HTTP)},
    ("http", DISABLE): {Expected("raw_buffer", (), False, _HTTP)},
    ("tcp", STRICT): {Expected("tls", (), True, _TCP)},
    ("tcp", PERMISSIVE): {
        Expected("tls", _MTLS_ANY, True, _TCP),
        Expected("tls", (), False, _TCP),
        Expected("raw_buffer", (), False, _TCP),
    },
    ("tcp", DISABLE): {Expected("raw_buffer", (), False, _TCP)},
    ("auto", STRICT): {Expected("tls", _MTLS_HTTP, True, _HTTP), Expected("tls", (), True, _TCP)},
    ("auto", PERMISSIVE): {
        Expected("tls", _MTLS_HTTP, True, _HTTP),
        Expected("raw_buffer", _PLAIN_HTTP, False, _HTTP),
        Expected("tls", _MTLS_TCP, True, _TCP),
        Expected("tls", (), False, _TCP),
        Expected("raw_buffer", (), False, _TCP),
    },
    ("auto", DISABLE): {
        Expected("raw_buffer", _PLAIN_HTTP, False, _HTTP),
        Expected("raw_buffer", (), False, _TCP),
    },
}


def seen(chains: Iterable[FilterChain]) -> set[Expected]:
    return {
        Expected(c.match.transport_protocol, c.match.application_protocols, c.tls is not None, c.kind) for c in chains
    }


def service() -> list[dict[str, Any]]:
    """The node's workload, and its service with a gRPC port, a TCP port and one that says nothing."""
    ports = [
        {"number": 9080, "name": "grpc", "protocol": "GRPC", "targetPort": GRPC},
        {"number": 9081, "name": "tcp", "protocol": "TCP", "targetPort": TCP},
        {"number": 9082, "name": "any", "targetPort": AUTO},
    ]
    return [yamls.service_entry("shop", ports=ports), yamls.workload_entry("shop-1", IP, "shop", "v1")]


def peer_authentication(
    name: str,
    mode: str = "",
    namespace: str = "demo",
    selector: dict[str, str] | None = None,
    ports: dict[int, str] | None = None,
) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if mode:
        spec["mtls"] = {"mode": mode}
    if selector is not None:
        spec["selector"] = {"matchLabels": selector}
    if ports is not None:
        spec["portLevelMtls"] = {port: {"mode": mode} for port, mode in ports.items()}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@dataclass(frozen=True, slots=True)
class Case:
    """``mode`` is what every port gets, but for those in ``ports``."""

    name: str
    policies: tuple[dict[str, Any], ...]
    mode: str
    ports: tuple[tuple[int, str], ...] = ()

    @property
    def text(self) -> str:
        return yamls.documents(*service(), *self.policies)

    def mode_of(self, port: int) -> str:
        return dict(self.ports).get(port, self.mode)


_SHOP = {"app": "shop"}
_MESH_STRICT = peer_authentication("mesh", STRICT, ROOT_NAMESPACE)
_NAMESPACE_STRICT = peer_authentication("namespace", STRICT)

CASES = [
    Case("nothing", (), PERMISSIVE),
    Case("namespace-strict", (_NAMESPACE_STRICT,), STRICT),
    Case("namespace-permissive", (peer_authentication("namespace", PERMISSIVE),), PERMISSIVE),
    Case("namespace-disable", (peer_authentication("namespace", DISABLE),), DISABLE),
    Case("other-namespace-strict", (peer_authentication("other", STRICT, "elsewhere"),), PERMISSIVE),
    Case("mesh-strict", (_MESH_STRICT,), STRICT),
    Case("namespace-over-mesh", (_MESH_STRICT, peer_authentication("namespace", DISABLE)), DISABLE),
    Case("namespace-unset-inherits-mesh", (_MESH_STRICT, peer_authentication("namespace", UNSET)), STRICT),
    Case("namespace-silent-inherits-mesh", (_MESH_STRICT, peer_authentication("namespace")), STRICT),
    Case(
        "workload-over-namespace",
        (_NAMESPACE_STRICT, peer_authentication("shop", PERMISSIVE, selector=_SHOP)),
        PERMISSIVE,
    ),
    Case(
        "workload-by-two-labels",
        (_NAMESPACE_STRICT, peer_authentication("shop", DISABLE, selector={"app": "shop", "version": "v1"})),
        DISABLE,
    ),
    Case(
        "another-workload",
        (_NAMESPACE_STRICT, peer_authentication("shop", DISABLE, selector={"app": "shop", "version": "v2"})),
        STRICT,
    ),
    Case(
        "selectors-in-the-root-namespace-mean-nobody",
        (peer_authentication("root-shop", STRICT, ROOT_NAMESPACE, selector=_SHOP),),
        PERMISSIVE,
    ),
    Case(
        "an-empty-selector-is-the-namespace",
        (peer_authentication("all", STRICT, selector={}),),
        STRICT,
    ),
    Case(
        "workload-unset-inherits-namespace",
        (_NAMESPACE_STRICT, peer_authentication("shop", UNSET, selector=_SHOP)),
        STRICT,
    ),
    Case(
        "port-override",
        (peer_authentication("shop", STRICT, selector=_SHOP, ports={GRPC: PERMISSIVE, TCP: DISABLE}),),
        STRICT,
        ((GRPC, PERMISSIVE), (TCP, DISABLE)),
    ),
    Case(
        "port-override-without-a-mode-of-its-own",
        (_NAMESPACE_STRICT, peer_authentication("shop", selector=_SHOP, ports={GRPC: DISABLE})),
        STRICT,
        ((GRPC, DISABLE),),
    ),
    Case(
        "port-override-of-an-undeclared-port",
        (peer_authentication("shop", DISABLE, selector=_SHOP, ports={UNDECLARED: STRICT}),),
        DISABLE,
        ((UNDECLARED, STRICT),),
    ),
    Case(
        "port-unset-inherits-the-workload",
        (peer_authentication("shop", STRICT, selector=_SHOP, ports={GRPC: UNSET, AUTO: PERMISSIVE}),),
        STRICT,
        ((AUTO, PERMISSIVE),),
    ),
]
