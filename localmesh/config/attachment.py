"""Which workloads a policy of Istio's is for: a selector of labels, or targets (type/v1beta1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from localmesh.config.decode import Spec

_TARGETS = {
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
}


@dataclass(frozen=True, slots=True)
class PolicySelector(Spec):
    """Unlike ServiceEntry's, it may be empty, and then selects the whole namespace."""

    match_labels: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str]]:
        for key, value in self.match_labels.items():
            if not key:
                yield "matchLabels", f"{value!r} has an empty key"
            if "*" in key or "*" in value:
                yield "matchLabels", f"{key}={value}: wildcards are not supported in a selector"


@dataclass(frozen=True, slots=True)
class PolicyTarget(Spec):
    """A gateway, a waypoint's class, or a service behind a waypoint: never a sidecar, nor a server of ours."""

    kind: str
    name: str
    group: str = ""
    namespace: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.name:
            yield "name", "must not be empty"
        if self.namespace:
            yield "namespace", "must not be set: a policy cannot refer to another namespace"
        if (self.group, self.kind) not in _TARGETS:
            kinds = ", ".join(sorted({kind for _, kind in _TARGETS}))
            yield "kind", f"{self.kind!r} of the group {self.group!r} is none that a policy may refer to ({kinds})"


@dataclass(frozen=True, slots=True)
class Attached(Spec):
    """Without a selector it is for its whole namespace, or, in the root namespace, for the mesh."""

    selector: PolicySelector | None = None
    target_ref: PolicyTarget | None = None
    target_refs: tuple[PolicyTarget, ...] = ()

    @property
    def labels(self) -> Mapping[str, str]:
        return self.selector.match_labels if self.selector is not None else {}

    @property
    def has_targets(self) -> bool:
        return bool(self.target_refs) or self.target_ref is not None

    def is_for(self, labels: Mapping[str, str]) -> bool:
        """Whether a workload with these labels, which is no gateway, is meant (`ShouldAttachPolicy`)."""
        return not self.has_targets and self.labels.items() <= labels.items()

    def problems(self) -> Iterator[tuple[str, str]]:
        ways = (self.selector is not None, self.target_ref is not None, bool(self.target_refs))
        if sum(ways) > 1:
            yield "", "only one of selector, targetRef and targetRefs may be set"
