"""Random policies and random requests: what the engine decides is what the slow evaluator decides, for each pair.

POLICY_PAIRS says how many; POLICY_SEED repeats a run that failed.
"""

from __future__ import annotations

import ipaddress
import os
import random
from dataclasses import dataclass

import pytest

from rpc._native import Managed, Rbac
from rpc.authorization.rbac import written
from tests.rpc.authorization import slow_evaluator
from xds_client import model as m

PAIRS = int(os.environ.get("POLICY_PAIRS", "100000"))
SEED = int(os.environ.get("POLICY_SEED", "20261130"))
REQUESTS = 200  # for each set of policies

WORDS = [
    "",
    "a",
    "ab",
    "b",
    "a.b",
    "A",
    "/s.T/M",
    "/s.T/N",
    "/s.T/",
    "spiffe://td/ns/x/sa/y",
    "spiffe://td/ns/z/sa/y",
    "7",
]
PATHS = ["/s.T/M", "/s.T/N", "/s.T/M?x=/a", "/s.U/M", "/a/b", "/a/b/c", "/a//c", "/", "/s.T/M#f", "/S.T/m", "/a.b"]
NAMES = ["x", "y", ":authority", "host", ":method", "x-long-name"]
PATTERNS = ["a.*", ".*/ns/x/.*", ".*", "", "(a|b)+", "[0-9]+", "/s\\.T/.*", ".*M", "a\\.b", ".*b.*", "A", "(?i)a"]
TEMPLATES = ["/a/*", "/a/**", "/*/M", "/{any}/b", "/**/c", "/a/b"]
NETWORKS = ["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "192.0.2.128/25", "::/0", "fd00::/8", "fd00::1/128"]
ADDRESSES = [None, "10.1.2.3", "10.200.0.1", "192.0.2.1", "192.0.2.200", "fd00::1", "fe80::1"]
FOUND = ["a", "ab", 1, 1.5, True, False, None, ["a", "b"], [], [1, "ab"], {"a": "a", "b": ["a", 7]}, {}]


@dataclass
class Asked:
    """A request that is written down, as `Rbac.decide_all` reads it."""

    path: bytes
    headers: list[tuple[str, bytes]]
    peer: object
    client: object
    local: tuple[object, int] | None
    server_name: str
    names: tuple[list[bytes], list[bytes], bytes] | None
    metadata: dict[str, object]


class Dice(random.Random):
    def text(self):
        kind = self.choice(list(m.StringMatchKind))
        value = self.choice(PATTERNS if kind is m.StringMatchKind.REGEX else [*WORDS, *PATHS])
        return m.StringMatch(kind, value, ignore_case=self.random() < 0.2)

    def network(self):
        return ipaddress.ip_network(self.choice(NETWORKS))

    def some(self, make, most=3):
        return tuple(make() for _ in range(self.randrange(most + 1)))

    # ---- rules

    def header(self):
        kind = self.randrange(5)
        rule = self.text()
        if kind == 0:
            rule = m.PresentMatch(self.random() < 0.5)
        elif kind == 1:
            rule = m.RangeMatch(self.choice([0, 7]), self.choice([7, 8, 100]))
        return m.HeaderMatch(self.choice(NAMES), rule, self.random() < 0.3, self.random() < 0.3)

    def value(self, depth=2):
        kinds = [
            self.text,
            lambda: m.PresentMatch(self.random() < 0.7),
            m.NullMatch,
            lambda: m.BoolMatch(self.random() < 0.5),
            lambda: m.DoubleMatch(1.0, self.choice([1.0, 1.5, 2.0])),
        ]
        if depth:
            kinds.append(lambda: m.ListMatch(self.value(depth - 1)))
            kinds.append(lambda: m.AnyValueMatch(self.some(lambda: self.value(depth - 1))))
        return self.choice(kinds)()

    def metadata(self):
        path = tuple(self.choice("ab") for _ in range(self.randrange(1, 3)))
        return m.SourcedMetadata(m.MetadataMatch(self.choice("fg"), path, self.value(), self.random() < 0.3))

    def nested(self, make, depth):
        kind = self.randrange(3)
        if kind == 0:
            return m.Not(make(depth - 1))
        return (m.AllOf, m.AnyOf)[kind - 1](self.some(lambda: make(depth - 1)))

    def either(self, depth, make):
        """What permissions and principals share."""
        if depth and self.random() < 0.4:
            return self.nested(make, depth)
        return self.choice([m.Anything, self.header, self.path, self.path, self.metadata])()

    def path(self):
        return m.UrlPath(self.text())

    def permission(self, depth=3):
        if self.random() < 0.6:
            return self.either(depth, self.permission)
        start = self.choice([0, 80, 443])
        return self.choice(
            [
                lambda: m.DestinationIp(self.network()),
                lambda: m.DestinationPorts(start, start + self.choice([1, 400])),
                lambda: m.RequestedServerName(self.text()),
                lambda: m.UriTemplate(self.choice(TEMPLATES)),
            ]
        )()

    def principal(self, depth=3):
        if self.random() < 0.5:
            return self.either(depth, self.principal)
        return self.choice(
            [
                lambda: m.Authenticated(None if self.random() < 0.2 else self.text()),
                lambda: m.CallerIp(self.network(), self.choice(list(m.Address))),
            ]
        )()

    def rules(self):
        policies = {
            f"ns[{self.choice('ab')}]-policy[{number}]": m.RbacPolicy(
                self.some(self.permission), self.some(self.principal)
            )
            for number in self.sample(range(20), self.randrange(8))
        }
        return m.Rbac(self.choice(list(m.RbacAction)), tuple(sorted(policies.items())))

    # ---- requests

    def bytes(self):
        return self.choice([*WORDS, "\u00e9", "a\n"]).encode() if self.random() < 0.95 else b"\xff"

    def request(self):
        path = self.choice(PATHS).encode()
        headers = [(":path", path), (":method", b"POST")]
        headers += [(self.choice(NAMES), self.bytes()) for _ in range(self.randrange(5))]
        address = [one and ipaddress.ip_address(one) for one in (self.choice(ADDRESSES) for _ in range(3))]
        names = None
        if self.random() < 0.8:
            names = (list(self.some(self.bytes, 2)), list(self.some(self.bytes, 2)), self.bytes())
        return Asked(
            path,
            headers,
            address[0],
            address[1],
            None if address[2] is None else (address[2], self.choice([80, 443, 9080])),
            self.choice(WORDS),
            names,
            {name: {key: self.choice(FOUND) for key in "ab" if self.random() < 0.7} for name in "fg"},
        )


def never(*_):
    raise AssertionError("nobody is to be told")


@pytest.mark.timeout(600)
def test_the_engine_decides_as_the_slow_evaluator_does():
    told = {True: 0, False: 0}
    for number in range(-(-PAIRS // REQUESTS)):
        dice = Dice(SEED + number)
        filters = [dice.rules() for _ in range(dice.randrange(1, 4))]
        engine = Rbac([(written(rules), None, "") for rules in filters], Managed(), never, never, never, never)
        requests = [dice.request() for _ in range(REQUESTS)]
        for request, found in zip(requests, engine.decide_all(requests), strict=True):
            expected = slow_evaluator.decide_all(filters, request)
            assert found == expected, f"POLICY_SEED={SEED + number}\n{filters}\n{request}"
            told[expected[0]] += 1
    assert min(told.values()) > PAIRS // 20
