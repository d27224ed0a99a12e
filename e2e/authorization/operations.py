"""The table's rows by what is called: every field of a rule's ``to``."""

from __future__ import annotations

from e2e.authorization.cases import (
    BERT,
    DECLARED,
    HELLO,
    NOBODY,
    UNDECLARED,
    allow,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
    source,
)
from e2e.authorization.documented import OPERATION, RULE

_PATHS = [
    policies(
        "paths-exact",
        f"{OPERATION}: for gRPC service, this will be the fully-qualified name in the form of /package.service/method",
        [allow(rule(operation(paths=[HELLO])))],
        let_in("the method"),
        let_in("the method, from anybody", by=NOBODY),
        refused("another method", path="/hello.Greeter/Chat"),
        refused("more than it", path=f"{HELLO}2"),
        refused("less than it", path="/hello.Greeter/SayHell"),
        refused("other case", path="/hello.greeter/sayhello"),
        refused("below it", path=f"{HELLO}/"),
    ),
    policies(
        "paths-prefix",
        f"{RULE}: `abc*` will match on value `abc` and `abcd`",
        [allow(rule(operation(paths=["/hello.Greeter/*"])))],
        let_in("one of the service"),
        let_in("another of the service", path="/hello.Greeter/Chat"),
        let_in("the prefix alone", path="/hello.Greeter/"),
        refused("another service", path="/hello.Greeters/SayHello"),
        refused("without the slash", path="/hello.Greeter"),
    ),
    policies(
        "paths-suffix",
        f"{RULE}: `*abc` will match on value `abc` and `xabc`",
        [allow(rule(operation(paths=["*/SayHello"])))],
        let_in("of one service"),
        let_in("of another service", path="/other.Service/SayHello"),
        let_in("the suffix alone", path="/SayHello"),
        refused("more than it", path="/hello.Greeter/SayHello2"),
    ),
    policies(
        "paths-presence",
        f"{RULE}: `*` will match when value is not empty",
        [allow(rule(operation(paths=["*"])))],
        let_in("any"),
        let_in("the shortest", path="/"),
    ),
    policies(
        "not-paths",
        f"{OPERATION}: a list of negative match of paths",
        [allow(rule(operation(paths=["/hello.Greeter/*"], notPaths=["/hello.Greeter/Chat", "*Hellos"])))],
        let_in("of the service"),
        refused("the first exception", path="/hello.Greeter/Chat"),
        refused("the second exception", path="/hello.Greeter/ListHellos"),
        let_in("longer than the exception", path="/hello.Greeter/Chats"),
    ),
    policies(
        "deny-paths",
        f"{OPERATION}: a list of paths as specified in the HTTP request",
        [deny(rule(operation(paths=["/hello.Greeter/Chat", "/admin*"])))],
        let_in("another"),
        refused("the one", path="/hello.Greeter/Chat"),
        refused("by prefix", path="/admin/users"),
        let_in("other case", path="/ADMIN/users"),
    ),
    policies(
        "path-template-one-segment",
        f"{OPERATION}: /foo/{{*}} matches /foo/bar but not /foo/bar/baz",
        [allow(rule(operation(paths=["/foo/{*}"])))],
        let_in("a segment", path="/foo/bar"),
        refused("two segments", path="/foo/bar/baz"),
        refused("no segment", path="/foo"),
        refused("an empty segment", path="/foo/"),
    ),
    policies(
        "path-template-rest-and-slash",
        f"{OPERATION}: /foo/{{**}}/ matches /foo/bar/, /foo/bar/baz.txt/ and /foo// but not /foo/bar",
        [allow(rule(operation(paths=["/foo/{**}/"])))],
        let_in("a segment", path="/foo/bar/"),
        let_in("nothing between", path="/foo//"),
        refused("no slash behind", path="/foo/bar"),
    ),
    policies(
        "path-template-both",
        f"{OPERATION}: /foo/{{*}}/bar/{{**}} matches /foo/buzz/bar/ and /foo/buzz/bar/baz",
        [allow(rule(operation(paths=["/foo/{*}/bar/{**}"])))],
        let_in("nothing behind", path="/foo/buzz/bar/"),
        let_in("a segment behind", path="/foo/buzz/bar/baz"),
        let_in("more behind", path="/foo/buzz/bar/baz/a/b"),
        refused("two segments before", path="/foo/buzz/x/bar/baz"),
        refused("no segment before", path="/foo/bar/baz"),
    ),
    policies(
        "not-path-template",
        f"{OPERATION}: a list of negative match of paths",
        [deny(rule(operation(notPaths=["/public/{*}", "/hello.Greeter/{**}"])))],
        let_in("by the second"),
        let_in("by the first", path="/public/a"),
        refused("deeper than the first", path="/public/a/b"),
    ),
]

_METHODS = [
    policies(
        "methods",
        f"{OPERATION}: for gRPC service, this will always be POST",
        [allow(rule(operation(methods=["POST"])))],
        let_in("a call of gRPC's"),
        refused("GET", method="GET"),
        refused("PUT", method="PUT"),
    ),
    policies(
        "methods-wild",
        f"{RULE}: any string field supports exact, prefix, suffix and presence match",
        [allow(rule(operation(methods=["PO*", "*TCH"])))],
        let_in("by prefix"),
        refused("by neither", method="GET"),
    ),
    policies(
        "not-methods",
        f"{OPERATION}: a list of negative match of methods",
        [deny(rule(operation(notMethods=["POST"])))],
        let_in("the only one"),
        refused("another", method="GET"),
    ),
    policies(
        "deny-methods",
        f"{OPERATION}: a list of methods as specified in the HTTP request",
        [deny(rule(operation(methods=["POST"], paths=["/hello.Greeter/Chat"])))],
        let_in("another path"),
        refused("both", path="/hello.Greeter/Chat"),
    ),
]

_PORTS = [
    policies(
        "ports",
        f"{OPERATION}: a list of ports as specified in the connection",
        [allow(rule(operation(ports=["19080"])))],
        let_in("the one", port=DECLARED),
        refused("another", port=UNDECLARED),
        refused("another, in plaintext", port=UNDECLARED, by=NOBODY),
    ),
    policies(
        "ports-of-the-service-are-not-the-workloads",
        f"{OPERATION}: ports as specified in the connection (the workload's, not the Service's)",
        [allow(rule(operation(ports=["9080"])))],
        refused("the Service's port", port=DECLARED),
    ),
    policies(
        "not-ports",
        f"{OPERATION}: a list of negative match of ports",
        [allow(rule(operation(notPorts=["19082"])))],
        let_in("another", port=DECLARED),
        refused("the one", port=UNDECLARED),
    ),
    policies(
        "deny-ports-and-paths",
        f"{OPERATION}: fields in the operation are ANDed together",
        [deny(rule(operation(ports=["19082"], paths=[HELLO])))],
        let_in("the path alone", port=DECLARED),
        let_in("the port alone", port=UNDECLARED, path="/hello.Greeter/Chat"),
        refused("both", port=UNDECLARED),
    ),
]

_HOSTS = [
    policies(
        "hosts-exact",
        f"{OPERATION}: a list of hosts as specified in the HTTP request. The match is case-insensitive",
        [allow(rule(operation(hosts=["shop.demo.svc.cluster.local:9080", "shop.example.com"])))],
        let_in("with its port"),
        let_in("the other", authority="shop.example.com"),
        let_in("other case", authority="SHOP.example.COM"),
        refused("another", authority="shop.example.org"),
        refused("below it", authority="a.shop.example.com"),
    ),
    policies(
        "hosts-prefix",
        "https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies : host:* for its ports",
        [allow(rule(operation(hosts=["shop.example.com:*", "shop.example.com"])))],
        let_in("with any port", authority="shop.example.com:81"),
        let_in("without", authority="shop.example.com"),
        let_in("other case", authority="Shop.Example.Com:81"),
        refused("longer", authority="shop.example.com.evil.org"),
    ),
    policies(
        "hosts-suffix",
        f"{OPERATION}: hosts: [*.example.com] matches if the host has suffix .example.com",
        [allow(rule(operation(hosts=["*.example.com"])))],
        let_in("below it", authority="shop.example.com"),
        let_in("far below it", authority="a.b.example.com"),
        let_in("other case", authority="SHOP.EXAMPLE.COM"),
        refused("itself", authority="example.com"),
        refused("with a port", authority="shop.example.com:80"),
        refused("ends otherwise", authority="shop.example.community"),
    ),
    policies(
        "hosts-presence",
        f"{RULE}: `*` will match when value is not empty",
        [allow(rule(operation(hosts=["*"])))],
        let_in("any", authority="whatever"),
    ),
    policies(
        "not-hosts",
        f"{OPERATION}: a list of negative match of hosts. The match is case-insensitive",
        [allow(rule(operation(notHosts=["admin.example.com", "*.internal"])))],
        let_in("another", authority="shop.example.com"),
        refused("the one", authority="admin.example.com"),
        refused("the one in other case", authority="ADMIN.example.com"),
        refused("by suffix", authority="x.INTERNAL"),
    ),
    policies(
        "deny-hosts",
        f"{OPERATION}: a list of hosts as specified in the HTTP request. The match is case-insensitive",
        [deny(rule(operation(hosts=["admin.example.com", "admin.example.com:*"])))],
        let_in("another", authority="shop.example.com"),
        refused("the one", authority="admin.example.com"),
        refused("with a port", authority="admin.example.com:8080"),
        refused("other case", authority="Admin.Example.com:8080"),
    ),
]

_SEVERAL = [
    policies(
        "several-operations",
        f"{RULE}: a match occurs when at least one source, one operation and all conditions matches",
        [
            allow(
                rule(
                    source(principals=["*anna"]),
                    operation(paths=[HELLO]),
                    operation(paths=["/admin*"], hosts=["admin.*"]),
                    operation(methods=["DELETE"]),
                )
            )
        ],
        let_in("by the first"),
        let_in("by the second", path="/admin/a", authority="admin.example.com"),
        let_in("by the third", method="DELETE", path="/a"),
        refused("half of the second", path="/admin/a"),
        refused("none", path="/a"),
        refused("an operation, but no source", by=BERT),
    ),
    policies(
        "istio's-own-example",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/ : the httpbin example",
        [
            allow(
                rule(
                    source(principals=["cluster.local/ns/demo/sa/anna"]),
                    source(namespaces=["other"]),
                    operation(methods=["GET"], paths=["/info*"]),
                    operation(methods=["POST"], paths=["/data"]),
                )
            )
        ],
        let_in("GET /info", method="GET", path="/info"),
        let_in("GET /info/a", method="GET", path="/info/a"),
        let_in("POST /data", path="/data"),
        refused("POST /info", path="/info"),
        refused("GET /data", method="GET", path="/data"),
        refused("POST /data/a", path="/data/a"),
        refused("POST /data by somebody else", path="/data", by=BERT),
        refused("POST /data by nobody", path="/data", by=NOBODY),
    ),
]

TABLE = [*_PATHS, *_METHODS, *_PORTS, *_HOSTS, *_SEVERAL]
