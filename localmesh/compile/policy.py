"""DestinationRules: which one holds for a host, and the traffic policy that is left for a port and a subset.

Follows istiod's `pilot/pkg/model/destination_rule.go` and `MergeSubsetTrafficPolicy`. Pure, made once per config.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localmesh.compile.hosts import HostTable, fully_qualified
from localmesh.config.destination_rule import ClientTls, ConsistentHash, DestinationRule, Subset, TrafficPolicy

if TYPE_CHECKING:
    from localmesh.config import Resource, Resources

NO_POLICY = TrafficPolicy()


@dataclass(frozen=True, slots=True)
class Rule:
    """All DestinationRules of one namespace for one host as one; ``config`` is how istiod names it in metadata."""

    config: str
    policy: TrafficPolicy | None
    subsets: tuple[Subset, ...]

    def subset(self, name: str) -> Subset | None:
        return next((subset for subset in self.subsets if subset.name == name), None)

    def policy_for(self, port: int, subset_name: str = "") -> TrafficPolicy:
        """The subset's policy over the rule's own; an unknown subset has the rule's."""
        subset = self.subset(subset_name)
        return merged_policy(self.policy, subset.traffic_policy if subset else None, port)

    def tls_for(self, port: int, subset_name: str) -> ClientTls | None:
        """`tlsModeForDestinationRule`: decides whether endpoints are marked for mTLS.

        Unlike for clusters, an unknown subset says nothing here, and port-level settings without TLS hide nothing.
        """
        if not subset_name:
            return _tls_at(self.policy, port)
        subset = self.subset(subset_name)
        if subset is None:
            return None
        return _tls_at(subset.traffic_policy, port) or _tls_at(self.policy, port)

    def hash_for(self, port: int | None, subset_name: str) -> ConsistentHash | None:
        """`HashForHTTPDestination`: the most local consistentHash that is written."""
        subset = self.subset(subset_name)
        own = subset.traffic_policy if subset else None
        candidates = (_hash_at(own, port), _hash_of(own), _hash_at(self.policy, port), _hash_of(self.policy))
        return next((candidate for candidate in candidates if candidate is not None), None)


class Rules:
    def __init__(self, resources: Resources, domain: str) -> None:
        self._root = resources.mesh.root_namespace
        self._by_namespace: dict[str, HostTable[Rule]] = {}
        for resource in resources.destination_rules:
            host = fully_qualified(resource.spec.host, resource.namespace, domain).lower()
            rules = self._by_namespace.setdefault(resource.namespace, HostTable())
            rules[host] = _joined(rules.written(host), resource)

    def for_host(self, host: str, service_namespace: str, client_namespace: str) -> Rule | None:
        """The client's namespace first, then the service's, then the root namespace; there the most specific host."""
        for namespace in (client_namespace, service_namespace, self._root):
            rules = self._by_namespace.get(namespace)
            found = rules.most_specific(host) if rules is not None else None
            if found is not None:
                return found
        return None

    def have_subset(self, host: str, name: str) -> bool:
        """Whether a client of any namespace finds the subset; which rule holds depends on where it is."""
        found = (rules.most_specific(host) for rules in self._by_namespace.values())
        return any(rule is not None and rule.subset(name) is not None for rule in found)


def _joined(before: Rule | None, resource: Resource[DestinationRule]) -> Rule:
    """The first rule keeps its policy and subsets; later ones add what it does not have."""
    spec = resource.spec
    if before is None:
        config = f"/apis/networking.istio.io/v1/namespaces/{resource.namespace}/destination-rule/{resource.name}"
        return Rule(config, spec.traffic_policy, spec.subsets)
    added = tuple(subset for subset in spec.subsets if before.subset(subset.name) is None)
    policy = before.policy if before.policy is not None else spec.traffic_policy
    return Rule(before.config, policy, before.subsets + added)


def _at_port(policy: TrafficPolicy, port: int) -> tuple[TrafficPolicy, bool]:
    """Port-level settings replace the whole policy: what they leave out is the default, not the policy's."""
    for setting in policy.port_level_settings:
        if setting.port.number == port:
            parts = (setting.load_balancer, setting.connection_pool, setting.outlier_detection, setting.tls)
            return TrafficPolicy(*parts), True
    return policy, False


def merged_policy(original: TrafficPolicy | None, subset: TrafficPolicy | None, port: int) -> TrafficPolicy:
    base = _at_port(original, port)[0] if original is not None else None
    if subset is None:
        return base or NO_POLICY
    own, has_port_level = _at_port(subset, port)
    if base is None or has_port_level:
        return own
    return replace(
        base,
        load_balancer=own.load_balancer or base.load_balancer,
        connection_pool=own.connection_pool or base.connection_pool,
        outlier_detection=own.outlier_detection or base.outlier_detection,
        tls=own.tls or base.tls,
    )


def _tls_at(policy: TrafficPolicy | None, port: int) -> ClientTls | None:
    if policy is None:
        return None
    at_port = (s.tls for s in policy.port_level_settings if s.port.number == port and s.tls is not None)
    return next(at_port, policy.tls)


def _hash_of(policy: TrafficPolicy | None) -> ConsistentHash | None:
    return policy.load_balancer.consistent_hash if policy and policy.load_balancer else None


def _hash_at(policy: TrafficPolicy | None, port: int | None) -> ConsistentHash | None:
    for setting in policy.port_level_settings if policy else ():
        if setting.port.number == port:
            return setting.load_balancer.consistent_hash if setting.load_balancer else None
    return None
