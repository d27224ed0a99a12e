"""The table's rows for ports whose protocol is TCP: connections are decided, by what is known of them."""

from __future__ import annotations

from typing import Any

from e2e.authorization.cases import (
    ANNA,
    BERT,
    CLEO,
    NOBODY,
    TCP,
    Case,
    allow,
    audit,
    deny,
    operation,
    policies,
    rule,
    source,
    when,
)
from e2e.authorization.cases import closed as _closed
from e2e.authorization.cases import let_in as _let_in
from e2e.authorization.cases import refused as http_refused
from e2e.authorization.documented import CONDITIONS, POLICY

TASK = "https://istio.io/latest/docs/tasks/security/authorization/authz-tcp/"
_IGNORED = f"{TASK}: an ALLOW rule with HTTP-only fields is invalid for TCP, and ignored"
_WIDER = f"{POLICY}: for a DENY rule, missing attributes are treated as matches"


def let_in(name: str, **request: Any) -> Case:
    return _let_in(name, port=TCP, **request)


def closed(name: str, **request: Any) -> Case:
    return _closed(name, port=TCP, **request)


TABLE = [
    policies(
        "tcp-no-policy",
        "https://istio.io/latest/docs/concepts/security/#implicit-enablement",
        [],
        let_in("anybody"),
        let_in("nobody", by=NOBODY),
    ),
    policies(
        "tcp-principals",
        f"{CONDITIONS}: source.principal: HTTP and TCP",
        [allow(rule(source(principals=["cluster.local/ns/demo/sa/anna"])))],
        let_in("the one"),
        closed("another", by=BERT),
        closed("plaintext", by=NOBODY),
        http_refused("by HTTP, too", by=BERT),
    ),
    policies(
        "tcp-not-principals",
        f"{POLICY}#Source: not_principals",
        [deny(rule(source(notPrincipals=["*/sa/anna"])))],
        let_in("the one"),
        closed("another", by=BERT),
        closed("plaintext", by=NOBODY),
    ),
    policies(
        "tcp-namespaces",
        f"{CONDITIONS}: source.namespace: HTTP and TCP",
        [allow(rule(source(namespaces=["other"])))],
        let_in("of it", by=CLEO),
        closed("of another"),
    ),
    policies(
        "tcp-service-accounts",
        f"{POLICY}#Source: serviceAccounts",
        [deny(rule(source(serviceAccounts=["bert"])))],
        let_in("another"),
        closed("the one", by=BERT),
    ),
    policies(
        "tcp-trust-domains",
        f"{POLICY}#Source: trustDomains",
        [allow(rule(source(trustDomains=["cluster.local"])))],
        let_in("of it"),
        closed("plaintext", by=NOBODY),
    ),
    policies(
        "tcp-ip-blocks",
        f"{CONDITIONS}: source.ip: HTTP and TCP",
        [allow(rule(source(ipBlocks=[BERT.address])))],
        let_in("the one", by=BERT),
        closed("another"),
    ),
    policies(
        "tcp-remote-ip-blocks",
        f"{POLICY}#Source: remoteIpBlocks; a connection has no X-Forwarded-For: it is the peer",
        [deny(rule(source(remoteIpBlocks=[BERT.address])))],
        closed("the one", by=BERT),
        let_in("another"),
        let_in("what the header says is bytes", headers=(("x-forwarded-for", BERT.address),)),
    ),
    policies(
        "tcp-ports",
        f"{TASK}: ports: the ALLOW policy for TCP",
        [allow(rule(operation(ports=["19081"])))],
        let_in("the one"),
        http_refused("another"),
    ),
    policies(
        "tcp-not-ports",
        f"{POLICY}#Operation: notPorts",
        [allow(rule(operation(notPorts=["19081"])))],
        closed("the one"),
        _let_in("another"),
    ),
    policies(
        "tcp-destination-and-sni",
        f"{CONDITIONS}: destination.ip, destination.port, connection.sni: HTTP and TCP",
        [
            allow(
                rule(
                    when("destination.ip", "10.77.1.0/24"),
                    when("destination.port", "19081"),
                    when("connection.sni", "tcp.example.com"),
                )
            )
        ],
        let_in("all", sni="tcp.example.com"),
        closed("not the name", sni="other.example.com"),
        closed("plaintext", by=NOBODY),
    ),
    policies(
        "tcp-conditions-of-the-source",
        f"{CONDITIONS}: source.ip, source.namespace, source.principal: HTTP and TCP",
        [
            allow(
                rule(
                    when("source.principal", "*/sa/anna"),
                    when("source.namespace", "demo"),
                    when("source.ip", "10.0.0.0/8"),
                ),
                rule(when("source.serviceAccount", "other/cleo")),
            )
        ],
        let_in("by the first", by=ANNA),
        let_in("by the second", by=CLEO),
        closed("by none", by=BERT),
    ),
    policies(
        "tcp-allow-with-methods",
        _IGNORED,
        [allow(rule(operation(methods=["POST"], ports=["19081"])))],
        closed("the rule is ignored, and allows nothing"),
    ),
    policies(
        "tcp-allow-with-paths-beside-another",
        _IGNORED,
        [allow(rule(operation(paths=["/*"])), rule(source(principals=["*/sa/anna"])))],
        let_in("by the rule without"),
        closed("by the rule with", by=BERT),
        _let_in("by the rule with, over HTTP", by=BERT),
    ),
    policies(
        "tcp-allow-with-one-operation-of-two",
        _IGNORED,
        [allow(rule(operation(paths=["/*"]), operation(ports=["19081"])))],
        closed("the whole rule is ignored"),
        _let_in("over HTTP"),
    ),
    policies(
        "tcp-allow-with-headers",
        _IGNORED,
        [allow(rule(when("request.headers[x-key]", "a")))],
        closed("the rule is ignored", headers=(("x-key", "a"),)),
    ),
    policies(
        "tcp-allow-with-hosts-and-tokens",
        _IGNORED,
        [
            allow(
                rule(operation(hosts=["*"])),
                rule(source(requestPrincipals=["*"])),
                rule(source(notRequestPrincipals=["a/b"])),
            )
        ],
        closed("all three are ignored"),
    ),
    policies(
        "tcp-deny-with-methods-and-ports",
        f"{_WIDER}: this means all TCP traffic on the port would be denied",
        [deny(rule(operation(methods=["GET"], ports=["19081"])))],
        closed("any"),
        closed("any in plaintext", by=NOBODY),
        _let_in("another port"),
    ),
    policies(
        "tcp-deny-with-methods-and-another-port",
        f"{POLICY}: it is recommended to always scope DENY policies to a specific port",
        [deny(rule(operation(methods=["POST"], ports=["19080"])))],
        let_in("any"),
        http_refused("the port"),
    ),
    policies(
        "tcp-deny-with-paths",
        f"{_WIDER}: if we were to remove the ports match, all TCP traffic would be denied",
        [deny(rule(operation(paths=["/nobodys"])))],
        closed("any"),
        _let_in("over HTTP another path"),
        http_refused("over HTTP the path", path="/nobodys"),
    ),
    policies(
        "tcp-deny-with-principals-and-paths",
        _WIDER,
        [deny(rule(source(principals=["*/sa/bert"]), operation(notPaths=["/hello.Greeter/*"])))],
        let_in("another"),
        closed("the one", by=BERT),
        _let_in("over HTTP the path", by=BERT),
    ),
    policies(
        "tcp-deny-with-headers",
        _WIDER,
        [deny(rule(when("request.headers[x-key]", "a"), when("source.namespace", "other")))],
        let_in("of another namespace"),
        closed("of the namespace", by=CLEO),
    ),
    policies(
        "tcp-deny-with-tokens",
        _WIDER,
        [deny(rule(source(notRequestPrincipals=["*"])))],
        closed("any"),
        http_refused("over HTTP without a token"),
    ),
    policies(
        "tcp-metadata",
        f"{CONDITIONS}: experimental.envoy.filters.*: HTTP and TCP",
        [allow(rule(when("experimental.envoy.filters.network.mysql_proxy[db.table]", not_values=("[update]",))))],
        let_in("absent metadata is not the value"),
    ),
    policies(
        "tcp-metadata-absent",
        f"{CONDITIONS}: experimental.envoy.filters.*: HTTP and TCP",
        [allow(rule(when("experimental.envoy.filters.network.mysql_proxy[db.table]", "[update]")))],
        closed("absent metadata matches nothing"),
    ),
    policies("tcp-allow-nothing", f"{POLICY}: spec: {{}}", [allow(name="nothing")], closed("anybody")),
    policies("tcp-deny-all", f"{POLICY}#Rule: an empty rule is always matched", [deny(rule())], closed("anybody")),
    policies(
        "tcp-deny-before-allow",
        f"{POLICY}: 2. if there are any DENY policies that match the request",
        [allow(rule()), deny(rule(source(principals=["*/sa/bert"]))), audit(rule(operation(paths=["/a"])))],
        let_in("allowed"),
        closed("denied", by=BERT),
    ),
    policies(
        "tcp-dry-run",
        "https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/",
        [deny(rule(), dry_run="true"), allow(name="nothing", dry_run="true")],
        let_in("anybody"),
    ),
]
