"""AuthorizationPolicy: who may call what. Field meanings and refusals are Istio's (security/v1).

Follows `ValidateAuthorizationPolicy` in istiod's `pkg/config/validation/validation.go`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import ClassVar

from localmesh.config.attachment import Attached
from localmesh.config.decode import Spec, camel
from localmesh.config.policy_values import (
    bad_accounts,
    bad_attribute,
    bad_blocks,
    bad_paths,
    bad_ports,
    bad_trust_domains,
    emptiness,
)

Check = Callable[[Sequence[str]], Iterator[str]]


class Action(Enum):
    ALLOW = 0
    DENY = 1
    AUDIT = 2
    CUSTOM = 3


@dataclass(frozen=True, slots=True)
class _Values(Spec):
    """Lists of values, each with one of what must not be: at least one of all must say something."""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, field.name) for field in fields(self))

    def _check(self, checks: dict[str, Check]) -> Iterator[tuple[str, str]]:
        if self.is_empty:
            yield "", "must not be empty"
        for field in fields(self):
            check = checks.get(field.name.removeprefix("not_"), emptiness)
            yield from ((camel(field.name), reason) for reason in check(getattr(self, field.name)))


@dataclass(frozen=True, slots=True)
class Source(_Values):
    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()

    @property
    def is_of_connections(self) -> bool:
        """Whether a TCP connection has something of what it asks for; trust domains do not count (as in istiod)."""
        accounts = self.service_accounts or self.not_service_accounts
        return bool(self._names or accounts or self._blocks)

    @property
    def needs_an_identity(self) -> bool:
        """Whether it asks for what a CUSTOM policy may not ask for."""
        accounts = self.service_accounts or self.not_service_accounts
        domains = self.trust_domains or self.not_trust_domains
        return bool(self._names or accounts or domains or self.request_principals or self.not_request_principals)

    @property
    def _names(self) -> tuple[str, ...]:
        return self.principals + self.not_principals + self.namespaces + self.not_namespaces

    @property
    def _blocks(self) -> tuple[str, ...]:
        return self.ip_blocks + self.not_ip_blocks + self.remote_ip_blocks + self.not_remote_ip_blocks

    def problems(self) -> Iterator[tuple[str, str]]:
        blocks: dict[str, Check] = {"ip_blocks": bad_blocks, "remote_ip_blocks": bad_blocks}
        yield from self._check(blocks | {"service_accounts": bad_accounts, "trust_domains": bad_trust_domains})
        if self._names and (self.service_accounts or self.not_service_accounts):
            yield "", "serviceAccounts and notServiceAccounts exclude principals and namespaces"


@dataclass(frozen=True, slots=True)
class Operation(_Values):
    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()

    @property
    def is_of_connections(self) -> bool:
        return bool(self.ports or self.not_ports)

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from self._check({"ports": bad_ports, "paths": bad_paths})


@dataclass(frozen=True, slots=True)
class Condition(Spec):
    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()

    @property
    def needs_an_identity(self) -> bool:
        of_peers = ("source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal")
        return self.key in of_peers or self.key.startswith("request.auth.")

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.key:
            yield "key", "must not be empty"
        elif not self.values and not self.not_values:
            yield "", f"{self.key} needs values or notValues"
        else:
            found = (*bad_attribute(self.key, self.values), *bad_attribute(self.key, self.not_values))
            yield from (("", reason) for reason in dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class From(Spec):
    source: Source


@dataclass(frozen=True, slots=True)
class To(Spec):
    operation: Operation


@dataclass(frozen=True, slots=True)
class Rule(Spec):
    """Nothing set means: whatever it is."""

    RENAMED: ClassVar[Mapping[str, str]] = {"from_": "from"}

    from_: tuple[From, ...] = ()
    to: tuple[To, ...] = ()
    when: tuple[Condition, ...] = ()

    @property
    def denies_connections(self) -> bool:
        """Whether what it asks of requests alone falls away for TCP, so that as a DENY it takes every connection."""
        of_peer = any(each.source.is_of_connections for each in self.from_)
        of_port = any(each.operation.is_of_connections for each in self.to)
        return bool((self.from_ and not self.to and not of_peer) or (self.to and not of_port))


@dataclass(frozen=True, slots=True)
class Provider(Spec):
    name: str = ""


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy(Attached):
    action: Action = Action.ALLOW
    provider: Provider | None = None
    rules: tuple[Rule, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from Attached.problems(self)
        if self.action in (Action.DENY, Action.CUSTOM) and not self.rules:
            yield "rules", f"are needed for {self.action.name}: an empty one ({{}}) is for every request"
        if self.action is Action.CUSTOM:
            yield from self._problems_of_custom()
        elif self.provider is not None:
            yield "provider", f"is for the action CUSTOM only, not {self.action.name}"

    def _problems_of_custom(self) -> Iterator[tuple[str, str]]:
        if self.rules and (self.provider is None or not self.provider.name):
            yield "provider", "needs a name for the action CUSTOM"
        for number, rule in enumerate(self.rules):
            if any(each.source.needs_an_identity for each in rule.from_):
                yield "rules", f"[{number}].from: CUSTOM cannot choose by identities, only by IP addresses"
            for condition in rule.when:
                if condition.needs_an_identity:
                    yield "rules", f"[{number}].when: CUSTOM cannot choose by {condition.key}"
