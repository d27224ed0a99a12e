"""The RBAC filters of a workload's policies, for requests and for bytes: AUDIT, then DENY, then ALLOW. Pure.

Follows istiod's `pilot/pkg/security/authz/builder/builder.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localmesh import xds
from localmesh.compile.authorization.ext_authz import (
    HTTP_RBAC,
    NETWORK_RBAC,
    SHADOW_PREFIX,
    BadProvider,
    policy_prefix,
)
from localmesh.compile.authorization.rules import compiled, never
from localmesh.config.authorization_policy import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    from localmesh.compile.authorization.ext_authz import ExtAuthz, Providers
    from localmesh.compile.authorization.trust_domains import TrustDomains
    from localmesh.config import Resource
    from localmesh.config.authorization_policy import AuthorizationPolicy

    Policy = Resource[AuthorizationPolicy]

_HTTP_EXT_AUTHZ, _NETWORK_EXT_AUTHZ = "envoy.filters.http.ext_authz", "envoy.filters.network.ext_authz"
_TCP = "tcp."  # what the network filter's statistics begin with
_UNKNOWN_PROVIDER = "-deny-due-to-bad-CUSTOM-action"
_RBAC = xds.rbac.RBAC
_ORDER = {Action.AUDIT: _RBAC.LOG, Action.DENY: _RBAC.DENY, Action.ALLOW: _RBAC.ALLOW}
_DRY_RUN = {_RBAC.ALLOW: "istio_dry_run_allow_", _RBAC.DENY: "istio_dry_run_deny_"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Of the chains for HTTP, and of those for bytes."""

    custom: tuple[Message, ...]
    own: tuple[Message, ...]
    custom_tcp: tuple[Message, ...]
    own_tcp: tuple[Message, ...]


class FilterBuilder:
    def __init__(self, policies: Sequence[Policy], domains: TrustDomains, providers: Providers) -> None:
        self._policies = policies
        self._providers = providers
        self._domains = domains

    def build(self) -> Filters:
        return Filters(
            tuple(self._custom(of_requests=True)),
            tuple(self._own(of_requests=True)),
            tuple(self._custom(of_requests=False)),
            tuple(self._own(of_requests=False)),
        )

    def _own(self, *, of_requests: bool) -> Iterator[Message]:
        for action, does in _ORDER.items():
            policies = [policy for policy in self._policies if policy.spec.action is action]
            if policies:
                kept = [policy for policy in policies if not policy.dry_run]
                tried = [policy for policy in policies if policy.dry_run]
                config = {"shadow_rules_stat_prefix": _DRY_RUN[does if tried else _RBAC.ALLOW]}  # as istiod has it
                if kept:
                    config["rules"] = self._rules(kept, does, of_requests=of_requests)
                if tried:
                    config["shadow_rules"] = self._rules(tried, does, of_requests=of_requests)
                yield _filter(config, of_requests=of_requests)

    def _custom(self, *, of_requests: bool) -> Iterator[Message]:
        """RBAC finds whether a policy is for the request, and leaves word for the filter that asks the provider.

        Whom nobody can be asked about is refused, and so, as istiod has it, are all if there are several providers.
        """
        by_provider: dict[str, list[Policy]] = {}
        for policy in self._policies:
            if policy.spec.action is Action.CUSTOM and policy.spec.provider is not None:
                by_provider.setdefault(policy.spec.provider.name, []).append(policy)
        for name in sorted(by_provider):
            before = f"{policy_prefix(name)}-"
            rules = self._rules(by_provider[name], _RBAC.DENY, before, of_requests=of_requests)
            try:
                provider = self._providers.find(name)
            except BadProvider:
                provider = None
            if provider is None or len(by_provider) > 1:
                yield _filter({"rules": _refusing(rules)}, of_requests=of_requests)
            elif of_requests or provider.network is not None:
                config = {"shadow_rules": rules, "shadow_rules_stat_prefix": SHADOW_PREFIX}
                yield _filter(config, of_requests=of_requests)
                yield _asking(provider, of_requests=of_requests)

    def _rules(self, policies: Sequence[Policy], does: int, before: str = "", *, of_requests: bool) -> Any:
        """By names that tell whoever is refused by which rule: ``ns[..]-policy[..]-rule[..]``."""
        found = _RBAC(action=does)
        for policy in policies:
            for number, rule in enumerate(policy.spec.rules):
                made = compiled(
                    rule, policy.namespace, self._domains, of_requests=of_requests, is_allow=does == _RBAC.ALLOW
                )
                if made is not None:
                    found.policies[f"{before}{_name(policy, number)}"].CopyFrom(made)
            if not policy.spec.rules:
                found.policies[f"{before}{_name(policy, 0)}"].CopyFrom(never())
        return found


def _name(policy: Policy, rule: int) -> str:
    return f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{rule}]"


def _filter(config: dict[str, Any], *, of_requests: bool) -> Any:
    if of_requests:
        rbac = xds.http_rbac.RBAC(**config)
        return xds.http_connection_manager.HttpFilter(name=HTTP_RBAC, typed_config=xds.any_of(rbac))
    network = xds.network_rbac.RBAC(stat_prefix=_TCP, **config)
    return xds.listener.Filter(name=NETWORK_RBAC, typed_config=xds.any_of(network))


def _refusing(rules: Any) -> Any:
    """The same rules, under names that tell why they refuse."""
    refused = _RBAC(action=_RBAC.DENY)
    for name, rule in rules.policies.items():
        refused.policies[name + _UNKNOWN_PROVIDER].CopyFrom(rule)
    return refused


def _asking(provider: ExtAuthz, *, of_requests: bool) -> Any:
    if of_requests:
        config = xds.any_of(provider.http)
        return xds.http_connection_manager.HttpFilter(name=_HTTP_EXT_AUTHZ, typed_config=config)
    return xds.listener.Filter(name=_NETWORK_EXT_AUTHZ, typed_config=xds.any_of(provider.network))
