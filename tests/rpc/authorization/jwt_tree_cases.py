"""Cases of `jwt_cases` about requirements that an EnvoyFilter may make, and istiod does not: trees, lifetimes."""

from __future__ import annotations

from typing import Any

from tests.rpc.authorization.jwt_cases import (
    BAD_FORMAT,
    EXPIRED,
    FAILS,
    MISSING,
    UNKNOWN_ISSUER,
    WRONG_AUDIENCE,
    Case,
    Rule,
    bearer,
    provider,
    rule,
)
from tests.rpc.authorization.tokens import DAY, NOW, OTHER_ISSUER, RSA_1, Rsa

Config = dict[str, Any]

GOOD = RSA_1.token("RS256")
BAD = Rsa("rsa-1").token("RS256")
OLD = RSA_1.token("RS256", exp=1)
OTHER = RSA_1.token("RS256", iss=OTHER_ISSUER, sub="bob")
OLD_OTHER = RSA_1.token("RS256", iss=OTHER_ISSUER, exp=1)
STRANGE = RSA_1.token("RS256", iss="x")
FOR_A, FOR_B = (RSA_1.token("RS256", aud=name) for name in "ab")
PADDED_PAYLOAD = (BODY := GOOD.split(".")[1]) + "=" * (-len(BODY) % 4)
ALICE, BOB = {"sub": "alice"}, {"sub": "bob"}

FIRST: Config = {"provider_name": "p0"}
SECOND: Config = {"provider_name": "p1"}
MISSING_OK: Config = {"allow_missing": {}}
ANYTHING: Config = {"allow_missing_or_failed": {}}


def any_of(*requirements: Config) -> Config:
    return {"requires_any": {"requirements": list(requirements)}}


def all_of(*requirements: Config) -> Config:
    return {"requires_all": {"requirements": list(requirements)}}


def config(requires: Config, *providers: Config, **more: Any) -> Config:
    named = {f"p{number}": one for number, one in enumerate(providers)}
    rules = [{"match": {"prefix": "/"}, "requires": requires}]
    return {"providers": named, "rules": rules, **more}


def said(*rules: Rule) -> list[Config]:
    return [provider(one) for one in rules]


ONE = said(rule())
SAME_PLACE = said(rule(), rule(issuer=OTHER_ISSUER))
APART = said(
    rule(fromHeaders=[{"name": "x-a"}]),
    rule(issuer=OTHER_ISSUER, fromHeaders=[{"name": "x-b"}]),
)
HIDDEN = said(rule(forwardOriginalToken=None), rule(forwardOriginalToken=None))


def tree(name: str, config: Config, *headers: tuple[str, str], refused: str = "", **more: Any) -> Case:
    return Case(f"tree: {name}", (), headers, refused=refused, config=config, **more)


ANYBODY, ANYBODY_APART = config(MISSING_OK, *SAME_PLACE), config(MISSING_OK, *APART)
WHATEVER, WHATEVER_APART = config(ANYTHING, *SAME_PLACE), config(ANYTHING, *APART)
EITHER, BOTH = config(any_of(FIRST, SECOND), *APART), config(all_of(FIRST, SECOND), *APART)
FIRST_OR_NONE = config(any_of(FIRST, MISSING_OK), *SAME_PLACE)
FIRST_OR_ANYTHING = config(any_of(FIRST, ANYTHING), *SAME_PLACE)
OWN_AUDIENCES = config(
    {"provider_and_audiences": {"provider_name": "p0", "audiences": ["b"]}}, *said(rule(audiences=["a"]))
)
NO_AUDIENCES = config({"provider_and_audiences": {"provider_name": "p0"}}, *said(rule(audiences=["a"])))
SHORT_LIVED = config(FIRST, {**ONE[0], "max_lifetime": f"{2 * DAY}s"})
ENDING = config(FIRST, {**ONE[0], "require_expiration": True})
EXACT = config(FIRST, {**ONE[0], "clock_skew_seconds": 5})
LENIENT = config(FIRST, {**ONE[0], "clock_skew_seconds": 2 * DAY})
SILENT = config(FIRST, *ONE, strip_failure_response=True)
PADDED = config(FIRST, {**ONE[0], "forward_payload_header": "x-p", "pad_forward_payload_header": True})
BY_NAME = config(
    {}, *ONE, requirement_map={"mine": FIRST}, rules=[{"match": {"prefix": "/"}, "requirement_name": "mine"}]
)


def by_path(*rules: Config) -> Config:
    return config({}, *ONE, rules=list(rules))


OPEN_ELSE_TOKEN = by_path({"match": {"prefix": "/demo."}}, {"match": {"prefix": "/"}, "requires": FIRST})
EXACT_PATH = by_path({"match": {"path": "/demo.Greeter/SayHello"}, "requires": FIRST})
OTHER_CASE = by_path({"match": {"path": "/demo.greeter/sayhello", "case_sensitive": False}, "requires": FIRST})
OTHER_PATH = by_path({"match": {"path": "/demo.Greeter/Say"}, "requires": FIRST})
SERVICE = by_path({"match": {"path_separated_prefix": "/demo.Greeter"}, "requires": FIRST})
PART_OF_SERVICE = by_path({"match": {"path_separated_prefix": "/demo.Greet"}, "requires": FIRST})

TREE_CASES = [
    tree("anybody, no token", ANYBODY),
    tree("anybody, the first", ANYBODY, *bearer(GOOD), claims=ALICE),
    tree("anybody, the second", ANYBODY, *bearer(OTHER), claims=BOB),
    tree("anybody, bad", ANYBODY, *bearer(BAD), refused=FAILS),
    tree("anybody, nobody's", ANYBODY, *bearer(STRANGE), refused=UNKNOWN_ISSUER),
    tree("anybody, garbage", ANYBODY, *bearer("garbage"), refused=BAD_FORMAT),
    tree("anybody apart, both", ANYBODY_APART, ("x-a", GOOD), ("x-b", OTHER), claims=ALICE),
    tree("anybody apart, the first bad", ANYBODY_APART, ("x-a", BAD), ("x-b", OTHER), refused=FAILS),
    tree("anybody apart, the second bad", ANYBODY_APART, ("x-a", GOOD), ("x-b", "garbage"), claims=ALICE),
    tree("anybody apart, in the wrong place", ANYBODY_APART, ("x-b", GOOD), refused=UNKNOWN_ISSUER),
    tree("whatever, no token", WHATEVER),
    tree("whatever, good", WHATEVER, *bearer(OTHER), claims=BOB),
    tree("whatever, bad", WHATEVER, *bearer(BAD)),
    tree("whatever apart, the first bad", WHATEVER_APART, ("x-a", BAD), ("x-b", OTHER), claims=BOB),
    tree("whatever apart, the second bad", WHATEVER_APART, ("x-a", GOOD), ("x-b", BAD), claims=ALICE),
    tree("either, no token", EITHER, refused=MISSING),
    tree("either, a stronger fault is told of", EITHER, ("x-a", OLD), ("x-b", BAD), refused=EXPIRED),
    tree("either, of two the last is told of", EITHER, ("x-a", BAD), ("x-b", OLD_OTHER), refused=EXPIRED),
    tree("either, unknown is more than missing", EITHER, ("x-a", OTHER), refused=UNKNOWN_ISSUER),
    tree("either, missing is less than unknown", EITHER, ("x-b", GOOD), refused=UNKNOWN_ISSUER),
    tree("either, unknown is less than expired", EITHER, ("x-a", OTHER), ("x-b", OLD_OTHER), refused=EXPIRED),
    tree("either, the second is enough", EITHER, ("x-a", BAD), ("x-b", OTHER), claims=BOB),
    tree("both", BOTH, ("x-a", GOOD), ("x-b", OTHER), claims=BOB),
    tree("both, no token", BOTH, refused=MISSING),
    tree("both, the first only", BOTH, ("x-a", GOOD), refused=MISSING),
    tree("both, the first fault is told of", BOTH, ("x-a", OLD), ("x-b", BAD), refused=EXPIRED),
    tree("both, but the first takes it away", config(all_of(FIRST, SECOND), *HIDDEN), *bearer(GOOD), refused=MISSING),
    tree("first or none, none", FIRST_OR_NONE),
    tree("first or none, bad", FIRST_OR_NONE, *bearer(BAD), refused=FAILS),
    tree("first or none, the second's", FIRST_OR_NONE, *bearer(OTHER), refused=UNKNOWN_ISSUER),
    tree("first or anything, bad", FIRST_OR_ANYTHING, *bearer(BAD)),
    tree("first or anything, good", FIRST_OR_ANYTHING, *bearer(GOOD), claims=ALICE),
    tree("none or none, the second's", config(any_of(MISSING_OK, MISSING_OK), *SAME_PLACE), *bearer(OTHER), claims=BOB),
    tree("audiences of the requirement", OWN_AUDIENCES, *bearer(FOR_B)),
    tree("not the provider's", OWN_AUDIENCES, *bearer(FOR_A), refused=WRONG_AUDIENCE),
    tree("no audiences: the provider's", NO_AUDIENCES, *bearer(FOR_A)),
    tree("no audiences: not others", NO_AUDIENCES, *bearer(FOR_B), refused=WRONG_AUDIENCE),
    tree("nothing required", by_path({"match": {"prefix": "/"}}), *bearer(BAD)),
    tree("too long-lived", SHORT_LIVED, *bearer(RSA_1.token("RS256", exp=NOW + 4 * DAY)), refused=FAILS),
    tree("short-lived", SHORT_LIVED, *bearer(GOOD)),
    tree("lives for ever", SHORT_LIVED, *bearer(RSA_1.token("RS256", exp=None)), refused=FAILS),
    tree("ends some day", ENDING, *bearer(GOOD)),
    tree("never ends", ENDING, *bearer(RSA_1.token("RS256", exp=None)), refused=FAILS),
    tree("little skew", EXACT, *bearer(RSA_1.token("RS256", exp=NOW - 30)), refused=EXPIRED),
    tree("expired within the skew", LENIENT, *bearer(RSA_1.token("RS256", exp=NOW - DAY))),
    tree("not yet, within the skew", LENIENT, *bearer(RSA_1.token("RS256", nbf=NOW + DAY))),
    tree("the caller is not told why", SILENT, *bearer(GOOD)),
    tree("with padding", PADDED, *bearer(GOOD), seen={"x-p": [PADDED_PAYLOAD]}),
    tree("requirement by name", BY_NAME, refused=MISSING),
    tree("the first rule that matches holds", OPEN_ELSE_TOKEN),
    tree("exact path", EXACT_PATH, refused=MISSING),
    tree("exact path, whatever the query", EXACT_PATH, query="a=b", refused=MISSING),
    tree("path in another case", OTHER_CASE, refused=MISSING),
    tree("no rule matches", OTHER_PATH),
    tree("a segment of the path", SERVICE, refused=MISSING),
    tree("a part of a segment", PART_OF_SERVICE),
]
