"""Specs of policies that istiod refuses, and ones at the border that it takes: kind, spec, what our refusal says.

Whoever adds a row has istiod itself asked about it by `e2e/test_same_refusals.py`.
"""

from __future__ import annotations

from typing import NamedTuple

_LONG = "a" * 321
_SEVENTEEN = ", ".join(f"a{number}" for number in range(17))


class Row(NamedTuple):
    kind: str
    spec: str
    reason: str = ""  # empty: it is taken
    metadata: str = ""


def _rule(said: str, reason: str = "", action: str = "ALLOW") -> Row:
    return Row("AuthorizationPolicy", f"{{action: {action}, rules: [{said}]}}", reason)


def _source(said: str, reason: str = "") -> Row:
    return _rule(f"{{from: [{{source: {{{said}}}}}]}}", reason)


def _operation(said: str, reason: str = "") -> Row:
    return _rule(f"{{to: [{{operation: {{{said}}}}}]}}", reason)


def _when(key: str, said: str, reason: str = "") -> Row:
    return _rule(f'{{when: [{{key: "{key}", {said}}}]}}', reason)


def _whole(spec: str, reason: str = "", metadata: str = "") -> Row:
    return Row("AuthorizationPolicy", spec, reason, metadata)


def _custom(said: str, reason: str = "") -> Row:
    return _whole(f"{{action: CUSTOM, provider: {{name: a}}, rules: [{said}]}}", reason)


AUTHORIZATION = [
    _whole("{}"),
    _whole("{rules: []}"),
    _whole("{rules: [{}]}"),
    _whole("{action: DENY}", "spec.rules: are needed for DENY"),
    _whole("{action: DENY, rules: []}", "spec.rules: are needed for DENY"),
    _whole("{action: CUSTOM, provider: {name: a}}", "spec.rules: are needed for CUSTOM"),
    _whole("{action: CUSTOM, rules: [{}]}", "spec.provider: needs a name"),
    _whole("{action: CUSTOM, provider: {}, rules: [{}]}", "spec.provider: needs a name"),
    _whole("{action: AUDIT}"),
    _whole("{action: LOG}", "'LOG' is not one of ALLOW, DENY, AUDIT, CUSTOM"),
    _whole("{provider: {name: a}}", "spec.provider: is for the action CUSTOM only"),
    _whole("{provider: {}}", "spec.provider: is for the action CUSTOM only"),
    _whole("{selector: {}}"),
    _whole('{selector: {matchLabels: {"": a}}}', "has an empty key"),
    _whole('{selector: {matchLabels: {app: "a*"}}}', "wildcards are not supported"),
    _whole("{selector: {}, targetRef: {kind: Service, name: a}}", "only one of selector, targetRef"),
    _whole(
        "{targetRefs: [{kind: Service, name: a}], targetRef: {kind: Service, name: a}}",
        "only one of selector, targetRef",
    ),
    _whole("{targetRefs: [{kind: Service, name: a}, {kind: ServiceEntry, group: networking.istio.io, name: a}]}"),
    _whole("{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: a}]}"),
    _whole("{targetRefs: [{kind: GatewayClass, group: gateway.networking.k8s.io, name: a}]}"),
    _whole("{targetRefs: [{kind: Service, group: core, name: a}]}"),
    _whole("{targetRefs: [{kind: Gateway, name: a}]}", "is none that a policy may refer to"),
    _whole('{targetRefs: [{kind: Service, name: ""}]}', "targetRefs[0].name: must not be empty"),
    _whole("{targetRefs: [{kind: Service, name: a, namespace: b}]}", "cannot refer to another namespace"),
    _whole("{rules: [{}]}", "'maybe' is neither true nor false", 'annotations: {istio.io/dry-run: "maybe"}'),
    _whole("{rules: [{}]}", "", 'annotations: {istio.io/dry-run: "T"}'),
    _whole("{action: AUDIT, rules: [{}]}", "only an AuthorizationPolicy with", 'annotations: {istio.io/dry-run: "T"}'),
    Row("PeerAuthentication", "{}", "only an AuthorizationPolicy with", 'annotations: {istio.io/dry-run: "true"}'),
    _rule("{from: []}"),
    _rule("{from: [{}]}", "source: is missing"),
    _rule("{from: [{source: {}}]}", "from[0].source: must not be empty"),
    _rule("{to: [{}]}", "operation: is missing"),
    _rule("{to: [{operation: {}}]}", "to[0].operation: must not be empty"),
    _rule("{to: [{operation: {ports: []}}]}", "to[0].operation: must not be empty"),
    *(
        _source(f'{field}: [""]', f"{field}: has an empty value")
        for field in (
            *("principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces"),
            *("notNamespaces", "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains"),
        )
    ),
    _source('principals: ["a*b*c"]'),
    _source("principals: [a], serviceAccounts: [b]", "exclude principals and namespaces"),
    _source("notNamespaces: [a], notServiceAccounts: [b]", "exclude principals and namespaces"),
    _source("requestPrincipals: [a], serviceAccounts: [b], trustDomains: [c]"),
    _source("serviceAccounts: [a/b/c]", "is neither ACCOUNT nor NAMESPACE/ACCOUNT"),
    _source("serviceAccounts: [/b]", "is neither ACCOUNT nor NAMESPACE/ACCOUNT"),
    _source("serviceAccounts: [a/]", "is neither ACCOUNT nor NAMESPACE/ACCOUNT"),
    _source('serviceAccounts: ["*"]', "has no wildcards"),
    _source(f"serviceAccounts: [{_LONG}]", "is longer than 320"),
    _source(f"serviceAccounts: [{_SEVENTEEN}]", "has more than 16 values"),
    _source("trustDomains: [a/b]", "a trust domain has no /"),
    _source('trustDomains: ["a*b"]', "may only begin or end it"),
    _source('trustDomains: ["*a*"]', "more than one wildcard"),
    _source('ipBlocks: ["10.0.0.1/8", "::1", "::ffff:1.2.3.4", "1.2.3.4/0"]'),
    _source('ipBlocks: ["10.0.0.1/33"]', "is no IP address and no CIDR"),
    _source('notIpBlocks: ["10.0.0.1/08"]', "is no IP address and no CIDR"),
    _source('remoteIpBlocks: ["10.0.0"]', "is no IP address and no CIDR"),
    _source('notRemoteIpBlocks: ["010.0.0.1"]', "is no IP address and no CIDR"),
    _source('ipBlocks: ["fe80::1%eth0/64"]', "is no IP address and no CIDR"),
    _source('ipBlocks: [""]', "is no IP address and no CIDR"),
    *(
        _operation(f'{field}: [""]', f"{field}: has an empty value")
        for field in ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
    ),
    _operation('ports: ["0", "65535", "00080"]'),
    _operation('ports: ["65536"]', "is not a port"),
    _operation('notPorts: ["*"]', "is not a port"),
    _operation("ports: [80]", "must be a string, not the number"),
    _operation('paths: ["/a/{*}/b/{**}", "/{*}", "*/a*b", "/a//{x"]', "{ and } stand only in"),
    _operation('paths: ["/{**}/a/{*}"]', "{**} must be the last operator"),
    _operation('paths: ["/{**}/{**}"]', "{**} must be the last operator"),
    _operation('notPaths: ["/a{*}"]', "{ and } stand only in"),
    _operation('paths: ["/a//{*}"]', "is none that a template may have"),
    _operation('paths: ["/a*/{*}"]', "is none that a template may have"),
    _operation('paths: ["/{**}/a", "a", "/", "//", "/a~b/{*}/"]'),
    _when("", "values: [a]", "key: must not be empty"),
    _when("source.ip", "values: []", "source.ip needs values or notValues"),
    _when("source.ip", 'values: ["1.2.3.4"], notValues: [x]', "is no IP address and no CIDR"),
    _when("remote.ip", "values: [x]", "is no IP address and no CIDR"),
    _when("destination.ip", "notValues: [x]", "is no IP address and no CIDR"),
    _when("destination.port", 'values: ["x"]', "is not a port"),
    _when("source.serviceAccount", "values: [a/b/c]", "is neither ACCOUNT nor NAMESPACE/ACCOUNT"),
    _when("source.trustDomain", 'values: ["a*b"]', "may only begin or end it"),
    _when("source.trustDomain", "values: [a/b]"),
    _when("source.namespace", 'values: [""]', "has an empty value"),
    _when("request.headers", "values: [a]", "must have the form a[b]"),
    _when("request.headers[]", "values: [a]", "must have the form a[b]"),
    _when("request.headersx[a]", "values: [a]"),
    _when("request.auth.claims[a", "values: [a]", "must have the form a[b]"),
    _when("request.auth.claims[a][b]", "values: [a]"),
    _when("experimental.envoy.filters.a", "values: [a]", "must have the form a[b]"),
    _when("experimental.envoy.filters.a[b]", "values: [a]"),
    _when("source.user", "values: [a]", "is no attribute that Istio knows"),
    _when("destination.namespace", "values: [a]", "is no attribute that Istio knows"),
    _when("destination.labels[a]", "values: [a]", "is no attribute that Istio knows"),
    _when("source.IP", 'values: ["1.2.3.4"]', "is no attribute that Istio knows"),
    _custom('{from: [{source: {ipBlocks: ["1.2.3.4"], notRemoteIpBlocks: ["1.2.3.4"]}}]}'),
    _custom('{when: [{key: "request.headers[a]", values: [b]}, {key: connection.sni, values: [b]}]}'),
    *(
        _custom(f"{{from: [{{source: {{{field}: [a]}}}}]}}", "CUSTOM cannot choose by identities")
        for field in (
            *("principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces"),
            *("notNamespaces", "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains"),
        )
    ),
    *(
        _custom(f'{{when: [{{key: "{key}", values: [a]}}]}}', f"CUSTOM cannot choose by {key}")
        for key in (
            *("source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"),
            *("request.auth.principal", "request.auth.claims[a]"),
        )
    ),
]  # fmt: skip


def _tokens(rule: str, reason: str = "") -> Row:
    return Row("RequestAuthentication", f"{{jwtRules: [{{{rule}}}]}}", reason)


def _keys(jwks: str, reason: str = "") -> Row:
    return _tokens(f"issuer: a, jwks: '{jwks}'", reason)


def _key(said: str, reason: str = "") -> Row:
    return _keys(f'{{"keys":[{{{said}}}]}}', reason)


_X = '"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"'
_Y = '"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"'
_RSA = '"kty":"RSA","n":"0xObjM0UvS_oaazjpEYlAbwctEJ4L8pH3OuTb7qth7gUwqet","e":"AQAB"'
AUTHENTICATION = [
    Row("RequestAuthentication", "{}"),
    Row("RequestAuthentication", "{jwtRules: []}"),
    Row("RequestAuthentication", "{selector: {}, targetRef: {kind: Service, name: a}}", "only one of selector"),
    Row("RequestAuthentication", "{}", "only an AuthorizationPolicy with", 'annotations: {istio.io/dry-run: "true"}'),
    _tokens("", "jwtRules[0]: needs issuer or jwksUri"),
    _tokens("jwks: '{\"keys\":[]}'", "jwtRules[0]: needs issuer or jwksUri"),
    _tokens("jwksUri: https://127.0.0.1:1/b"),
    _tokens("jwksUri: HTTP://127.0.0.1:1/c"),
    _tokens("issuer: a, jwksUri: ftp://a/b", "begins with neither http:// nor https://"),
    _tokens("issuer: a, jwksUri: a/b", "begins with neither http:// nor https://"),
    _tokens("issuer: a, jwksUri: https://a:x/b", "is no host and port"),
    _tokens("issuer: a, jwksUri: https://a b/c", "is no host and port"),
    _tokens("issuer: a, jwksUri: https://a/%zz", "a % is not followed by"),
    _tokens('issuer: a, audiences: [b, ""]', "audiences: has an empty value"),
    _tokens('issuer: a, fromParams: [""]', "fromParams: has an empty value"),
    _tokens('issuer: a, fromCookies: [""]', "fromCookies: has an empty value"),
    _tokens("issuer: a, fromHeaders: [{}]", "fromHeaders[0].name: is missing"),
    _tokens('issuer: a, fromHeaders: [{name: ""}]', "fromHeaders[0].name: must not be empty"),
    _tokens("issuer: a, outputClaimToHeaders: [{header: a}]", "claim: is missing"),
    _tokens('issuer: a, outputClaimToHeaders: [{header: a, claim: ""}]', "claim: must not be empty"),
    _tokens("issuer: a, outputClaimToHeaders: [{header: X.a, claim: c}]", "is not the name of a header"),
    _tokens("issuer: a, timeout: 0s", "must be at least 1ms"),
    _tokens("issuer: a, timeout: 1.0005s", "in whole milliseconds"),
    _keys('{"keys":[]}'),
    _keys('{"keys":null}'),
    _keys(f"{{{_RSA}}}"),
    _key(f'{_RSA},"use":"sig","kid":"1","alg":"RS256"'),
    _key(f'"kty":"EC","crv":"P-256",{_X},{_Y}'),
    _key(f'"kty":"OKP","crv":"Ed25519",{_X}'),
    _key('"kty":"oct","k":"AAAA"'),
    _keys("x", "jwks: is not JSON"),
    _keys(" ", "jwks: is not JSON"),
    _keys("[]", 'has no list of "keys"'),
    _keys('{"keys":"x"}', 'has no list of "keys"'),
    _keys('{"keys":[1]}', "keys[0]: is no object"),
    _keys("{}", "its kty is none of"),
    _key("", "its kty is none of"),
    _key('"kty":"XX"', "its kty is none of"),
    _key('"kty":"RSA"', "n is missing"),
    _key('"kty":"oct"', "k is missing"),
    _key(f'"kty":"EC","crv":"P-256",{_X}', "y is missing"),
    _key('"kty":"OKP","crv":"Ed25519"', "x is missing"),
    _key('"kty":"RSA","n":"!!!","e":"AQAB"', "n is not base64url"),
    _key(f'{_RSA},"kid":1', "kid is no string"),
]  # fmt: skip


def document(row: Row) -> str:
    more = f", {row.metadata}" if row.metadata else ""
    head = f"apiVersion: security.istio.io/v1\nkind: {row.kind}\nmetadata: {{name: x, namespace: demo{more}}}\n"
    return f"{head}spec: {row.spec}\n"


def called(row: Row) -> str:
    return f"{row.kind} {row.spec[:60]} {row.metadata}".strip()
