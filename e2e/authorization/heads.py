"""The table's rows by how hosts and headers are spelt, and by who says where a request comes from."""

from __future__ import annotations

from typing import Any

from e2e import yamls
from e2e.authorization.cases import (
    ANNA,
    BERT,
    GUARDED,
    HELLO,
    MALFORMED,
    NOBODY,
    allow,
    closed,
    deny,
    let_in,
    operation,
    policies,
    refused,
    rule,
    source,
    when,
)
from e2e.authorization.documented import NORMALIZATION

PRACTICES = "https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies"
TOPOLOGIES = "https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/"
REPEATED = "Envoy matches each line of a repeated header on its own (since 1.38); Istio says that lines are joined"

_ADMIN = "admin.example.com"

_HOSTS = [
    policies(
        "host-spelling-denied",
        f"{PRACTICES}: a host is compared as it is, but for case; use prefix matching for its ports",
        [deny(rule(operation(hosts=[_ADMIN])))],
        refused("plain", authority=_ADMIN),
        refused("other case", authority="ADMIN.Example.COM"),
        let_in("with a port", authority=f"{_ADMIN}:80"),
        let_in("with a port of letters", authority=f"{_ADMIN}:http"),
        let_in("with a dot behind", authority=f"{_ADMIN}."),
        let_in("with a dot and a port", authority=f"{_ADMIN}.:80"),
        let_in("below it", authority=f"a.{_ADMIN}"),
        refused("Host alone", authority=None, headers=(("host", _ADMIN),)),
        let_in("Host beside :authority is not asked", authority="shop", headers=(("host", _ADMIN),)),
        refused("Host beside :authority does not hide it", authority=_ADMIN, headers=(("host", "shop"),)),
        closed("no host at all", authority=None, ours=MALFORMED),
        closed("an empty one", authority="", ours=MALFORMED),
        closed("an empty Host", authority=None, headers=(("host", ""),), ours=MALFORMED),
        closed("a path in it", authority=f"{_ADMIN}/", ours=MALFORMED),
        closed("a space behind", authority=f"{_ADMIN} ", ours=MALFORMED),
        closed("a Host that is none beside it", authority="shop", headers=(("host", f"a@{_ADMIN}"),), ours=MALFORMED),
        let_in("two ports", authority=f"{_ADMIN}:80:81"),
        let_in("an encoded letter", authority="%61dmin.example.com"),
        let_in("by address", authority="10.77.1.1:19080"),
    ),
    policies(
        "host-spelling-allowed",
        f"{PRACTICES}: a host is compared as it is, but for case",
        [allow(rule(operation(hosts=["shop.example.com"])))],
        let_in("plain", authority="shop.example.com"),
        let_in("Host alone", authority=None, headers=(("host", "shop.example.com"),)),
        refused("with a port", authority="shop.example.com:9080"),
        refused("with a dot behind", authority="shop.example.com."),
        closed("a name before @", authority="shop.example.com@evil.org", ours=MALFORMED),
        refused("a list", authority="shop.example.com,evil.org"),
        refused("Host beside :authority", authority="evil.org", headers=(("host", "shop.example.com"),)),
    ),
    policies(
        "host-prefix-with-ports",
        f"{PRACTICES}: hosts: [example.com, example.com:*]",
        [deny(rule(operation(hosts=[_ADMIN, f"{_ADMIN}:*"])))],
        refused("plain", authority=_ADMIN),
        refused("with a port", authority=f"{_ADMIN}:80"),
        refused("with a port, other case", authority="ADMIN.example.com:80"),
        refused("with an empty port", authority=f"{_ADMIN}:"),
        let_in("with a dot behind", authority=f"{_ADMIN}."),
    ),
]

_TIER = "request.headers[x-tier]"


def _tier(*values: str) -> dict[str, Any]:
    return {"headers": tuple(("x-tier", value) for value in values)}


_HEADERS = [
    policies(
        "repeated-header-allowed",
        f"{NORMALIZATION}: duplicate headers",
        [allow(rule(when(_TIER, "gold")))],
        let_in("once", **_tier("gold")),
        let_in("among others", REPEATED, **_tier("tin", "gold")),
        let_in("twice the same", REPEATED, **_tier("gold", "gold")),
        refused("in one line with another", **_tier("gold,tin")),
        refused("in one line with another and a space", **_tier("gold, tin")),
        refused("split in two", **_tier("go", "ld")),
        refused("empty", **_tier("")),
    ),
    policies(
        "repeated-header-denied",
        f"{NORMALIZATION}: duplicate headers",
        [deny(rule(when(_TIER, "tin")))],
        refused("once", **_tier("tin")),
        refused("before another", REPEATED, **_tier("tin", "gold")),
        refused("behind another", REPEATED, **_tier("gold", "tin")),
        refused("twice", REPEATED, **_tier("tin", "tin")),
        let_in("in one line with another", **_tier("tin,gold")),
        let_in("other case", **_tier("TIN")),
        let_in("none"),
    ),
    policies(
        "repeated-header-not-values",
        f"{NORMALIZATION}: duplicate headers",
        [allow(rule(when(_TIER, not_values=("tin",))))],
        let_in("another", **_tier("gold")),
        refused("the one behind another", REPEATED, **_tier("gold", "tin")),
        let_in("none"),
        let_in("empty", **_tier("")),
    ),
    policies(
        "repeated-header-prefix-and-suffix",
        f"{NORMALIZATION}: duplicate headers",
        [deny(rule(when(_TIER, "tin*", "*lead")))],
        refused("by prefix, behind another", REPEATED, **_tier("gold", "tinned")),
        refused("by suffix, before another", REPEATED, **_tier("my lead", "gold")),
        let_in("a prefix within a line", **_tier("gold,tinned")),
        refused("a suffix of a whole line", **_tier("gold,lead")),
    ),
    policies(
        "empty-header-and-presence",
        "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule: presence; Envoy's presence"
        " is that of the header, whatever its value",
        [allow(rule(when(_TIER, "*")))],
        let_in("some value", **_tier("a")),
        let_in("an empty value", **_tier("")),
        refused("none"),
    ),
    policies(
        "header-names",
        f"{NORMALIZATION}: header names are compared with a case-insensitive approach",
        [deny(rule(when("request.headers[X-Tier]", "tin")))],
        refused("in the one case that HTTP/2 has", **_tier("tin")),
        let_in("with an underscore it is another", headers=(("x_tier", "tin"),)),
        closed("in upper case HTTP/2 has none", headers=(("X-Tier", "tin"),)),
        closed("with white space HTTP/2 has none", headers=(("x-tier ", "tin"),)),
    ),
    policies(
        "pseudo-headers-as-headers",
        "https://istio.io/latest/docs/reference/config/security/conditions/: request.headers",
        [
            allow(rule(when("request.headers[:path]", f"{HELLO}*"), when("request.headers[:method]", "POST"))),
            deny(rule(when("request.headers[:authority]", "admin*")), name="other"),
        ],
        let_in("both"),
        let_in("the path with its query", path=f"{HELLO}?a"),
        refused("another path", path="/a"),
        refused("another method", method="PUT"),
        refused("the host", authority="admin.example.com"),
    ),
    policies(
        "headers-of-the-protocol",
        "https://istio.io/latest/docs/reference/config/security/conditions/: request.headers",
        [allow(rule(when("request.headers[content-type]", "application/grpc*")))],
        let_in("a call of gRPC's"),
        let_in("one of its codecs", content_type="application/grpc+proto"),
        refused("another", content_type="text/plain"),
        refused("none", content_type=""),
    ),
    policies(
        "headers-of-gRPC",
        "https://istio.io/latest/docs/reference/config/security/conditions/: request.headers",
        [allow(rule(when("request.headers[grpc-timeout]", "*")), rule(when("request.headers[te]", "x")))],
        let_in("a time-out", headers=(("grpc-timeout", "5S"),)),
        refused("none"),
    ),
    policies(
        "cookies",
        "https://istio.io/latest/docs/reference/config/security/conditions/: request.headers",
        [allow(rule(when("request.headers[cookie]", "a=1; b=2")))],
        let_in("in one line", headers=(("cookie", "a=1; b=2"),)),
        let_in("in two, which HTTP/2 joins", headers=(("cookie", "a=1"), ("cookie", "b=2"))),
        refused("another order", headers=(("cookie", "b=2; a=1"),)),
    ),
    policies(
        "binary-header",
        "https://istio.io/latest/docs/reference/config/security/conditions/: request.headers",
        [allow(rule(when("request.headers[x-key-bin]", "AQI")))],
        let_in("as it is on the wire", headers=(("x-key-bin", "AQI"),)),
        refused("otherwise encoded", headers=(("x-key-bin", "AQI="),)),
    ),
]


def _from(*lines: str, by: Any = BERT) -> dict[str, Any]:
    return {"by": by, "headers": tuple(("x-forwarded-for", line) for line in lines)}


def _manager(**more: Any) -> dict[str, Any]:
    """An EnvoyFilter: what else a server's HTTP connection managers say."""
    name = "envoy.filters.network.http_connection_manager"
    kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    patch = {
        "applyTo": "NETWORK_FILTER",
        "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {"name": name}}}},
        "patch": {"operation": "MERGE", "value": {"name": name, "typed_config": {"@type": kind, **more}}},
    }
    spec = {"workloadSelector": {"labels": GUARDED}, "configPatches": [patch]}
    return yamls.resource("EnvoyFilter", "manager", spec) | {"apiVersion": "networking.istio.io/v1alpha3"}


_TRUSTED = f"{TOPOLOGIES}: a proxy in front is trusted for the last address; what comes before it anybody can write"
_BLOCK = "203.0.113.0/24"

_FORWARDED = [
    policies(
        "forwarded-for",
        _TRUSTED,
        [allow(rule(source(remoteIpBlocks=[_BLOCK])))],
        let_in("alone", **_from("203.0.113.9")),
        let_in("the last of two", **_from("198.51.100.1, 203.0.113.9")),
        refused("the first of two", **_from("203.0.113.9, 198.51.100.1")),
        let_in("the last without a space", **_from("198.51.100.1,203.0.113.9")),
        let_in("the last of two lines", **_from("198.51.100.1", "203.0.113.9")),
        refused("the first of two lines", **_from("203.0.113.9", "198.51.100.1")),
        refused("garbage: it is the peer", **_from("203.0.113.x")),
        refused("garbage at the end", **_from("203.0.113.9, unknown")),
        refused("with a port it is no address", **_from("203.0.113.9:80")),
        refused("nothing behind a comma", **_from("203.0.113.9,")),
        refused("empty", **_from("")),
        refused("another header", by=BERT, headers=(("forwarded", "for=203.0.113.9"),)),
        refused("another header of proxies", by=BERT, headers=(("x-real-ip", "203.0.113.9"),)),
        let_in("in plaintext", **_from("203.0.113.9", by=NOBODY)),
    ),
    policies(
        "forwarded-for-denied",
        _TRUSTED,
        [deny(rule(source(remoteIpBlocks=[BERT.address, "2001:db8::/32"])))],
        refused("the peer itself", by=BERT),
        let_in("a peer that says it is somebody else", **_from("203.0.113.9")),
        refused("IPv6", **_from("2001:db8::1", by=ANNA)),
        let_in("IPv6 in brackets is no address", **_from("[2001:db8::1]", by=ANNA)),
        let_in("another IPv6", **_from("2001:db9::1", by=ANNA)),
        refused("garbage leaves the peer", **_from("nobody")),
    ),
]

_HOPS = [
    policies(
        "forwarded-for-with-a-trusted-hop",
        f"{TOPOLOGIES}: numTrustedProxies: the client is that many addresses before the last",
        [_manager(xff_num_trusted_hops=1), allow(rule(source(remoteIpBlocks=[_BLOCK])))],
        let_in("the one before the last", **_from("203.0.113.9, 198.51.100.1")),
        refused("the last", **_from("198.51.100.1, 203.0.113.9")),
        refused("the first of three", **_from("203.0.113.9, 198.51.100.1, 198.51.100.2")),
        refused("too few: it is the peer", **_from("203.0.113.9")),
    ),
    policies(
        "forwarded-for-after-the-peer",
        f"{TOPOLOGIES}: a server at the edge takes its peer for the client, whatever the header says",
        [_manager(use_remote_address=True), deny(rule(source(remoteIpBlocks=[BERT.address, _BLOCK])))],
        refused("the peer", by=BERT),
        refused("the peer, whatever it says", **_from("198.51.100.1")),
        let_in("what is said of another peer", **_from("203.0.113.9", by=ANNA)),
    ),
    policies(
        "forwarded-for-after-the-peer-with-a-trusted-hop",
        f"{TOPOLOGIES}: numTrustedProxies: the peer is one of them, the client is the last address",
        [_manager(use_remote_address=True, xff_num_trusted_hops=1), allow(rule(source(remoteIpBlocks=[_BLOCK])))],
        let_in("the last", **_from("198.51.100.1, 203.0.113.9")),
        refused("the one before", **_from("203.0.113.9, 198.51.100.1")),
        refused("none: it is the peer", by=BERT),
    ),
]

TABLE = [*_HOSTS, *_HEADERS, *_FORWARDED, *_HOPS]
