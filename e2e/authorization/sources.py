"""The table's rows by who calls: every field of a rule's ``from`` but those of tokens (`claims`)."""

from __future__ import annotations

from e2e.authorization.cases import (
    ANNA,
    ANNABEL,
    BERT,
    CLEO,
    DEMO_2,
    NOBODY,
    OTHER_ANNA,
    SUSANNA,
    UPPER_ANNA,
    allow,
    deny,
    let_in,
    policies,
    refused,
    rule,
    source,
)
from e2e.authorization.documented import RULE, SOURCE

_MTLS = "#Source: this field requires mTLS enabled"

_PRINCIPALS = [
    policies(
        "principals-exact",
        f"{SOURCE}: a list of peer identities, <TRUST_DOMAIN>/ns/<NAMESPACE>/sa/<SERVICE_ACCOUNT>",
        [allow(rule(source(principals=["cluster.local/ns/demo/sa/anna"])))],
        let_in("the one", by=ANNA),
        refused("another account", by=BERT),
        refused("the same account elsewhere", by=OTHER_ANNA),
        refused("a longer name", by=ANNABEL),
        refused("other case", by=UPPER_ANNA),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "principals-prefix",
        f"{RULE}: `abc*` will match on value `abc` and `abcd`",
        [allow(rule(source(principals=["cluster.local/ns/demo/sa/anna*"])))],
        let_in("the prefix alone", by=ANNA),
        let_in("more than the prefix", by=ANNABEL),
        refused("in the middle", by=SUSANNA),
        refused("another namespace", by=OTHER_ANNA),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "principals-suffix",
        f"{RULE}: `*abc` will match on value `abc` and `xabc`",
        [allow(rule(source(principals=["*anna"])))],
        let_in("the suffix", by=ANNA),
        let_in("in any namespace", by=OTHER_ANNA),
        let_in("in the middle of the account", by=SUSANNA),
        refused("more than the suffix", by=ANNABEL),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "principals-presence",
        f"{RULE}: `*` will match when value is not empty",
        [allow(rule(source(principals=["*"])))],
        let_in("anybody with a certificate", by=CLEO),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "principals-several",
        f"{SOURCE}: principals: [admin, dev] matches if the principal is admin or dev",
        [allow(rule(source(principals=["cluster.local/ns/demo/sa/anna", "cluster.local/ns/other/sa/cleo"])))],
        let_in("the first", by=ANNA),
        let_in("the second", by=CLEO),
        refused("neither", by=BERT),
    ),
    policies(
        "not-principals",
        f"{SOURCE}: a list of negative match of peer identities",
        [allow(rule(source(notPrincipals=["cluster.local/ns/demo/sa/bert", "cluster.local/ns/other/*"])))],
        let_in("somebody else", by=ANNA),
        refused("the first", by=BERT),
        refused("the second, by prefix", by=CLEO),
        let_in("plaintext: nobody is not bert", by=NOBODY),
    ),
    policies(
        "deny-not-principals",
        f"{SOURCE}: a list of negative match of peer identities",
        [deny(rule(source(notPrincipals=["cluster.local/ns/demo/sa/anna"])))],
        let_in("the only one", by=ANNA),
        refused("anybody else", by=BERT),
        refused("plaintext", by=NOBODY),
    ),
    policies(
        "deny-not-principals-presence",
        "https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/ : DENY with notPrincipals: [*]",
        [deny(rule(source(notPrincipals=["*"])))],
        let_in("anybody with a certificate", by=CLEO),
        refused("plaintext", by=NOBODY),
    ),
]

_NAMESPACES = [
    policies(
        "namespaces-exact",
        f"{SOURCE}: a list of namespaces derived from the peer certificate",
        [allow(rule(source(namespaces=["demo"])))],
        let_in("of it", by=ANNA),
        let_in("another of it", by=BERT),
        refused("of another", by=CLEO),
        refused("of one that begins so", by=DEMO_2),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "namespaces-prefix",
        f"{RULE}: any string field supports prefix match",
        [allow(rule(source(namespaces=["demo*"])))],
        let_in("the prefix alone", by=ANNA),
        let_in("more than the prefix", by=DEMO_2),
        refused("of another", by=CLEO),
    ),
    policies(
        "namespaces-suffix",
        f"{RULE}: any string field supports suffix match",
        [allow(rule(source(namespaces=["*her"])))],
        let_in("of it", by=CLEO),
        refused("of another", by=ANNA),
    ),
    policies(
        "namespaces-presence",
        f"{RULE}: `*` will match when value is not empty",
        [allow(rule(source(namespaces=["*"])))],
        let_in("of any", by=CLEO),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "not-namespaces",
        f"{SOURCE}: a list of negative match of namespaces",
        [allow(rule(source(notNamespaces=["other"])))],
        let_in("of another", by=ANNA),
        refused("of it", by=CLEO),
        let_in("plaintext: of none", by=NOBODY),
    ),
    policies(
        "namespaces-but-one-of-them",
        f"{SOURCE}: fields in the source are ANDed together",
        [allow(rule(source(namespaces=["demo", "other"], notPrincipals=["*bert"])))],
        let_in("of the first", by=ANNA),
        let_in("of the second", by=CLEO),
        refused("the exception", by=BERT),
        refused("of neither", by=DEMO_2),
    ),
    policies(
        "deny-namespaces",
        f"{SOURCE}: a list of namespaces derived from the peer certificate",
        [deny(rule(source(namespaces=["other"])))],
        refused("of it", by=CLEO),
        let_in("of another", by=ANNA),
        let_in("plaintext", by=NOBODY),
    ),
]

_SERVICE_ACCOUNTS = [
    policies(
        "service-accounts",
        f"{SOURCE}: <namespace>/<serviceaccount>",
        [allow(rule(source(serviceAccounts=["other/anna"])))],
        let_in("the one", by=OTHER_ANNA),
        refused("the same name elsewhere", by=ANNA),
        refused("the namespace's other one", by=CLEO),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "service-accounts-of-the-policys-namespace",
        f"{SOURCE}: <serviceaccount> may also be used to use the same namespace as the AuthorizationPolicy",
        [allow(rule(source(serviceAccounts=["anna"])))],
        let_in("the one", by=ANNA),
        refused("the same name elsewhere", by=OTHER_ANNA),
        refused("a longer name", by=ANNABEL),
        refused("a name that ends so", by=SUSANNA),
        refused("a namespace that begins so", by=DEMO_2),
    ),
    policies(
        "not-service-accounts",
        f"{SOURCE}: a list of negative match of Kubernetes service accounts",
        [allow(rule(source(notServiceAccounts=["demo/bert"])))],
        let_in("another", by=ANNA),
        refused("the one", by=BERT),
        let_in("plaintext", by=NOBODY),
    ),
    policies(
        "deny-service-accounts",
        f"{SOURCE}: <namespace>/<serviceaccount>",
        [deny(rule(source(serviceAccounts=["demo/bert", "other/cleo"])))],
        let_in("another", by=ANNA),
        refused("the first", by=BERT),
        refused("the second", by=CLEO),
    ),
]

_TRUST_DOMAINS = [
    policies(
        "trust-domains-exact",
        f"{SOURCE}: a list of trust domains derived from the peer certificate",
        [allow(rule(source(trustDomains=["cluster.local"])))],
        let_in("of it", by=ANNA),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "trust-domains-another",
        f"{SOURCE}: can be exact, prefix, suffix and presence",
        [allow(rule(source(trustDomains=["cluster", "local", "cluster.loca"])))],
        refused("parts of it are not it", by=ANNA),
    ),
    policies(
        "trust-domains-prefix",
        f"{SOURCE}: can be exact, prefix, suffix and presence",
        [allow(rule(source(trustDomains=["cluster.*"])))],
        let_in("of it", by=ANNA),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "trust-domains-suffix",
        f"{SOURCE}: can be exact, prefix, suffix and presence",
        [allow(rule(source(trustDomains=["*.local"])))],
        let_in("of it", by=ANNA),
    ),
    policies(
        "trust-domains-presence",
        f"{SOURCE}: can be exact, prefix, suffix and presence",
        [allow(rule(source(trustDomains=["*"])))],
        let_in("of any", by=ANNA),
        refused("plaintext", _MTLS, by=NOBODY),
    ),
    policies(
        "not-trust-domains",
        f"{SOURCE}: a list of negative match of trust domains",
        [allow(rule(source(notTrustDomains=["cluster.local"])))],
        refused("of it", by=ANNA),
        let_in("plaintext: of none", by=NOBODY),
    ),
]

_ADDRESSES = [
    policies(
        "ip-blocks",
        f"{SOURCE}: IP blocks, populated from the source address of the IP packet; single IP and CIDR are supported",
        [allow(rule(source(ipBlocks=[ANNA.address, "10.77.200.2/31", "2001:db8::/32"])))],
        let_in("the one", by=ANNA),
        let_in("the first of the block", by=BERT),
        let_in("the last of the block", by=CLEO),
        refused("beyond the block", by=OTHER_ANNA),
        refused("in plaintext, beyond too", by=NOBODY),
        refused("what X-Forwarded-For says is not asked", by=NOBODY, headers=(("x-forwarded-for", ANNA.address),)),
    ),
    policies(
        "ip-blocks-of-everybody",
        f"{SOURCE}: CIDR is supported",
        [allow(rule(source(ipBlocks=["0.0.0.0/0"])))],
        let_in("anybody", by=ANNA),
        let_in("anybody in plaintext", by=NOBODY),
    ),
    policies(
        "ip-blocks-with-host-bits",
        f"{SOURCE}: CIDR is supported",
        [allow(rule(source(ipBlocks=["10.77.200.3/31"])))],
        let_in("the block is of two", by=BERT),
        let_in("the other of the two", by=CLEO),
        refused("beyond the block", by=OTHER_ANNA),
    ),
    policies(
        "not-ip-blocks",
        f"{SOURCE}: a list of negative match of IP blocks",
        [allow(rule(source(ipBlocks=["10.77.0.0/16"], notIpBlocks=[BERT.address])))],
        let_in("another", by=ANNA),
        refused("the exception", by=BERT),
    ),
    policies(
        "ip-blocks-and-principals",
        f"{SOURCE}: fields in the source are ANDed together",
        [allow(rule(source(ipBlocks=["10.77.200.0/30"], principals=["*anna", "*cleo"])))],
        let_in("both", by=ANNA),
        let_in("both, too", by=CLEO),
        refused("the address alone", by=BERT),
        refused("the name alone", by=OTHER_ANNA),
    ),
    policies(
        "remote-ip-blocks",
        f"{SOURCE}: IP blocks, populated from X-Forwarded-For header or proxy protocol",
        [allow(rule(source(remoteIpBlocks=["203.0.113.0/24", ANNA.address])))],
        let_in("without the header it is the peer", by=ANNA),
        refused("another peer", by=BERT),
        let_in("by the header", by=BERT, headers=(("x-forwarded-for", "203.0.113.9"),)),
        refused("by the header, somebody else", by=ANNA, headers=(("x-forwarded-for", "198.51.100.1"),)),
    ),
    policies(
        "not-remote-ip-blocks",
        f"{SOURCE}: a list of negative match of remote IP blocks",
        [allow(rule(source(notRemoteIpBlocks=["203.0.113.0/24"])))],
        let_in("the peer", by=BERT),
        refused("by the header", by=BERT, headers=(("x-forwarded-for", "203.0.113.9"),)),
        let_in("by the header, somebody else", by=BERT, headers=(("x-forwarded-for", "203.0.114.9"),)),
    ),
]

_SEVERAL = [
    policies(
        "several-sources",
        f"{RULE}: a match occurs when at least one source, one operation and all conditions matches",
        [
            allow(
                rule(
                    source(principals=["*/demo/sa/anna"]), source(namespaces=["other"]), source(ipBlocks=[BERT.address])
                )
            )
        ],
        let_in("by the first", by=ANNA),
        let_in("by the second", by=CLEO),
        let_in("by the third", by=BERT),
        refused("by none", by=ANNABEL),
    ),
]

TABLE = [*_PRINCIPALS, *_NAMESPACES, *_SERVICE_ACCOUNTS, *_TRUST_DOMAINS, *_ADDRESSES, *_SEVERAL]
