"""gRPC's service config (grpc/doc/service_config.md), from JSON: what of it has a meaning here, as values.

Field by field: grpc.service_config.ServiceConfig; the rules of retrying are gRFC A6's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import grpc

from rpc.balancing.policies import known
from rpc.choice import CallTerms, RetryPolicy

_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")
_HUGE = 1e15  # more than any limit here can mean
_MAX_ATTEMPTS = 5  # gRFC A6: more are treated as five


class InvalidServiceConfigError(ValueError):
    """A service config that cannot be used; says where and why."""


@dataclass(frozen=True, slots=True)
class MethodConfig(CallTerms):
    """What it says of a method's calls, with the sizes in bytes."""

    max_request: int | None = None
    max_response: int | None = None


@dataclass(frozen=True, slots=True)
class Throttling:
    """``retryThrottling``: so many tokens, and so much of one back for each success."""

    max_tokens: float
    token_ratio: float


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """``methods`` by ``/service/method``, ``/service/`` for all of a service, and "" for all.

    ``max_connections``: ``connectionScaling.maxConnectionsPerSubchannel`` (gRFC A105).
    """

    methods: dict[str, MethodConfig] = field(default_factory=dict)
    lb_policy: str | None = None
    throttling: Throttling | None = None
    max_connections: int | None = None

    def method(self, path: str) -> MethodConfig | None:
        methods = self.methods
        return methods.get(path) or methods.get(path[: path.rfind("/") + 1]) or methods.get("")

    @classmethod
    def parse(cls, text: str, *, retries: bool = True) -> ServiceConfig:
        """Raises `InvalidServiceConfigError`. Without ``retries`` retry policies are left out (grpc.enable_retries)."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidServiceConfigError(f"grpc.service_config is no JSON: {error}") from error
        if not isinstance(raw, dict):
            raise _wrong("the config", "is no object")
        methods: dict[str, MethodConfig] = {}
        for entry in _list(raw, "methodConfig"):
            config = _method_config(entry, retries=retries)
            for name in _list(entry, "name"):
                if not isinstance(name, dict) or (name.get("method") and not name.get("service")):
                    raise _wrong("methodConfig.name", "has a method without its service")
                service, method = name.get("service") or "", name.get("method") or ""
                key = f"/{service}/{method}" if service else ""
                if key in methods:
                    raise _wrong("methodConfig.name", f"{name} comes twice")
                methods[key] = config
        raw_throttling = raw.get("retryThrottling")
        throttling = _throttling(raw_throttling) if raw_throttling is not None and retries else None
        return cls(methods, _lb_policy(raw), throttling, _max_connections(raw.get("connectionScaling")))


def _wrong(where: str, why: str) -> InvalidServiceConfigError:
    return InvalidServiceConfigError(f"grpc.service_config: {where} {why}")


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        raise _wrong(name, "is no list")
    return value


def _max_connections(raw: Any) -> int | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise _wrong("connectionScaling", "is no object")
    return _size(raw.get("maxConnectionsPerSubchannel"), "connectionScaling.maxConnectionsPerSubchannel")


def _lb_policy(raw: dict[str, Any]) -> str | None:
    """The first policy that is known (gRFC A24), else the older field."""
    for entry in _list(raw, "loadBalancingConfig"):
        ours: list[str] = sorted(known() & entry.keys()) if isinstance(entry, dict) else []
        if ours:
            return ours[0]
    policy = raw.get("loadBalancingPolicy")
    return policy.lower() if isinstance(policy, str) else None


def _method_config(raw: Any, *, retries: bool) -> MethodConfig:
    if not isinstance(raw, dict):
        raise _wrong("methodConfig", "holds something that is no object")
    timeout, wait = raw.get("timeout"), raw.get("waitForReady")
    if wait is not None and not isinstance(wait, bool):
        raise _wrong("waitForReady", "is no boolean")
    policy = raw.get("retryPolicy")
    return MethodConfig(
        None if timeout is None else _duration(timeout, "timeout"),
        wait,
        _retry_policy(policy) if policy is not None and retries else None,
        max_request=_size(raw.get("maxRequestMessageBytes"), "maxRequestMessageBytes"),
        max_response=_size(raw.get("maxResponseMessageBytes"), "maxResponseMessageBytes"),
    )


def _retry_policy(raw: Any) -> RetryPolicy:
    if not isinstance(raw, dict):
        raise _wrong("retryPolicy", "is no object")
    attempts = raw.get("maxAttempts")
    if not isinstance(attempts, int) or attempts < 2:  # noqa: PLR2004 - gRFC A6
        raise _wrong("retryPolicy.maxAttempts", f"must be a number over 1, not {attempts!r}")
    codes = frozenset(_code(name) for name in _list(raw, "retryableStatusCodes"))
    if not codes:
        raise _wrong("retryPolicy.retryableStatusCodes", "must name at least one code")
    initial = _duration(raw.get("initialBackoff"), "retryPolicy.initialBackoff")
    longest = _duration(raw.get("maxBackoff"), "retryPolicy.maxBackoff")
    multiplier = _number(raw.get("backoffMultiplier"), "retryPolicy.backoffMultiplier")
    if initial <= 0 or longest <= 0 or multiplier <= 0:
        raise _wrong("retryPolicy", "needs back-offs and a multiplier over 0")
    return RetryPolicy(min(attempts, _MAX_ATTEMPTS), initial, longest, multiplier, codes)


def _throttling(raw: Any) -> Throttling:
    if not isinstance(raw, dict):
        raise _wrong("retryThrottling", "is no object")
    tokens = _number(raw.get("maxTokens"), "retryThrottling.maxTokens")
    ratio = _number(raw.get("tokenRatio"), "retryThrottling.tokenRatio")
    if not 0 < tokens <= 1000 or ratio <= 0:  # noqa: PLR2004 - gRFC A6
        raise _wrong("retryThrottling", "needs maxTokens of 1 to 1000 and a tokenRatio over 0")
    return Throttling(tokens, ratio)


def _duration(raw: Any, where: str) -> float:
    found = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        raise _wrong(where, f'is written like "1.5s", not {raw!r}')
    sign, seconds, fraction = found.groups()
    return float(f"{sign}{seconds}.{fraction or 0}")


def _number(raw: Any, where: str) -> float:
    number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
    if not number or not -_HUGE < raw < _HUGE:  # NaN is no number either
        raise _wrong(where, f"must be a number, not {str(raw)[:100]!r}")
    return float(raw)


def _size(raw: Any, where: str) -> int | None:
    """proto3's JSON may write numbers as strings."""
    if raw is None:
        return None
    try:
        return int(raw)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(where, f"must be a number of bytes, not {raw!r}") from None


def _code(name: Any) -> int:
    try:
        code = grpc.StatusCode[name.upper()] if isinstance(name, str) else STATUS_BY_NUMBER[name]
    except (KeyError, TypeError):
        raise _wrong("retryPolicy.retryableStatusCodes", f"names {name!r}, which is no code") from None
    number: int = code.value[0]
    return number


STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
