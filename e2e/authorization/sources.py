"""The table's rows by who calls: every field of a rule's ``from``."""

from __future__ import annotations

from e2e.authorization.cases import (
    ANNA,
    ANNABEL,
    BERT,
    NOBODY,
    OTHER_ANNA,
    UPPER_ANNA,
    allow,
    let_in,
    policies,
    refused,
    rule,
    source,
)

SOURCE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source"
RULE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule"

PRINCIPALS = [
    policies(
        "principals-exact",
        f"{SOURCE}: a list of peer identities, <TRUST_DOMAIN>/ns/<NAMESPACE>/sa/<SERVICE_ACCOUNT>",
        [allow(rule(source(principals=["cluster.local/ns/demo/sa/anna"])))],
        let_in("the one", by=ANNA),
        refused("another account", by=BERT),
        refused("the same account elsewhere", by=OTHER_ANNA),
        refused("a longer name", by=ANNABEL),
        refused("other case", by=UPPER_ANNA),
        refused("plaintext", "requires mTLS enabled", by=NOBODY),
    ),
]
TABLE = PRINCIPALS
