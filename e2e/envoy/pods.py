"""Pods: a network of their own each, an identity, a token; what runs in them; and the YAML that makes them a mesh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e import yamls
from e2e.child import ROOT, Child
from e2e.cluster.network import NODE, PodNetwork
from e2e.envoy import netlink
from e2e.envoy.agent import SERVER_NAME, agent_command
from e2e.envoy.bootstrap import HEALTH, INBOUND, MARK, OUTBOUND, PROMETHEUS, STATUS, SidecarNode
from e2e.envoy.control import Line
from e2e.envoy.inbound import Chain
from e2e.envoy.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.mesh import Mesh

TRUST_DOMAIN = "cluster.local"
DECLARED, TCP, UNDECLARED = 9080, 9081, 9082  # the service's ports; the pod's own are 10,000 more
TARGETS = {port: port + 10_000 for port in (DECLARED, TCP, UNDECLARED)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One call as a `Pod.call` made it: who answered, or what went wrong, and what the server saw of its caller."""

    server: str | None
    code: str
    details: str
    seen: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    ended: float = 0.0

    @property
    def accepted(self) -> bool:
        return self.server is not None

    @property
    def identity(self) -> str:
        """Whom the server, or the sidecar before it, took the caller for; empty: nobody in particular."""
        parts = dict(one.partition("=")[::2] for one in self.seen.get("xfcc", "").split(",")[-1].split(";"))
        return self.seen.get("peer") or parts.get("URI", "")


class Pod:
    """Service account and app are called as the pod is. ``sidecar``: with Envoy, and all that istio-iptables does.

    ``labels``: more than those that every pod has.
    """

    def __init__(
        self, name: str, number: int, folder: Path, sidecar: bool, labels: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._labels = dict(labels or {})
        self.network = PodNetwork(number)
        self.address = self.network.address
        self.identity = f"spiffe://{TRUST_DOMAIN}/ns/demo/sa/{name}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
        self.sidecar: Sidecar | None = None
        self.children: list[Child] = []
        self.serves = False
        self._with_sidecar = sidecar
        # /proc/self would be nsenter's own
        self.enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.network.namespace}"]
        self._control = Line(str(self.folder / "control"))
        if sidecar:
            self.network.inside(lambda: netlink.redirect(INBOUND, OUTBOUND, (STATUS, HEALTH, PROMETHEUS), MARK, NODE))

    def join(self, mesh: Mesh, outbound: dict[str, str]) -> None:
        """Get what the kubelet mounts and, if it has one, the sidecar. ``outbound``: see `bootstrap`."""
        self.token = self.folder / "token"
        self.token.write_text(mesh.token("demo", self.name))
        self.mesh = mesh
        if self._with_sidecar:
            self.sidecar = Sidecar(self._node(), self.enter, mesh, self.folder, self.token, outbound)
            self.children += [self.sidecar.agent, self.sidecar.envoy]
            self.sidecar.start()

    def serve(self, engine: str) -> None:
        """Be a workload: the Greeter of grpcio, rpc or rpc.aio, on all of its ports."""
        self.serves = True
        listen = [word for port in TARGETS.values() for word in ("--listen", f"{self.address}:{port}")]
        self._run("e2e.envoy.app", "--name", self.name, "--engine", engine, *listen)

    def be_caller(self) -> None:
        """Be a client: what `call` needs, with certificates in files for grpcio's own xDS."""
        self._run("e2e.envoy.caller", environment={"GRPC_XDS_BOOTSTRAP": str(self._grpc_bootstrap())})

    def call(self, kind: str, target: str, timeout: float = 10.0, fresh: bool = True) -> Answer:
        """See `e2e.envoy.caller` for the kinds; ``timeout`` in seconds."""
        asked = {"do": "call", "kind": kind, "target": target, "timeout": timeout, "fresh": fresh}
        return Answer(**self._control.ask(asked, timeout + 30.0))

    def inbound(self, port: int) -> list[Chain]:
        """The filter chains that its sidecar, or our server itself, has for a service port."""
        if self.sidecar is not None:
            return self.sidecar.inbound(TARGETS[port])
        return [
            Chain(name, transport, tuple(alpn), http, mutual)
            for name, transport, alpn, http, mutual in self.ask({"port": TARGETS[port]})
        ]

    def ask(self, question: dict[str, Any]) -> Any:
        """What the program in it answers."""
        return self._control.ask(question)

    def labels(self) -> dict[str, str]:
        return {"app": self.name, "version": "v1", "security.istio.io/tlsMode": "istio"} | self._labels

    def entry(self) -> dict[str, Any]:
        """The WorkloadEntry."""
        return yamls.workload_entry(
            self.name, self.address, self.name, "v1", labels=self.labels(), serviceAccount=self.name
        )

    def certificate_files(self) -> dict[str, str]:
        """``certificate``, ``key`` and ``roots``: files for programs that read such. Made at the first use."""
        files = {name: str(self.folder / f"{name}.pem") for name in ("certificate", "key", "roots")}
        if not Path(files["roots"]).exists():
            agent = [*self.enter, *agent_command(self.mesh, self.token), "--write", str(self.folder)]
            subprocess.run(agent, check=True, cwd=ROOT, timeout=60)
        return files

    def stop(self) -> None:
        self._control.close()
        for child in reversed(self.children):
            child.stop()
        self.network.close()

    def _run(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [*self.enter, sys.executable, "-m", module, "--control", str(self.folder / "control"), *arguments]
        child = Child(
            self.name, command, self.folder / "log", limit=60.0, environment=self._environment() | (environment or {})
        )
        self.children.append(child)
        child.start()

    def _environment(self) -> dict[str, str]:
        """What a pod's manifest would say to a program of ours."""
        return {
            "PROXYLESS_DISCOVERY_ADDRESS": self.mesh.secure_address,
            "PROXYLESS_SECURITY": "tls",
            "PROXYLESS_SERVER_NAME": SERVER_NAME,
            "PROXYLESS_TOKEN_PATH": str(self.token),
            "PROXYLESS_ROOT_CERTIFICATE_PATH": str(self.mesh.root),
            "PROXYLESS_LABELS": ",".join(f"{key}={value}" for key, value in self.labels().items()),
            "POD_NAME": self.name,
            "POD_NAMESPACE": "demo",
            "INSTANCE_IP": self.address,
            "SERVICE_ACCOUNT": self.name,
        }

    def _grpc_bootstrap(self) -> Path:
        """As pilot-agent writes it for grpc's own xDS (pkg/istio-agent/grpcxds)."""
        files = self.certificate_files()
        provider = {
            "certificate_file": files["certificate"],
            "private_key_file": files["key"],
            "ca_certificate_file": files["roots"],
            "refresh_interval": "900s",
        }
        node = self._node()
        server = {
            "server_uri": self.mesh.address,
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }
        said = {
            "xds_servers": [server],
            "node": {"id": node.id, "metadata": node.metadata() | {"GENERATOR": "grpc"}},
            "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": provider}},
        }
        path = self.folder / "grpc-bootstrap.json"
        path.write_text(json.dumps(said))
        return path

    def _node(self) -> SidecarNode:
        return SidecarNode(self.name, self.address, self.name, labels=self.labels())
