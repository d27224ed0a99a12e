"""The chart, rendered by Helm's own code and applied to a cluster: what a test changes by values, and what it sees."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from e2e.child import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster.api import Api

HELM = ROOT / ".build" / "helm"
CHART = ROOT / "charts" / "proxyless-demo"
STATUS = 8081  # examples/cluster/status_page.py

Object = dict[str, Any]
Values = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not HELM.exists():
        raise FileNotFoundError(f"{HELM} is not built: run e2e/cluster/build (or make e2e)")
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, check=False)


def render(namespace: str, values: Values, folder: Path) -> list[Object]:
    """The chart's objects."""
    file = folder / f"values-{namespace}.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm("template", str(CHART), "--release", "demo", "--namespace", namespace, "--values", str(file))
    if done.returncode:
        raise ValueError(f"the chart cannot be rendered with {values}: {done.stderr}")
    return [one for one in yaml.safe_load_all(done.stdout) if one]


class Release:
    """One installation of the chart, in a namespace of its own."""

    def __init__(self, api: Api, namespace: str, folder: Path) -> None:
        self.api = api
        self.namespace = namespace
        self._folder = folder
        self._core = f"/api/v1/namespaces/{namespace}"
        self._apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def install(self, values: Values, limit: float = 120.0) -> None:
        """Apply the chart with these values, over what is there, and wait until all its Deployments are rolled out."""
        # Every pod of the chart passes the strictest of Kubernetes' Pod Security Standards.
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.api.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        )
        for manifest in render(self.namespace, values, self._folder):
            self.api.apply(manifest, self.namespace)
        self.wait_rolled_out(limit)

    def uninstall(self) -> None:
        """Delete the namespace with all that is in it; returns when nothing runs there any more."""
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        self.wait(lambda: not self.api.list(f"{self._core}/pods"), 90.0, f"no pods in {self.namespace}")

    def restart(self, deployment: str) -> None:
        """As `kubectl rollout restart` does."""
        annotation = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        body = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
        self.api.patch(f"{self._apps}/{deployment}", body)

    def wait_rolled_out(self, limit: float = 120.0) -> None:
        """As `kubectl rollout status` does, for all; the pods of before are gone, too."""
        self.wait(self._rolled_out, limit, f"all Deployments of {self.namespace} are rolled out")

    def pods(self, app: str) -> list[Object]:
        return self.api.list(f"{self._core}/pods", labelSelector=f"app={app}")

    def stats(self, pod: Object) -> Object:
        """What the program in the pod tells about itself."""
        return dict(json.loads(self.api.pod_get(self.namespace, pod["metadata"]["name"], STATUS, "stats")))

    def members(self) -> list[Object]:
        """What each pod that is not going away tells about itself."""
        pods = [*self.pods("demo-consumer"), *self.pods("reviews")]
        return [self.stats(pod) for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def consumer(self) -> Object:
        (pod,) = self.pods("demo-consumer")
        return self.stats(pod)

    def wait_for_calls(self, limit: float = 60.0) -> None:
        """Until all providers are known to the consumer: a hundred calls in a row are answered."""

        def flows() -> bool:
            before = self.consumer()
            self.wait(lambda: _calls(self.consumer()) >= _calls(before) + 100, limit, "the consumer calls")
            return bool(self.consumer()["failed"] == before["failed"])

        self.wait(flows, limit, "a hundred calls in a row are answered")

    @contextmanager
    def no_failed_call(self, at_least: int) -> Iterator[None]:
        """Of the calls between entering and leaving, all are answered, and there are so many at least."""
        before = self.consumer()
        yield
        after = self.consumer()
        answered, failed = after["answered"] - before["answered"], after["failed"] - before["failed"]
        print(f"\n{answered} calls answered, {failed} failed; the slowest so far took {after['slowest']:.3f} s")
        assert not failed, f"{failed} calls failed: {after['errors'][-failed:]}"
        assert answered >= at_least

    def wait(self, holds: Callable[[], bool], limit: float, what: str) -> None:
        end = time.monotonic() + limit
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"not within {limit:g} s: {what}\n{self.report()}")
            time.sleep(0.2)

    def report(self) -> str:
        """How its pods are, and what its calls came to, for a test that fails."""
        lines = [str(self.stats(pod).get("errors")) for pod in self.pods("demo-consumer")]
        for pod in self.api.list(f"{self._core}/pods"):
            states = [{key: one[key] for key in ("state", "ready", "restartCount")} for one in _containers(pod)]
            lines.append(f"{pod['metadata']['name']}: {pod['status'].get('phase')} {states}")
        return "\n".join(lines) or "no pods"

    def _rolled_out(self) -> bool:
        deployments = self.api.list(self._apps)
        whole = all(_is_rolled_out(one) for one in deployments)
        wanted = sum(one["spec"]["replicas"] for one in deployments)
        return whole and len(self.api.list(f"{self._core}/pods")) == wanted


def _calls(stats: Object) -> int:
    return int(stats["answered"] + stats["failed"])


def _containers(pod: Object) -> list[Object]:
    return list(pod["status"].get("containerStatuses", []))


def _is_rolled_out(deployment: Object) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return False
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3
