"""One rule of an AuthorizationPolicy as a policy of RBAC: permissions are what is called, principals who calls. Pure.

Follows istiod's `pilot/pkg/security/authz/model/model.go`, the order of the parts included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localmesh import xds
from localmesh.compile.authorization.terms import (
    HOSTS,
    METHODS,
    PATHS,
    Term,
    Unusable,
    all_permissions,
    all_principals,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localmesh.compile.authorization.trust_domains import TrustDomains
    from localmesh.config.authorization_policy import Operation, Rule, Source


def compiled(rule: Rule, namespace: str, domains: TrustDomains, *, of_requests: bool, is_allow: bool) -> Any:
    """None if nothing is left of it.

    What cannot be known of a connection falls away from a rule that denies, which then denies more, and takes the
    whole rule that allows with it: either way fewer get in.
    """
    when = [_migrated(Term(one.key, one.values, one.not_values), namespace, domains) for one in rule.when]
    sources = [[_migrated(term, namespace, domains) for term in _of_source(each.source)] for each in rule.from_] or [[]]
    operations = [list(_of_operation(each.operation)) for each in rule.to] or [[]]
    called = [*[term for term in when if term.is_permission]]
    caller = [*[term for term in when if not term.is_permission]]

    def all_of(terms: Sequence[Term]) -> list[Any]:
        found = []
        for term in terms:
            try:
                found += term.compiled(of_requests=of_requests)
            except Unusable:
                if is_allow:
                    raise
        return found

    try:
        return xds.rbac.Policy(
            permissions=[all_permissions(all_of(terms + called)) for terms in operations],
            principals=[all_principals(all_of(terms + caller)) for terms in sources],
        )
    except Unusable:
        return None


def never() -> Any:
    """Of a policy without rules: it allows nobody."""
    nothing = xds.rbac.Permission(not_rule=xds.rbac.Permission(any=True))
    nobody = xds.rbac.Principal(not_id=xds.rbac.Principal(any=True))
    return xds.rbac.Policy(permissions=[nothing], principals=[nobody])


def _of_source(source: Source) -> Iterator[Term]:
    yield from _said(
        Term("source.principal", source.principals, source.not_principals),
        Term("request.auth.principal", source.request_principals, source.not_request_principals),
        Term("source.serviceAccount", source.service_accounts, source.not_service_accounts),
        Term("source.trustDomain", source.trust_domains, source.not_trust_domains),
        Term("source.namespace", source.namespaces, source.not_namespaces),
        Term("remote.ip", source.remote_ip_blocks, source.not_remote_ip_blocks),
        Term("source.ip", source.ip_blocks, source.not_ip_blocks),
    )


def _of_operation(operation: Operation) -> Iterator[Term]:
    yield from _said(
        Term(HOSTS, operation.hosts, operation.not_hosts),
        Term(METHODS, operation.methods, operation.not_methods),
        Term(PATHS, operation.paths, operation.not_paths),
        Term("destination.port", operation.ports, operation.not_ports),
    )


def _said(*terms: Term) -> Iterator[Term]:
    return (term for term in terms if term.values or term.not_values)


def _migrated(term: Term, namespace: str, domains: TrustDomains) -> Term:
    """With what its values leave unsaid: the policy's namespace, the other names of the mesh's trust domain."""
    match term.key:
        case "source.principal":
            return Term(term.key, domains.principals(term.values), domains.principals(term.not_values))
        case "source.trustDomain":
            return Term(term.key, domains.expanded(term.values), domains.expanded(term.not_values))
        case "source.serviceAccount":
            full, not_full = (
                tuple(value if "/" in value else f"{namespace}/{value}" for value in values)
                for values in (term.values, term.not_values)
            )
            return Term(term.key, full, not_full)
        case _:
            return term
