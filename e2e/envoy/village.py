"""The mesh that these tests live in: two services, one behind Envoy and one of ours, and their callers."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from e2e import yamls
from e2e.cluster.network import NODE
from e2e.envoy.bootstrap import ALPN_FILTER
from e2e.envoy.inbound import mode
from e2e.envoy.pods import DECLARED, TARGETS, TCP, UNDECLARED, Pod
from e2e.mesh import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from e2e.child import Child
    from e2e.envoy.pods import Answer

# What only Istio's own build of Envoy has, is off; `ALPN_OF_A_SIDECAR` puts back what peers can notice of it.
STOCK_ENVOY = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
# istiod does not wait for more after an edit. Not where services are called by name: that has once left callers without
# endpoints for as long as the village stood.
PROMPT = {"PILOT_DEBOUNCE_AFTER": "10ms"}
# Who has which kind of client.
CALLERS = {"ours": "walker", "ours-plain": "walker", "envoy": "bff", "grpcio-xds": "xds", "grpcio": "walker"}
PORTS: list[dict[str, Any]] = [
    {"number": DECLARED, "name": "grpc", "protocol": "GRPC", "targetPort": TARGETS[DECLARED]},
    {"number": TCP, "name": "tcp-raw", "protocol": "TCP", "targetPort": TARGETS[TCP]},
    {"number": UNDECLARED, "name": "any", "targetPort": TARGETS[UNDECLARED]},
]

ALPN_OF_A_SIDECAR = {
    "apiVersion": "networking.istio.io/v1alpha3",
    "kind": "EnvoyFilter",
    "metadata": {"name": "alpn-of-a-sidecar", "namespace": "istio-system"},
    "spec": {
        "configPatches": [
            {
                "applyTo": "HTTP_FILTER",
                "match": {
                    "context": "SIDECAR_OUTBOUND",
                    "listener": {
                        "filterChain": {
                            "filter": {
                                "name": "envoy.filters.network.http_connection_manager",
                                "subFilter": {"name": "envoy.filters.http.router"},
                            }
                        }
                    },
                },
                "patch": {
                    "operation": "INSERT_BEFORE",
                    "value": ALPN_FILTER,
                },
            }
        ]
    },
}


class Village:
    """Make it inside a private network. Pods come first, since the YAML tells their addresses; then `start`.

    ``prompt``: policies are told of at once, and nobody calls a service by its name.
    """

    def __init__(self, kind: str, folder: Path, born: Callable[[Child], object], *, prompt: bool = False) -> None:
        self._folder = folder
        self._born = born
        environment = STOCK_ENVOY | (PROMPT if prompt else {})
        self.mesh = KINDS[kind](folder, auto_mtls=True, host=NODE, environment=environment)
        self.pods: dict[str, Pod] = {}
        self._versions = itertools.count(1)

    def add(self, name: str, sidecar: bool = False, labels: Mapping[str, str] | None = None) -> Pod:
        pod = self.pods[name] = Pod(name, len(self.pods) + 1, self._folder, sidecar, labels)
        return pod

    def start(self, *more: dict[str, Any]) -> None:
        """Start the control plane, on ``more`` than the services, and what keeps each pod a member of the mesh."""
        services = [self._service(number, name) for number, name in enumerate(self.pods)]
        entries = [pod.entry() for pod in self.pods.values()]
        self.mesh.apply("services", yamls.documents(*services, *entries))
        self.apply(*more)
        if self.mesh.kind == "istiod":
            self.mesh.apply("alpn", yamls.documents(ALPN_OF_A_SIDECAR))
        self._born(self.mesh.child)
        self.mesh.start()
        for pod in self.pods.values():
            pod.join(self.mesh, {} if self.mesh.kind == "istiod" else self._own_outbound())

    def apply(self, *policies: dict[str, Any]) -> None:
        """These, and no others, beside the services.

        With a version each, as an API server would give them: istiod's cache of clusters knows a PeerAuthentication by
        its version alone, and would go on with those of another mode.
        """
        version = {"resourceVersion": str(next(self._versions))}
        documents = [policy | {"metadata": policy["metadata"] | version} for policy in policies]
        self.mesh.apply("policies", yamls.documents(*documents))

    def settle(self, modes: dict[int, str], limit: float = 30.0) -> None:
        """Wait until each server has these modes by service port, and has parted with what came under others."""
        for name, pod in self.pods.items():
            if pod.serves:
                for port, wanted in modes.items():
                    until(lambda pod=pod, port=port: mode(pod.inbound(port)), wanted, f"{name}:{port}", limit)
            if pod.sidecar is not None:
                until(pod.sidecar.draining, 0, f"filter chains that {name}'s Envoy still drains", limit)

    def call(self, kind: str, server: str, port: int, timeout: float = 10.0, *, fresh: bool = True) -> Answer:
        """From the pod that has such clients, as a program there would call the service; ``fresh``: on a new channel.

        ``envoy``: to the service's virtual address, through the sidecar; ``ours`` and ``grpcio-xds``: by its name;
        ``ours-plain`` and ``grpcio``: to the server's own address.
        """
        target = f"{self.pods[server].address}:{TARGETS[port]}"
        if kind in ("ours", "grpcio-xds"):
            target = f"xds:///{yamls.fqdn(server)}:{port}"
        if kind == "envoy":
            target = self._through_sidecar(server, port)
        return self.pods[CALLERS[kind]].call("grpcio" if kind == "envoy" else kind, target, timeout, fresh)

    def _through_sidecar(self, server: str, port: int) -> str:
        if self.mesh.kind == "istiod":
            return f"{self.virtual_address(server)}:{port}"
        addresses = {route: address for address, route in self._own_outbound().items()}
        return addresses[f"{yamls.fqdn(server)}:{port}"]

    def _own_outbound(self) -> dict[str, str]:
        """Where a sidecar listens for its app, and by which route that goes: localmesh has no outbound listeners."""
        routes = [f"{yamls.fqdn(name)}:{port}" for name in self.pods for port in (DECLARED, UNDECLARED)]
        return {f"127.0.0.1:{20_001 + number}": route for number, route in enumerate(routes)}

    def virtual_address(self, name: str) -> str:
        return f"10.96.0.{10 + list(self.pods).index(name)}"

    def stop(self) -> None:
        for pod in self.pods.values():
            pod.stop()
        self.mesh.stop()

    def _service(self, number: int, name: str) -> dict[str, Any]:
        return yamls.service_entry(name, addresses=[self.virtual_address(name)], ports=PORTS)


def until(asked: Callable[[], Any], wanted: object, what: str, limit: float) -> None:
    """Poll until this is the answer. `AssertionError` with the last one after ``limit`` seconds."""
    end = time.monotonic() + limit
    while (said := asked()) != wanted:
        assert time.monotonic() < end, f"{what}: {said!r} instead of {wanted!r} after {limit} s"
        time.sleep(0.05)


def peer_authentication(name: str, mode: str | None, app: str = "", **ports: str) -> dict[str, Any]:
    """For a whole namespace, or for one app; ``ports`` are modes by target port, as ``p19080="DISABLE"``."""
    spec: dict[str, Any] = {"mtls": {"mode": mode}} if mode else {}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {int(port[1:]): {"mode": mode} for port, mode in ports.items()}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": spec,
    }
