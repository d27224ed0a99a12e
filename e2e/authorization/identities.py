"""The table's rows by how a peer's identity is spelt: trust domains and their aliases, odd names, odd certificates."""

from __future__ import annotations

from e2e.authorization.cases import (
    ALIEN,
    ANNA,
    BERT,
    CLEO,
    CLOSED,
    DNS_ANNA,
    LET_IN,
    LONG_DOMAIN,
    NESTED,
    NOBODY,
    OLD_ANNA,
    OTHER_ANNA,
    REFUSED,
    SUBJECT_ANNA,
    TWO_NAMES,
    UPPER_ANNA,
    allow,
    closed,
    deny,
    let_in,
    policies,
    refused,
    rule,
    source,
    when,
)
from e2e.authorization.documented import SOURCE

MIGRATION = "https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/"
_ALIASES = {"trustDomainAliases": ["old.example.org"]}
_ANNA = "cluster.local/ns/demo/sa/anna"

_TRUST_DOMAINS = [
    policies(
        "no-aliases",
        f"{MIGRATION}: without an alias, workloads of the old trust domain are denied",
        [],
        let_in("of the mesh", by=ANNA),
        closed("of the old trust domain", by=OLD_ANNA),
        closed("of a foreign one", by=ALIEN),
        closed("of one that begins as ours", by=LONG_DOMAIN),
    ),
    policies(
        "alias-of-what-is-allowed",
        f"{MIGRATION}: policies need not be rewritten: an alias stands for the trust domain",
        [allow(rule(source(principals=[_ANNA])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        refused("another account", by=BERT),
        closed("of a foreign one", by=ALIEN),
        closed("of one that begins as ours", by=LONG_DOMAIN),
        mesh=_ALIASES,
    ),
    policies(
        "alias-in-the-policy",
        f"{MIGRATION}: policies need not be rewritten: an alias stands for the trust domain",
        [allow(rule(source(principals=["old.example.org/ns/demo/sa/anna"])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        refused("another account", by=BERT),
        mesh=_ALIASES,
    ),
    policies(
        "alias-of-what-is-denied",
        f"{MIGRATION}: policies need not be rewritten: an alias stands for the trust domain",
        [deny(rule(source(principals=[_ANNA])))],
        refused("of the mesh", by=ANNA),
        refused("of the old trust domain", by=OLD_ANNA),
        let_in("another account", by=BERT),
        mesh=_ALIASES,
    ),
    policies(
        "alias-of-all-but-one",
        f"{MIGRATION}: policies need not be rewritten: an alias stands for the trust domain",
        [deny(rule(source(notPrincipals=[_ANNA])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        refused("another account", by=BERT),
        refused("plaintext", by=NOBODY),
        mesh=_ALIASES,
    ),
    policies(
        "alias-and-any-trust-domain",
        f"{SOURCE}: principals; a suffix leaves the trust domain open",
        [allow(rule(source(principals=["*/ns/demo/sa/anna"])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        closed("of a foreign one", by=ALIEN),
        mesh=_ALIASES,
    ),
    policies(
        "alias-and-namespaces",
        f"{SOURCE}: namespaces are those of any trust domain that TLS lets in",
        [allow(rule(source(namespaces=["demo"])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        refused("another namespace", by=CLEO),
        mesh=_ALIASES,
    ),
    policies(
        "alias-and-trust-domains",
        f"{SOURCE}: a list of trust domains; an alias stands for the trust domain",
        [allow(rule(source(trustDomains=["cluster.local"])))],
        let_in("of the mesh", by=ANNA),
        let_in("of the old trust domain", by=OLD_ANNA),
        mesh=_ALIASES,
    ),
    policies(
        "alias-and-trust-domains-by-prefix",
        f"{SOURCE}: trustDomains can be exact, prefix, suffix and presence",
        [allow(rule(source(trustDomains=["old.*"])))],
        let_in("of the old trust domain", by=OLD_ANNA),
        refused("of the mesh", by=ANNA),
        mesh=_ALIASES,
    ),
]

_SPELLINGS = [
    policies(
        "names-are-no-patterns",
        f"{SOURCE}: exact, prefix, suffix and presence, and no other pattern",
        [allow(rule(source(namespaces=["d.mo"])), rule(source(serviceAccounts=["demo/an.a"])))],
        refused("a dot is a dot", by=ANNA),
    ),
    policies(
        "principals-are-no-patterns",
        f"{SOURCE}: exact, prefix, suffix and presence, and no other pattern",
        [
            allow(
                rule(source(principals=["cluster.local/ns/de*mo/sa/anna", ".*", "cluster.local/ns/demo/sa/(anna)"])),
                rule(when("source.principal", "cluster.local/ns/*/sa/anna")),
            )
        ],
        refused("a star in the middle is a star", by=ANNA),
        refused("elsewhere, too", by=OTHER_ANNA),
    ),
    policies(
        "principals-with-the-scheme",
        f"{SOURCE}: <TRUST_DOMAIN>/ns/<NAMESPACE>/sa/<SERVICE_ACCOUNT>, without spiffe://",
        [allow(rule(source(principals=["spiffe://cluster.local/ns/demo/sa/anna"])))],
        refused("the scheme is no part of it", by=ANNA),
    ),
    policies(
        "case-of-names",
        f"{SOURCE}: principals, namespaces",
        [deny(rule(source(principals=["*/sa/anna"])), rule(source(namespaces=["DEMO"])))],
        refused("the one", by=ANNA),
        let_in("another case is another", by=UPPER_ANNA),
    ),
    policies(
        "nested-names-and-namespaces",
        f"{SOURCE}: namespaces derived from the peer certificate; Istio looks for /ns/NAME/ anywhere in it",
        [allow(rule(source(namespaces=["demo"])))],
        let_in("the plain one", by=ANNA),
        let_in("one that has it twice", by=NESTED),
    ),
    policies(
        "nested-names-and-service-accounts",
        f"{SOURCE}: serviceAccounts derived from the peer certificate; Istio looks for /ns/NAME/…sa/NAME anywhere",
        [deny(rule(source(serviceAccounts=["demo/anna"])))],
        refused("the plain one", by=ANNA),
        refused("one that has it twice", by=NESTED),
        let_in("another", by=BERT),
    ),
]

_CERTIFICATES = [
    policies(
        "two-identities-allowed",
        f"{SOURCE}: a list of peer identities derived from the peer certificate; Envoy looks at each URI of it",
        [allow(rule(source(principals=[_ANNA])))],
        let_in("the one", by=ANNA),
        let_in("one of two", by=TWO_NAMES, ours=CLOSED),
        let_in("a DNS name, where no URI matches", "Envoy looks at DNS names next", by=DNS_ANNA, ours=REFUSED),
        refused("but not a subject", by=SUBJECT_ANNA),
    ),
    policies(
        "two-identities-denied",
        f"{SOURCE}: a list of peer identities derived from the peer certificate; Envoy looks at each URI of it",
        [deny(rule(source(principals=[_ANNA])))],
        refused("one of two", by=TWO_NAMES, ours=CLOSED),
        let_in("neither of two", by=BERT),
        refused("a DNS name, where no URI matches", "Envoy looks at DNS names next", by=DNS_ANNA, ours=LET_IN),
    ),
]

TABLE = [*_TRUST_DOMAINS, *_SPELLINGS, *_CERTIFICATES]
