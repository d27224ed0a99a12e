"""Service configs that make no sense are refused by name, whatever Python makes of them."""

from __future__ import annotations

import pytest

from rpc.service_config import InvalidServiceConfigError, ServiceConfig

RETRY = (
    '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s",'
    ' "backoffMultiplier": %s, "retryableStatusCodes": [%s]}}]}'
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"retryThrottling": {"maxTokens": %s, "tokenRatio": 1}}' % ("9" * 5000),
        '{"retryThrottling": {"maxTokens": 10, "tokenRatio": %s}}' % ("9" * 400),
        '{"retryThrottling": {"maxTokens": 10, "tokenRatio": NaN}}',
        '{"connectionScaling": {"maxConnectionsPerSubchannel": "%s"}}' % ("9" * 5000),
        '{"connectionScaling": {"maxConnectionsPerSubchannel": Infinity}}',
        RETRY % ("Infinity", "14"),
        RETRY % ("2", "[14]"),
        RETRY % ("2", "{}"),
    ],
    ids=range(9),
)
def test_what_python_cannot_count_or_look_up_is_refused_by_name(text):
    with pytest.raises(InvalidServiceConfigError, match=r"grpc\.service_config"):
        ServiceConfig.parse(text)


def test_a_sensible_one_is_taken():
    assert ServiceConfig.parse(RETRY % ("2", "14")).method("/a/b").retry is not None
