"""A real Kubernetes control plane and a real istiod on it, as processes in the private network.

kube-apiserver with etcd, kube-controller-manager and istiod are built by e2e/cluster/build; the node is kubelet.py.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import urllib3
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.child import ROOT, Child
from e2e.cluster.api import Api
from e2e.cluster.network import NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

KUBERNETES = ROOT / ".build" / "kubernetes"
ISTIOD = ROOT / ".build" / "controlplane"

ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICES = "10.96.0.0/16"
ISTIO_NAMESPACE = "istio-system"
DISCOVERY_HOST = "istiod.istio-system.svc"

# What the workloads and the PodDisruptionBudgets of the tests need in order to mean something.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "disruption-controller",
    "root-ca-certificate-publisher-controller",
)


class Daemon(Child):
    """A program that says by an answer to a request, and not by a line of output, that it is ready."""

    def __init__(self, name: str, command: list[str], log: Path, answers: Callable[[], bool], limit: float) -> None:
        super().__init__(name, command, log, limit=limit)
        self._answers = answers

    def _wait_ready(self, offset: int) -> None:
        end = time.monotonic() + self._limit
        while not self._answers():
            if not self.running:
                raise RuntimeError(f"{self.name} ended before it was ready:\n{self.tail()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} is not ready after {self._limit} s:\n{self.tail()}")
            time.sleep(0.05)


class ControlPlane:
    """Lives in one folder, in the private network that the calling thread is in."""

    def __init__(self, folder: Path) -> None:
        for program in (KUBERNETES, ISTIOD):
            if not program.exists():
                raise FileNotFoundError(f"{program} is not built: run e2e/cluster/build (or make e2e)")
        self.folder = folder
        self.ca = folder / "ca"  # istiod's; root-cert.pem and its kind, watched
        self.kubeconfig = folder / "kubeconfig"
        self._token = secrets.token_hex(16)
        self._certificates = folder / "apiserver"
        self.apiserver = Daemon("kube-apiserver", self._apiserver(), folder / "apiserver.log", self._is_up, 120.0)
        self.controllers = Daemon("controllers", self._controllers(), folder / "controllers.log", lambda: True, 60.0)
        self.istiod = Child("istiod", self._istiod(), folder / "istiod.log", limit=120.0)
        self.kubelet = Child("kubelet", self._kubelet(), folder / "kubelet.log", limit=60.0)
        self.nameserver = Child("nameserver", self._nameserver(), folder / "nameserver.log", limit=60.0)
        self.children = [self.apiserver, self.controllers, self.istiod, self.nameserver, self.kubelet]

    def start(self) -> Api:
        self._write_credentials()
        self.apiserver.start()
        self._write_kubeconfig()
        self.controllers.start()
        api = Api.load(str(self.kubeconfig))
        self._install_istio(api)
        self.istiod.start()
        self.nameserver.start()
        self.kubelet.start()
        return api

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()

    def pod_logs(self) -> list[Path]:
        """Of every container so far, in the order in which their pods came."""
        return sorted(self.folder.glob("pods/*/*.log"), key=lambda log: int(log.parent.name.partition("-")[0]))

    def _apiserver(self) -> list[str]:
        key = f"{self.folder}/service-accounts.key"
        return [
            *(str(KUBERNETES), "apiserver", f"{self.folder}/etcd"),
            f"--bind-address={NODE}",
            f"--cert-dir={self._certificates}",
            f"--token-auth-file={self.folder}/users.csv",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--api-audiences={ISSUER}",
            f"--service-cluster-ip-range={SERVICES}",
            "--endpoint-reconciler-type=none",
        ]

    def _controllers(self) -> list[str]:
        return [
            *(str(KUBERNETES), "controllers"),
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self.folder}/service-accounts.key",
            f"--root-ca-file={self._certificates}/apiserver.crt",
            f"--cert-dir={self.folder}/controllers",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ]

    def _istiod(self) -> list[str]:
        return [
            *(str(ISTIOD), "--kubeconfig", str(self.kubeconfig), "--ca", str(self.ca)),
            *("--mesh", str(self.folder / "mesh.yaml")),
            *("--secure-grpc", f"{NODE}:15012", "--grpc", f"{NODE}:15010", "--http", f"{NODE}:8080"),
            *("--https", f"{NODE}:15017", "--monitoring", f"{NODE}:15014", "--log", "info"),
        ]

    def _nameserver(self) -> list[str]:
        command = [sys.executable, "-m", "e2e.cluster.nameserver", "--kubeconfig", str(self.kubeconfig)]
        return [*command, "--listen", NODE]

    def _kubelet(self) -> list[str]:
        command = [sys.executable, "-m", "e2e.cluster.kubelet", "--kubeconfig", str(self.kubeconfig)]
        return [*command, "--folder", str(self.folder / "pods"), "--host", f"{NODE}={DISCOVERY_HOST}"]

    def _is_up(self) -> bool:
        certificate = self._certificates / "apiserver.crt"
        if not certificate.exists():
            return False
        pool = urllib3.PoolManager(ca_certs=str(certificate))
        with suppress(urllib3.exceptions.HTTPError):
            headers = {"Authorization": f"Bearer {self._token}"}
            return pool.request("GET", f"https://{NODE}:6443/readyz", headers=headers, retries=False).status == 200
        return False

    def _write_credentials(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        _write_private(self.folder / "service-accounts.key", key)
        _write_private(self.folder / "users.csv", f"{self._token},admin,admin,system:masters\n".encode())
        mesh = {
            "trustDomain": "cluster.local",
            "rootNamespace": ISTIO_NAMESPACE,
            "defaultConfig": {"discoveryAddress": f"{DISCOVERY_HOST}:15012"},
        }
        (self.folder / "mesh.yaml").write_text(yaml.safe_dump(mesh))

    def _write_kubeconfig(self) -> None:
        server = {
            "server": f"https://{NODE}:6443",
            "certificate-authority": str(self._certificates / "apiserver.crt"),
        }
        said = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "admin"}}],
            "current-context": "e2e",
        }
        _write_private(self.kubeconfig, json.dumps(said).encode())

    def _install_istio(self, api: Api) -> None:
        """What Istio's charts install, but for istiod itself, which is a process here."""
        printed = subprocess.run([str(ISTIOD), "crds"], check=True, capture_output=True).stdout
        definitions = [one for one in yaml.load_all(printed, Loader=_YAML) if one]
        apply_all(api, definitions)
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ISTIO_NAMESPACE}})
        for one in definitions:
            _wait_established(api, one["metadata"]["name"])


def apply_all(api: Api, manifests: Iterable[dict[str, Any]], namespace: str = "") -> None:
    for manifest in manifests:
        api.apply(manifest, namespace)


def _wait_established(api: Api, name: str, limit: float = 60.0) -> None:
    end = time.monotonic() + limit
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    while True:
        conditions = api.get(path).get("status", {}).get("conditions", [])
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{name} is not established after {limit} s: {conditions}")
        time.sleep(0.05)


def _write_private(path: Path, data: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(data)


# The definitions are 700 KiB of YAML: seconds in pure Python.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
