"""The table's rows by conditions: every key of a rule's ``when`` but those of tokens (`claims`)."""

from __future__ import annotations

from e2e.authorization.cases import (
    ANNA,
    ANNABEL,
    BERT,
    CLEO,
    DECLARED,
    DEMO_2,
    HELLO,
    NOBODY,
    OTHER_ANNA,
    UNDECLARED,
    allow,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
    source,
    when,
)
from e2e.authorization.documented import CONDITIONS, RULE

CONDITION = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Condition"

_HEADERS = [
    policies(
        "header-exact",
        f"{CONDITIONS}: request.headers: HTTP request headers",
        [allow(rule(when("request.headers[x-tier]", "gold", "silver")))],
        let_in("the first", headers=(("x-tier", "gold"),)),
        let_in("the second", headers=(("x-tier", "silver"),)),
        refused("another", headers=(("x-tier", "bronze"),)),
        refused("other case", headers=(("x-tier", "Gold"),)),
        refused("more than it", headers=(("x-tier", "golden"),)),
        refused("none"),
    ),
    policies(
        "header-prefix",
        f"{CONDITIONS}: key: request.headers[User-Agent] values: [Mozilla/*]",
        [allow(rule(when("request.headers[User-Agent]", "grpc-*")))],
        let_in("begins so", headers=(("user-agent", "grpc-python/1.0"),)),
        refused("does not", headers=(("user-agent", "my grpc-python/1.0"),)),
        refused("none"),
    ),
    policies(
        "header-suffix",
        f"{RULE}: any string field supports suffix match",
        [allow(rule(when("request.headers[x-mail]", "*@example.com")))],
        let_in("ends so", headers=(("x-mail", "a@example.com"),)),
        refused("does not", headers=(("x-mail", "a@example.com.org"),)),
    ),
    policies(
        "header-presence",
        f"{RULE}: `*` will match when value is not empty",
        [allow(rule(when("request.headers[x-any]", "*")))],
        let_in("some value", headers=(("x-any", "a"),)),
        refused("none"),
    ),
    policies(
        "header-not",
        f"{CONDITION}: a list of negative match of values for the attribute",
        [allow(rule(when("request.headers[x-tier]", not_values=("bronze", "tin*"))))],
        let_in("another", headers=(("x-tier", "gold"),)),
        refused("the one", headers=(("x-tier", "bronze"),)),
        refused("by prefix", headers=(("x-tier", "tinned"),)),
        let_in("none"),
    ),
    policies(
        "header-values-and-not-values",
        f"{CONDITION}: values and notValues",
        [allow(rule(when("request.headers[x-tier]", "g*", not_values=("gone",))))],
        let_in("of the values", headers=(("x-tier", "gold"),)),
        refused("of both", headers=(("x-tier", "gone"),)),
        refused("of none", headers=(("x-tier", "silver"),)),
    ),
    policies(
        "header-deny-not-present",
        f"{CONDITION}: a list of negative match of values for the attribute",
        [deny(rule(when("request.headers[x-key]", not_values=("*",))))],
        let_in("some value", headers=(("x-key", "a"),)),
        refused("none"),
    ),
    policies(
        "two-headers",
        f"{RULE}: at least one source, one operation and all conditions",
        [allow(rule(when("request.headers[x-a]", "1"), when("request.headers[x-b]", "2")))],
        let_in("both", headers=(("x-a", "1"), ("x-b", "2"))),
        refused("one", headers=(("x-a", "1"),)),
        refused("crossed", headers=(("x-a", "2"), ("x-b", "1"))),
    ),
]

_PEERS = [
    policies(
        "when-source-ip",
        f"{CONDITIONS}: source.ip: supports single IP or CIDR",
        [allow(rule(when("source.ip", ANNA.address, "10.77.200.2/31", not_values=(CLEO.address,))))],
        let_in("the one", by=ANNA),
        let_in("in the block", by=BERT),
        refused("the exception", by=CLEO),
        refused("another", by=OTHER_ANNA),
    ),
    policies(
        "when-remote-ip",
        "https://istio.io/latest/docs/tasks/security/authorization/authz-ingress/ : remote.ip by X-Forwarded-For",
        [allow(rule(when("remote.ip", "203.0.113.0/24", not_values=("203.0.113.7",))))],
        let_in("of the block", headers=(("x-forwarded-for", "203.0.113.9"),)),
        refused("the exception", headers=(("x-forwarded-for", "203.0.113.7"),)),
        refused("another", headers=(("x-forwarded-for", "198.51.100.7"),)),
        refused("none"),
    ),
    policies(
        "when-source-namespace",
        f"{CONDITIONS}: source.namespace",
        [allow(rule(when("source.namespace", "demo", "oth*")))],
        let_in("the first", by=ANNA),
        let_in("the second", by=CLEO),
        refused("another", by=DEMO_2),
        refused("none", by=NOBODY),
    ),
    policies(
        "when-not-source-namespace",
        f"{CONDITIONS}: source.namespace",
        [deny(rule(when("source.namespace", not_values=("demo",))))],
        let_in("the one", by=ANNA),
        refused("another", by=CLEO),
        refused("none", by=NOBODY),
    ),
    policies(
        "when-source-principal",
        f"{CONDITIONS}: source.principal: the identity of the source workload",
        [allow(rule(when("source.principal", "cluster.local/ns/demo/sa/anna", "*/cleo")))],
        let_in("the first", by=ANNA),
        let_in("the second", by=CLEO),
        refused("another", by=ANNABEL),
        refused("none", by=NOBODY),
    ),
    policies(
        "when-not-source-principal",
        f"{CONDITIONS}: source.principal",
        [allow(rule(when("source.principal", not_values=("*bert",))))],
        let_in("another", by=ANNA),
        refused("the one", by=BERT),
        let_in("none", by=NOBODY),
    ),
    policies(
        "when-source-service-account",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source: same as the attribute",
        [allow(rule(when("source.serviceAccount", "other/anna", "bert")))],
        let_in("the first", by=OTHER_ANNA),
        let_in("the second, of the policy's namespace", by=BERT),
        refused("another", by=ANNA),
    ),
    policies(
        "when-source-trust-domain",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source: same as the attribute",
        [deny(rule(when("source.trustDomain", not_values=("cluster.*",))))],
        let_in("of it", by=ANNA),
        refused("of none", by=NOBODY),
    ),
]

_DESTINATION = [
    policies(
        "when-destination-ip",
        f"{CONDITIONS}: destination.ip: supports single IP or CIDR",
        [allow(rule(when("destination.ip", "10.77.1.0/24")))],
        let_in("of the block"),
    ),
    policies(
        "when-destination-ip-elsewhere",
        f"{CONDITIONS}: destination.ip",
        [allow(rule(when("destination.ip", "10.77.2.0/24", "127.0.0.1", "10.96.0.10")))],
        refused("not of it"),
    ),
    policies(
        "when-not-destination-ip",
        f"{CONDITIONS}: destination.ip",
        [deny(rule(when("destination.ip", not_values=("10.77.1.0/24",))))],
        let_in("of the block"),
    ),
    policies(
        "when-destination-port",
        f"{CONDITIONS}: destination.port: the recipient port on the server IP address",
        [allow(rule(when("destination.port", "19080", "8080")))],
        let_in("the one", port=DECLARED),
        refused("another", port=UNDECLARED),
    ),
    policies(
        "when-not-destination-port",
        f"{CONDITIONS}: destination.port",
        [deny(rule(when("destination.port", not_values=("19080",))))],
        let_in("the one", port=DECLARED),
        refused("another", port=UNDECLARED),
    ),
    policies(
        "when-sni",
        f"{CONDITIONS}: connection.sni: the server name indication",
        [allow(rule(when("connection.sni", "www.example.com", "*.shop.example.com")))],
        let_in("the one", sni="www.example.com"),
        let_in("by suffix", sni="a.shop.example.com"),
        refused("another", sni="example.com"),
        refused("none, in plaintext", by=NOBODY),
    ),
    policies(
        "when-not-sni",
        f"{CONDITIONS}: connection.sni",
        [allow(rule(when("connection.sni", not_values=("www.example.com",))))],
        let_in("another", sni="example.com"),
        refused("the one", sni="www.example.com"),
        let_in("none, in plaintext", by=NOBODY),
    ),
]

_OTHERS = [
    policies(
        "when-metadata-that-nobody-gives",
        f"{CONDITIONS}: experimental.envoy.filters.*: experimental metadata matching for filters",
        [allow(rule(when("experimental.envoy.filters.network.mysql_proxy[db.table]", "[update]", "a")))],
        refused("absent metadata matches nothing"),
    ),
    policies(
        "when-not-metadata-that-nobody-gives",
        f"{CONDITIONS}: experimental.envoy.filters.*",
        [allow(rule(when("experimental.envoy.filters.network.mysql_proxy[db.table]", not_values=("[update]",))))],
        let_in("absent metadata is not the value"),
    ),
    policies(
        "all-parts-of-a-rule",
        f"{RULE}: at least one source, one operation and all conditions",
        [
            allow(
                rule(
                    source(namespaces=["demo"]),
                    operation(paths=[HELLO]),
                    when("request.headers[x-key]", "1"),
                    when("destination.port", "19080"),
                )
            )
        ],
        let_in("all", headers=(("x-key", "1"),)),
        refused("not the source", by=CLEO, headers=(("x-key", "1"),)),
        refused("not the operation", path="/a", headers=(("x-key", "1"),)),
        refused("not the first condition"),
        refused("not the second condition", headers=(("x-key", "1"),), port=UNDECLARED),
    ),
]

TABLE = [*_HEADERS, *_PEERS, *_DESTINATION, *_OTHERS]
