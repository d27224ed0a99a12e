"""RequestAuthentication without any connection: the table that a real Envoy is held to, too, and what else may come."""

from __future__ import annotations

import grpc
import pytest

from rpc.authorization.jwt.filter import METADATA, compiled
from rpc.authorization.program import CannotCarryOutError, Surroundings
from rpc.authorization.request import Request
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.authorization.jwt_cases import envoy_config, rule
from tests.rpc.authorization.jwt_request_cases import BAD_KEY_SETS, REQUEST_CASES
from tests.rpc.authorization.jwt_token_cases import TOKEN_CASES
from tests.rpc.authorization.jwt_tree_cases import TREE_CASES
from tests.xds_client.test_decode_policies import configured

CASES = [*TOKEN_CASES, *REQUEST_CASES, *TREE_CASES]
CODES = {code.name: code.value[0] for code in grpc.StatusCode}


def step(config):
    return compiled(configured("jwt_authn.v3.JwtAuthentication", **config), Surroundings("jwt"))


def asked(case, decide):
    path = "/demo.Greeter/SayHello"
    head = FakeHead(f"{path}?{case.query}" if case.query else path, case.headers)
    return head, decide(Request(head))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_case_ends_as_in_envoy(case):
    """A token that is met again, too."""
    decide = step(case.filter)
    for _ in range(3):
        check(case, *asked(case, decide))


def check(case, head, refusal):
    expected = case.ours or case.refused
    if expected:
        assert refusal is not None
        assert refusal.details == expected
        assert refusal.code == CODES[case.code if not case.ours else "UNAUTHENTICATED"]
        return
    assert refusal is None
    for name, values in case.seen.items():
        assert [value.decode() for value in head.values(name)] == values, name
    if case.claims is not None:
        found = head.dynamic_metadata[METADATA]["payload"]
        assert {name: found[name] for name in case.claims} == case.claims
    if case.query_seen is not None:
        assert head.path.partition("?")[2] == case.query_seen


@pytest.mark.parametrize("name", BAD_KEY_SETS)
def test_keys_that_are_none_make_no_configuration_as_in_envoy(name):
    """Envoy refuses it and goes on with the one that it has."""
    with pytest.raises(CannotCarryOutError) as caught:
        step(envoy_config((rule(jwks=BAD_KEY_SETS[name]),)))
    assert caught.value.invalid
    assert "origins-0" in str(caught.value)
