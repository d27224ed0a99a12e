"""RequestAuthentication in a mesh: the table's rules as YAML, on a real sidecar and on servers of ours.

`test_request_authentication.py` has the whole table, on the filter that istiod is said to make of the rules.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest

from e2e import yamls
from e2e.authorization.cases import GUARDED, HELLO, Request
from e2e.authorization.cases import Case as Asked
from e2e.authorization.rig import ENVOY, SERVERS, Guarded
from e2e.envoy.village import until
from tests.rpc.authorization.jwt_cases import FAILS, Case, bearer, rule
from tests.rpc.authorization.jwt_request_cases import REQUEST_CASES
from tests.rpc.authorization.jwt_token_cases import TOKEN_CASES
from tests.rpc.authorization.tokens import RSA_1

if TYPE_CHECKING:
    from e2e.authorization.callers import Answer
    from e2e.envoy.village import Village
    from tests.rpc.authorization.jwt_cases import Rule

PROMPT = True
pytestmark = pytest.mark.timeout(180)  # the first test builds the village; a loaded machine takes its time

_SETTLED = 3.0  # seconds within which a server that has heard of rules obeys them
# Rules that istiod refuses (no issuer, odd keys) or would fetch keys for (no keys) are in the other file alone.
TABLE = [
    case
    for case in (*TOKEN_CASES, *REQUEST_CASES)
    if case.istiod and all(said["issuer"] and said["jwks"] for said in case.rules)
]
UNREACHABLE = rule(jwks=None, jwksUri="https://127.0.0.1:1/keys")
CASES = [
    *TABLE,
    Case("keys that istiod cannot fetch", (UNREACHABLE,), bearer(RSA_1.token("RS256")), refused=FAILS),
    Case("keys that istiod cannot fetch, no token", (UNREACHABLE,)),
]
BY_RULES: dict[str, list[Case]] = {}
for one in CASES:
    BY_RULES.setdefault(json.dumps(one.rules), []).append(one)
_numbers = itertools.count(1)
_ENDS = {"16": "UNAUTHENTICATED", "7": "PERMISSION_DENIED"}  # anything else: the app was asked


@pytest.fixture(scope="module")
def guarded(village: Village, tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    return Guarded(village, tmp_path_factory.mktemp("callers"))


def put_in_force(guarded: Guarded, rules: list[Rule]) -> None:
    """Returns when each server has been told; a claim that no token has tells this push from all others."""
    sign = f"push-{next(_numbers)}"
    first = {**rules[0], "spaceDelimitedClaims": [*rules[0].get("spaceDelimitedClaims", []), sign]}
    spec = {"selector": {"matchLabels": GUARDED}, "jwtRules": [first, *rules[1:]]}
    made = yamls.resource("RequestAuthentication", "tokens", spec)
    guarded.village.apply(made | {"apiVersion": "security.istio.io/v1"})
    for name in SERVERS:
        until(lambda name=name: guarded.is_told(name, sign), True, f"{name} is told of {sign}", 20.0)


def asked(case: Case) -> Asked:
    path = f"{HELLO}?{case.query}" if case.query else HELLO
    return Asked(case.name, "", Request(path=path, headers=case.headers))


def ended(answer: Answer) -> tuple[str, str]:
    code = _ENDS.get(answer.head.get("grpc-status", ""), "OK" if ":status" in answer.head else "CLOSED")
    return code, answer.head.get("grpc-message", "") if code in _ENDS.values() else ""


def differences(guarded: Guarded, server: str, cases: list[Case]) -> dict[str, object]:
    found = {}
    for case in cases:
        stricter = case.ours if server != ENVOY else ""
        expected = ("UNAUTHENTICATED", stricter) if stricter else (case.code, case.refused)
        answer = ended(guarded.ask(server, asked(case)))
        if answer != expected:
            found[case.name] = (answer, "instead of", expected)
    return found


@pytest.mark.parametrize("rules", BY_RULES, ids=[cases[0].name for cases in BY_RULES.values()])
def test_a_sidecar_and_we_decide_alike(guarded: Guarded, rules: str) -> None:
    put_in_force(guarded, json.loads(rules))
    for server in SERVERS:
        end = time.monotonic() + _SETTLED
        while found := differences(guarded, server, BY_RULES[rules]):
            assert time.monotonic() < end, (server, found)


def test_the_sidecar_took_all_that_the_control_plane_sent(guarded: Guarded) -> None:
    sidecar = guarded.village.pods[ENVOY].sidecar
    assert sidecar is not None
    assert sidecar.refused() == []
