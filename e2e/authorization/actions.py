"""The table's rows by what policies do: their actions, several at once, and for whom they are."""

from __future__ import annotations

from e2e.authorization.cases import (
    ANNA,
    BERT,
    CLEO,
    GUARDED,
    HELLO,
    NOBODY,
    allow,
    audit,
    authorization,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
    source,
)
from e2e.authorization.documented import POLICY

IMPLICIT = "https://istio.io/latest/docs/concepts/security/#implicit-enablement"
SCOPE = "https://istio.io/latest/docs/concepts/security/#policy-target"
DRY_RUN = "https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/"

_ANNA, _BERT, _CLEO = (rule(source(principals=[f"*/sa/{name}"])) for name in ("anna", "bert", "cleo"))
_ALL: dict[str, object] = rule()

_ACTIONS = [
    policies(
        "no-policy",
        f"{IMPLICIT}: workloads without policies allow all",
        [],
        let_in("anybody"),
        let_in("nobody", by=NOBODY),
    ),
    policies(
        "allow-nothing",
        f"{POLICY}: spec: {{}} allows nothing",
        [allow(name="nothing")],
        refused("anybody"),
        refused("nobody", by=NOBODY),
        refused("by HTTP, too", content_type="text/plain"),
    ),
    policies(
        "allow-nothing-of-the-namespace",
        f"{POLICY}: allow-nothing for all workloads in namespace foo",
        [allow(name="nothing", selector=None)],
        refused("anybody"),
    ),
    policies(
        "allow-all",
        f"{POLICY}: rules: [{{}}] allows all requests",
        [allow(_ALL)],
        let_in("anybody"),
        let_in("nobody", by=NOBODY),
    ),
    policies(
        "deny-all",
        f"{POLICY}#Rule: an empty rule is always matched",
        [deny(_ALL)],
        refused("anybody"),
        refused("nobody", by=NOBODY),
    ),
    policies(
        "deny-before-allow",
        f"{POLICY}: 2. if there are any DENY policies that match the request, deny the request",
        [allow(_ALL), deny(_BERT)],
        let_in("allowed"),
        refused("allowed and denied", by=BERT),
        let_in("allowed, nobody", by=NOBODY),
    ),
    policies(
        "deny-and-allow-apart",
        f"{POLICY}: 5. deny the request",
        [allow(_ANNA), deny(_BERT)],
        let_in("allowed"),
        refused("denied", by=BERT),
        refused("neither", by=CLEO),
    ),
    policies(
        "deny-alone",
        f"{POLICY}: 3. if there are no ALLOW policies for the workload, allow the request",
        [deny(_BERT)],
        let_in("not denied"),
        refused("denied", by=BERT),
    ),
    policies(
        "deny-all-before-allow-all",
        f"{POLICY}: 2. if there are any DENY policies that match the request, deny the request",
        [deny(_ALL), allow(_ALL)],
        refused("anybody"),
    ),
    policies(
        "allow-nothing-and-something",
        f"{POLICY}: 4. if any of the ALLOW policies match the request, allow the request",
        [allow(name="nothing", selector=None), allow(_ANNA, name="anna")],
        let_in("of the second"),
        refused("of neither", by=BERT),
    ),
    policies(
        "allow-two",
        f"{POLICY}: 4. if any of the ALLOW policies match the request, allow the request",
        [allow(_ANNA, name="one"), allow(_BERT, name="two")],
        let_in("by the first"),
        let_in("by the second", by=BERT),
        refused("by none", by=CLEO),
    ),
    policies(
        "allow-two-rules",
        f"{POLICY}#AuthorizationPolicy: a match occurs when at least one rule matches the request",
        [allow(_ANNA, _BERT)],
        let_in("by the first"),
        let_in("by the second", by=BERT),
        refused("by none", by=CLEO),
    ),
    policies(
        "deny-two",
        f"{POLICY}: 2. if there are any DENY policies that match the request, deny the request",
        [deny(_ANNA, name="one"), deny(_BERT, name="two")],
        refused("by the first"),
        refused("by the second", by=BERT),
        let_in("by none", by=CLEO),
    ),
    policies(
        "audit",
        f"{POLICY}: AUDIT policies do not affect whether requests are allowed or denied",
        [audit(_ANNA)],
        let_in("audited"),
        let_in("not audited", by=BERT),
    ),
    policies(
        "audit-nothing",
        f"{POLICY}: AUDIT policies do not affect whether requests are allowed or denied",
        [audit(name="nothing")],
        let_in("anybody"),
    ),
    policies(
        "audit-beside-the-others",
        f"{POLICY}: requests will be allowed or denied based solely on CUSTOM, DENY and ALLOW actions",
        [audit(_ALL), allow(_ANNA), deny(rule(operation(paths=["/admin*"])))],
        let_in("allowed"),
        refused("denied", path="/admin"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "allow-is-the-default",
        f"{POLICY}: default is ALLOW if not specified",
        [authorization("", _ANNA, name="unsaid")],
        let_in("allowed"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "many-rules",
        f"{POLICY}#AuthorizationPolicy: a match occurs when at least one rule matches the request",
        [allow(*(rule(operation(paths=[f"/many/{number}"])) for number in range(300)))],
        let_in("by the first", path="/many/0"),
        let_in("by the last", path="/many/299"),
        refused("by none", path="/many/300"),
    ),
]

_DRY_RUNS = [
    policies(
        "dry-run-deny",
        f"{DRY_RUN}: without actually enforcing it",
        [deny(_ALL, dry_run="true")],
        let_in("anybody"),
    ),
    policies(
        "dry-run-allow-nothing",
        f"{DRY_RUN}: without actually enforcing it",
        [allow(name="nothing", dry_run="true")],
        let_in("anybody"),
    ),
    policies(
        "dry-run-allow-beside-one-in-force",
        f"{DRY_RUN}: without actually enforcing it",
        [allow(_ANNA, name="one"), allow(_ALL, name="two", dry_run="true")],
        let_in("by the one in force"),
        refused("by the dry one", by=BERT),
    ),
    policies(
        "dry-run-deny-beside-one-in-force",
        f"{DRY_RUN}: without actually enforcing it",
        [deny(_ANNA, name="one"), deny(_ALL, name="two", dry_run="true")],
        refused("by the one in force"),
        let_in("by the dry one", by=BERT),
    ),
    policies(
        "dry-run-false",
        f"{DRY_RUN}: the annotation istio.io/dry-run says true",
        [deny(_ALL, dry_run="false")],
        refused("anybody"),
    ),
]

_SCOPES = [
    policies(
        "mesh-wide",
        f"{SCOPE}: if set to root namespace, the policy applies to all namespaces in a mesh",
        [allow(_ANNA, namespace="istio-system", selector=None)],
        let_in("allowed"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "mesh-wide-with-selector",
        f"{POLICY}: workloads containing label version: v1 in all namespaces in the mesh",
        [allow(_ANNA, namespace="istio-system", selector={"version": "v1"})],
        let_in("allowed"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "mesh-wide-with-another-selector",
        f"{POLICY}: workloads containing label version: v1 in all namespaces in the mesh",
        [allow(_ANNA, namespace="istio-system", selector={"version": "v2"})],
        let_in("anybody", by=BERT),
    ),
    policies(
        "namespace",
        f"{SCOPE}: metadata/namespace tells which namespace the policy applies",
        [allow(_ANNA, selector=None)],
        let_in("allowed"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "another-namespace",
        f"{SCOPE}: metadata/namespace tells which namespace the policy applies",
        [allow(name="nothing", namespace="other", selector=None)],
        let_in("anybody", by=BERT),
    ),
    policies(
        "another-workload",
        f"{SCOPE}: workload selector can be used to further restrict where a policy applies",
        [allow(name="nothing", selector={"guarded": "no"})],
        let_in("anybody", by=BERT),
    ),
    policies(
        "two-labels",
        f"{SCOPE}: workload selector can be used to further restrict where a policy applies",
        [allow(_ANNA, selector=GUARDED | {"version": "v1"}), deny(_ANNA, selector=GUARDED | {"version": "v2"})],
        let_in("allowed"),
        refused("not allowed", by=BERT),
    ),
    policies(
        "all-scopes-add-up",
        f"{POLICY}: 4. if any of the ALLOW policies match the request, allow the request",
        [
            allow(_ANNA, namespace="istio-system", selector=None),
            allow(_BERT, selector=None, name="namespace"),
            allow(_CLEO, name="workload"),
            deny(rule(operation(paths=["/admin*"])), namespace="istio-system", selector=None),
        ],
        let_in("by the mesh's", by=ANNA),
        let_in("by the namespace's", by=BERT),
        let_in("by the workload's", by=CLEO),
        refused("by none", by=NOBODY),
        refused("denied by the mesh's", by=CLEO, path="/admin"),
    ),
    policies(
        "same-name-in-two-namespaces",
        f"{SCOPE}: if set to root namespace, the policy applies to all namespaces in a mesh",
        [
            deny(_BERT, name="same", namespace="istio-system", selector=None),
            deny(_CLEO, name="same", selector=None),
        ],
        let_in("not denied"),
        refused("denied by the mesh's", by=BERT),
        refused("denied by the namespace's", by=CLEO),
    ),
    policies(
        "service-accounts-are-of-the-policys-namespace",
        f"{POLICY}#Source: <serviceaccount> may also be used to use the same namespace as the AuthorizationPolicy",
        [allow(rule(source(serviceAccounts=["anna"])), namespace="istio-system", selector=None)],
        refused("of the workload's namespace", path=HELLO),
    ),
]

TABLE = [*_ACTIONS, *_DRY_RUNS, *_SCOPES]
