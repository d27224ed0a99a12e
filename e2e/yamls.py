"""Istio YAML for tests, built from a few words. Each builder returns one document; `documents` joins them.

Workloads carry no serviceAccount: with one, istiod expects mTLS of them, which this release does not speak.
"""

from __future__ import annotations

from typing import Any

import yaml

DOMAIN = "svc.cluster.local"
PORT = 9080
TARGET_PORT = 19080
GRPC_PORT: dict[str, Any] = {"number": PORT, "name": "grpc", "protocol": "GRPC", "targetPort": TARGET_PORT}


def fqdn(name: str, namespace: str = "demo") -> str:
    return f"{name}.{namespace}.{DOMAIN}"


class _Plain(yaml.SafeDumper):
    """No anchors: a list used twice is written twice, as a person would."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def documents(*values: dict[str, Any]) -> str:
    return yaml.dump_all(values, Dumper=_Plain, sort_keys=False)


def resource(kind: str, name: str, spec: dict[str, Any], namespace: str = "demo") -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def service_entry(name: str, **spec: Any) -> dict[str, Any]:
    """A mesh service of one gRPC port, whose workloads carry the label app=NAME."""
    defaults: dict[str, Any] = {
        "hosts": [fqdn(name)],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [GRPC_PORT],
    }
    if "endpoints" not in spec:
        defaults["workloadSelector"] = {"labels": {"app": name}}
    return resource("ServiceEntry", name, defaults | spec)


def workload_entry(name: str, address: str, app: str, version: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": app, "version": version} | spec.pop("labels", {})
    return resource("WorkloadEntry", name, {"address": address, "labels": labels} | spec)


def destination_rule(host: str, subsets: list[str], **policy: Any) -> dict[str, Any]:
    """Subsets by the label ``version``."""
    spec: dict[str, Any] = {"host": fqdn(host)}
    if policy:
        spec["trafficPolicy"] = policy
    spec["subsets"] = [{"name": subset, "labels": {"version": subset}} for subset in subsets]
    return resource("DestinationRule", host, spec)


def virtual_service(host: str, *http: dict[str, Any]) -> dict[str, Any]:
    return resource("VirtualService", host, {"hosts": [fqdn(host)], "http": list(http)})


def route(host: str, weights: dict[str, int], **http: Any) -> dict[str, Any]:
    """One HTTP route to subsets by weight; ``match=[...]``, ``timeout=...`` and so on as in Istio's HTTPRoute."""
    destinations = [
        {"destination": {"host": fqdn(host), "subset": subset}, "weight": weight} for subset, weight in weights.items()
    ]
    return http | {"route": destinations}
