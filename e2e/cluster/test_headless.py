"""Headless Services: istiod leaves it to DNS where calls go, and keeps mutual TLS; pods come, go and have names."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e.cluster.conftest import Install
    from e2e.cluster.release import Object, Release

pytestmark = pytest.mark.timeout(300)

STORE = "store"  # a StatefulSet and its Service


@pytest.fixture(scope="module")
def release(install: Install) -> Release:
    return install()


@pytest.fixture(scope="module")
def store(release: Release) -> Store:
    store = Store(release)
    store.start()
    return store


class Store:
    """Three providers of the chart's as a StatefulSet, and callers of it: of all its pods, and of one."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.host = f"{STORE}.{release.namespace}.svc.cluster.local"
        self._deployments = {
            one["metadata"]["name"]: one
            for one in release.api.list(f"/apis/apps/v1/namespaces/{release.namespace}/deployments")
        }

    def start(self) -> None:
        """The Service first, as everybody does: at first it has no pods at all."""
        ports = [{"name": "grpc", "appProtocol": "grpc", "port": 9080, "targetPort": "grpc"}]
        self._apply("v1", "Service", STORE, {"clusterIP": "None", "selector": {"app": STORE}, "ports": ports})
        strict = {"selector": {"matchLabels": {"app": STORE}}, "mtls": {"mode": "STRICT"}}
        self._apply("security.istio.io/v1", "PeerAuthentication", STORE, strict)
        self.scale(3)
        self.wait_ready(3)

    def scale(self, replicas: int) -> None:
        spec = {
            "serviceName": STORE,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": STORE}},
            "template": self._template("reviews-v1", STORE),
        }
        self._apply("apps/v1", "StatefulSet", STORE, spec)

    def call(self, name: str, host: str) -> None:
        """A consumer of its own, which calls this host."""
        template = self._template("demo-consumer", name)
        [container] = template["spec"]["containers"]
        for variable in container["env"]:
            if variable["name"] == "TARGET":
                variable["value"] = f"xds:///{host}:9080"
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        self._apply("apps/v1", "Deployment", name, spec)
        self.release.wait(lambda: any(map(_is_ready, self.release.pods(name))), 90, f"{name} is ready")

    def demand_mutual_tls(self) -> None:
        spec = {"host": self.host, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
        self._apply("networking.istio.io/v1", "DestinationRule", STORE, spec)

    def wait_for_error(self, name: str, words: str) -> None:
        errors: list[str] = []

        def said() -> bool:
            errors[:] = self.told(name)["errors"]
            return any(words in error for error in errors)

        try:
            self.release.wait(said, 60, f"calls of {name} fail with {words!r}")
        finally:
            print(name, *errors[-1:])

    def told(self, name: str) -> Object:
        [pod] = self.release.pods(name)
        return self.release.stats(pod)

    def answering(self, name: str, calls: int = 30) -> set[str]:
        """The pods that answer so many calls from now on; none of them fails."""
        before = self.told(name)
        done = before["answered"] + before["failed"] + calls
        self.release.wait(
            lambda: bool(self.told(name)["answered"] + self.told(name)["failed"] >= done), 60, f"{calls} calls"
        )
        after = self.told(name)
        assert after["failed"] == before["failed"], after["errors"]
        answers = Counter(after["servers"])
        answers.subtract(before["servers"])
        return {server.partition("/")[2] for server in +answers}

    def wait_ready(self, count: int) -> None:
        def ready() -> bool:
            pods = self.release.pods(STORE)
            return len(pods) == count and all(map(_is_ready, pods))

        self.release.wait(ready, 90, f"{count} pods of {STORE} are ready")

    def _template(self, deployment: str, app: str) -> dict[str, Any]:
        template: dict[str, Any] = copy.deepcopy(self._deployments[deployment]["spec"]["template"])
        template["metadata"] = {"labels": {**template["metadata"]["labels"], "app": app}}
        return template

    def _apply(self, version: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.release.api.apply(manifest, self.release.namespace)


def _is_ready(pod: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def pods(*numbers: int) -> set[str]:
    return {f"{STORE}-{number}" for number in numbers}


def test_all_its_pods_are_called_over_mutual_tls(store: Store) -> None:
    store.call("of-all", store.host)
    store.release.wait(lambda: store.answering("of-all") == pods(0, 1, 2), 60, "all three answer")
    assert list(store.told("of-all")["seen_as"]) == [
        f"spiffe://cluster.local/ns/{store.release.namespace}/sa/demo-consumer"
    ]


def test_pods_that_come_are_called_and_no_call_fails_when_they_go(store: Store) -> None:
    before = store.told("of-all")["failed"]
    store.scale(4)
    store.wait_ready(4)
    store.release.wait(lambda: store.answering("of-all") == pods(0, 1, 2, 3), 90, "the fourth answers, too")
    store.scale(1)
    store.wait_ready(1)
    assert store.answering("of-all") == pods(0)
    store.scale(3)
    store.wait_ready(3)
    store.release.wait(lambda: store.answering("of-all") == pods(0, 1, 2), 90, "those that came back answer")
    assert store.told("of-all")["failed"] == before


def test_one_pod_is_called_by_its_own_name(store: Store) -> None:
    store.call("of-one", f"{STORE}-1.{store.host}")
    assert store.answering("of-one") == pods(1)


def test_a_service_without_pods_is_called_once_it_has_some(store: Store) -> None:
    """istiod infers TLS from the pods that are there, and tells nobody that the first STRICT ones have come.

    So whoever joined before them is told to send plaintext, with a sidecar too. A DestinationRule needs no pods.
    """
    store.scale(0)
    store.wait_ready(0)
    store.call("of-none", store.host)
    store.wait_for_error("of-none", f"'{store.host}' is not resolved")
    store.scale(2)
    store.wait_ready(2)
    store.wait_for_error("of-none", "it was called in plaintext")
    store.demand_mutual_tls()
    wanted = {f"v1/{pod}" for pod in pods(0, 1)}
    store.release.wait(lambda: set(store.told("of-none")["servers"]) == wanted, 90, "both answer")
    assert list(store.told("of-none")["seen_as"]) == list(store.told("of-all")["seen_as"])
