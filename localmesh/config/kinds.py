"""Which kinds of document localmesh serves, which it knows and leaves out, and which nobody knows."""

from __future__ import annotations

from enum import Enum, auto

_SERVED = {
    "networking.istio.io": {"ServiceEntry", "WorkloadEntry", "VirtualService", "DestinationRule"},
    "security.istio.io": {"PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy"},
    "": {"Service", "Endpoints"},
    "discovery.k8s.io": {"EndpointSlice"},
}
_VERSIONS = {
    "": {"v1"},
    "discovery.k8s.io": {"v1"},
    "networking.istio.io": {"v1", "v1beta1", "v1alpha3"},
    "security.istio.io": {"v1", "v1beta1"},
}

_ISTIO_KINDS = {
    "networking.istio.io": {"Gateway", "Sidecar", "EnvoyFilter", "WorkloadGroup", "ProxyConfig"},
    "telemetry.istio.io": {"Telemetry"},
    "extensions.istio.io": {"WasmPlugin"},
}
# the core and apps groups that people keep beside their Istio YAML
_KUBERNETES_KINDS = frozenset(
    {
        *("ConfigMap", "CronJob", "DaemonSet", "Deployment", "HorizontalPodAutoscaler", "Job", "Namespace"),
        *("Node", "PersistentVolume", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "ReplicaSet", "Secret"),
        *("ServiceAccount", "StatefulSet"),
    }
)
_KUBERNETES_GROUPS = frozenset({"", "apps", "batch", "autoscaling", "policy"})

# who serves without these lets in whom they would keep out
GUARDS = frozenset({"AuthorizationPolicy", "RequestAuthentication"})
KUBERNETES = frozenset({"Service", "Endpoints", "EndpointSlice"})  # served, unless they are to be ignored
IGNORABLE = frozenset().union(*_ISTIO_KINDS.values(), _KUBERNETES_KINDS, KUBERNETES, GUARDS)


class Standing(Enum):
    SERVED = auto()
    IGNORED = auto()
    UNKNOWN_KIND = auto()
    UNKNOWN_VERSION = auto()


def standing_of(api_version: str, kind: str, ignored: frozenset[str] = frozenset()) -> Standing:
    """``ignored`` are those that are to be left out, though they are served."""
    standing = _standing_of(api_version, kind)
    may_be = standing is Standing.SERVED and kind in KUBERNETES | GUARDS
    return Standing.IGNORED if may_be and kind in ignored else standing


def _standing_of(api_version: str, kind: str) -> Standing:
    group, _, version = api_version.rpartition("/")
    if kind in _SERVED.get(group, ()):
        return Standing.SERVED if version in _VERSIONS[group] else Standing.UNKNOWN_VERSION
    if group.endswith(".k8s.io"):
        return Standing.IGNORED
    if group in _KUBERNETES_GROUPS:
        return Standing.IGNORED if kind in _KUBERNETES_KINDS else Standing.UNKNOWN_KIND
    if group not in _ISTIO_KINDS and group not in _SERVED:
        return Standing.UNKNOWN_VERSION
    return Standing.IGNORED if kind in _ISTIO_KINDS.get(group, ()) else Standing.UNKNOWN_KIND
