"""The words that the table is written in: callers, requests, what becomes of them, and Istio's policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from e2e import yamls
from e2e.envoy.pods import DECLARED, TCP, UNDECLARED

__all__ = ["DECLARED", "TCP", "UNDECLARED"]

# What becomes of a request. Whether anybody can answer one that is let in is another question: most paths here are
# nobody's, and the app says so.
LET_IN = "let in"
REFUSED = "refused"  # HTTP 403, or gRPC's PERMISSION_DENIED
UNAUTHENTICATED = "unauthenticated"  # HTTP 401, or gRPC's UNAUTHENTICATED
MALFORMED = "malformed"  # HTTP 400: no policy is asked about such a request
CLOSED = "closed"  # the connection, without an answer
NOT_GRPC = "not gRPC"  # HTTP 405 or 415, of servers that speak nothing else, whatever the policy

GUARDED = {"guarded": "yes"}  # a label of the servers that the table is about
SERVICE_ACCOUNT = "guarded"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever shows a certificate of this SPIFFE ID (none: comes in plaintext), from an address of its own."""

    name: str
    identity: str | None
    address: str
    also: tuple[str, ...] = ()  # more URIs in the certificate
    dns: tuple[str, ...] = ()
    common_name: str = ""

    def __str__(self) -> str:
        return self.name


def _caller(name: str, number: int, identity: str | None, **more: Any) -> Caller:
    return Caller(name, identity and f"spiffe://{identity}", f"10.77.200.{number}", **more)


ANNA = _caller("anna", 1, "cluster.local/ns/demo/sa/anna")
BERT = _caller("bert", 2, "cluster.local/ns/demo/sa/bert")
CLEO = _caller("cleo", 3, "cluster.local/ns/other/sa/cleo")
OTHER_ANNA = _caller("anna of the namespace other", 4, "cluster.local/ns/other/sa/anna")
ANNABEL = _caller("annabel, who begins as anna does", 5, "cluster.local/ns/demo/sa/annabel")
SUSANNA = _caller("susanna, who ends as anna does", 6, "cluster.local/ns/demo/sa/susanna")
DEMO_2 = _caller("anna of demo-2", 7, "cluster.local/ns/demo-2/sa/anna")
OLD_ANNA = _caller("anna of the old trust domain", 8, "old.example.org/ns/demo/sa/anna")
ALIEN = _caller("anna of a foreign trust domain", 9, "evil.example.org/ns/demo/sa/anna")
NOBODY = _caller("nobody in particular", 10, None)
UPPER_ANNA = _caller("ANNA", 11, "cluster.local/ns/demo/sa/ANNA")
NESTED = _caller("one whose account is spelt like a namespace", 12, "cluster.local/ns/other/sa/x/ns/demo/sa/anna")
LONG_DOMAIN = _caller("anna of a trust domain that begins as ours", 13, "cluster.local.evil.org/ns/demo/sa/anna")
TWO_NAMES = _caller("bert, and anna too", 14, "cluster.local/ns/demo/sa/bert", also=(f"{ANNA.identity}",))
DNS_ANNA = _caller(
    "bert, whose DNS name is anna's identity", 15, "cluster.local/ns/demo/sa/bert", dns=(f"{ANNA.identity}",)
)
SUBJECT_ANNA = _caller("bert, by subject anna", 16, "cluster.local/ns/demo/sa/bert", common_name=f"{ANNA.identity}")

CALLERS = (
    ANNA,
    BERT,
    CLEO,
    OTHER_ANNA,
    ANNABEL,
    SUSANNA,
    DEMO_2,
    OLD_ANNA,
    ALIEN,
    NOBODY,
    UPPER_ANNA,
    NESTED,
    LONG_DOMAIN,
    TWO_NAMES,
    DNS_ANNA,
    SUBJECT_ANNA,
)

Headers = tuple[tuple[str, str], ...]

HELLO = "/hello.Greeter/SayHello"
AUTHORITY = "shop.demo.svc.cluster.local:9080"


@dataclass(frozen=True, slots=True)
class Request:
    """A gRPC call, unless ``content_type`` says otherwise; ``port``: the service's; ``authority`` None: without one."""

    by: Caller = ANNA
    path: str = HELLO
    method: str = "POST"
    authority: str | None = AUTHORITY
    headers: Headers = ()
    port: int = DECLARED
    sni: str = "outbound_.9080_._.shop.demo.svc.cluster.local"
    content_type: str = "application/grpc"

    @property
    def is_grpc(self) -> bool:
        """Or comes to a port where nobody looks for HTTP."""
        return self.port == TCP or (self.method == "POST" and self.content_type.startswith("application/grpc"))


@dataclass(frozen=True, slots=True)
class Case:
    """``because``: what Istio's documentation says of this one, where that of its `Policies` does not cover it.

    ``ours``: what our servers do where it is not what Envoy does; docs/compatibility.md says why.
    """

    name: str
    expected: str
    request: Request
    because: str = ""
    ours: str = ""

    @property
    def expected_of_ours(self) -> str:
        return self.ours or (self.expected if self.request.is_grpc else NOT_GRPC)


@dataclass(frozen=True, slots=True)
class Policies:
    """What is in force for some cases. ``source``: where Istio's documentation says what is expected.

    ``mesh``: what else the MeshConfig says.
    """

    name: str
    source: str
    documents: tuple[dict[str, Any], ...]
    cases: tuple[Case, ...]
    mesh: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def policies(
    name: str, source: str, documents: list[dict[str, Any]], *cases: Case, mesh: dict[str, Any] | None = None
) -> Policies:
    return Policies(name, source, tuple(documents), cases, mesh or {})


def let_in(name: str, because: str = "", *, ours: str = "", **request: Any) -> Case:
    return Case(name, LET_IN, Request(**request), because, ours)


def refused(name: str, because: str = "", *, ours: str = "", **request: Any) -> Case:
    return Case(name, REFUSED, Request(**request), because, ours)


def unauthenticated(name: str, because: str = "", *, ours: str = "", **request: Any) -> Case:
    return Case(name, UNAUTHENTICATED, Request(**request), because, ours)


def malformed(name: str, because: str = "", *, ours: str = "", **request: Any) -> Case:
    return Case(name, MALFORMED, Request(**request), because, ours)


def closed(name: str, because: str = "", *, ours: str = "", **request: Any) -> Case:
    return Case(name, CLOSED, Request(**request), because, ours)


def source(**fields: list[str]) -> tuple[str, dict[str, Any]]:
    """One of a rule's ``from``."""
    return "from", {"source": fields}


def operation(**fields: list[str]) -> tuple[str, dict[str, Any]]:
    """One of a rule's ``to``."""
    return "to", {"operation": fields}


def when(key: str, *values: str, not_values: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """One of a rule's ``when``."""
    said: dict[str, Any] = {"key": key}
    if values:
        said["values"] = list(values)
    if not_values:
        said["notValues"] = list(not_values)
    return "when", said


def rule(*parts: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, part in parts:
        made.setdefault(name, []).append(part)
    return made


def authorization(
    action: str,
    *rules: dict[str, Any],
    name: str = "",
    namespace: str = "demo",
    selector: dict[str, str] | None = GUARDED,
    dry_run: str = "",
) -> dict[str, Any]:
    """An AuthorizationPolicy, of this namespace's guarded servers unless ``selector`` says otherwise; None: all."""
    spec: dict[str, Any] = {"action": action} if action else {}
    if rules:
        spec["rules"] = list(rules)
    if selector is not None:
        spec["selector"] = {"matchLabels": selector}
    made = yamls.resource("AuthorizationPolicy", name or action.lower(), spec, namespace)
    if dry_run:
        made["metadata"]["annotations"] = {"istio.io/dry-run": dry_run}
    return made | {"apiVersion": "security.istio.io/v1"}


def allow(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return authorization("ALLOW", *rules, **settings)


def deny(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return authorization("DENY", *rules, **settings)


def audit(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return authorization("AUDIT", *rules, **settings)
