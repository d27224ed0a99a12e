"""One pod's life on this node: network, volumes, containers, probes, status, and its end in Kubernetes' order.

One thread per pod, as the kubelet's pod workers. What the API server should know is written to the pod's status.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from e2e.cluster.api import ApiError
from e2e.cluster.downward import environment, expand
from e2e.cluster.nameserver import DOMAIN
from e2e.cluster.network import NODE, PodNetwork
from e2e.cluster.probes import Probe
from e2e.cluster.sandbox import Container, Mount, user_of
from e2e.cluster.volumes import Volume, VolumeError

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.api import Api

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds between two looks at a pod
_REFRESH = 1.0  # seconds between two looks at what its volumes are made of; the kubelet takes a minute
_BACK_OFF = (1.0, 30.0)  # first and longest pause before a container is started again; the kubelet's are 10 s and 300 s


def _resolver(namespace: str) -> str:
    """As the kubelet writes it for ClusterFirst."""
    search = f"{namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
    return f"search {search}\nnameserver {NODE}\noptions ndots:5\n"


class Running:
    """One container spec of a pod and what runs of it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.container: Container | None = None
        self.probes: dict[str, Probe] = {}
        self.restarts = 0
        self.last_exit: int | None = None
        self.start_at = 0.0

    @property
    def started(self) -> bool:
        return self.container is not None and ("startup" not in self.probes or self.probes["startup"].succeeded)

    @property
    def ready(self) -> bool:
        return self.started and ("readiness" not in self.probes or self.probes["readiness"].succeeded)


class Pod:
    """``pod`` is the object as the API server has it; `observe` takes newer ones."""

    def __init__(self, api: Api, pod: dict[str, Any], number: int, folder: Path, hosts: str) -> None:
        self._api = api
        self._pod = pod
        meta = pod["metadata"]
        self.uid, self._key = meta["uid"], f"{meta['namespace']}/{meta['name']}"
        self._path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._number = number
        self._folder = folder
        self._hosts = hosts
        self._running = [Running(spec) for spec in pod["spec"]["containers"]]
        self._since: dict[str, tuple[str, str]] = {}
        self._told: dict[str, Any] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._live, name=self._key)
        if "deletionTimestamp" in meta:
            self._ending.set()

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def observe(self, pod: dict[str, Any]) -> None:
        self._pod["metadata"] = pod["metadata"]
        if "deletionTimestamp" in pod["metadata"]:
            self._ending.set()

    def crash(self) -> None:
        """The node goes down, and nobody gets to say goodbye."""
        for one in self._running:
            if one.container is not None:
                one.container.kill()
        self._ending.set()

    def _live(self) -> None:
        network: PodNetwork | None = None
        try:
            self._folder.mkdir(parents=True)
            network = PodNetwork(self._number)
            self._pod["status"] |= {"podIP": network.address, "hostIP": NODE}
            hosts = f"127.0.0.1 localhost\n{network.address} {self._pod['metadata']['name']}\n{self._hosts}"
            (self._folder / "hosts").write_text(hosts)
            (self._folder / "resolv.conf").write_text(_resolver(self._pod["metadata"]["namespace"]))
            self._run(network)
        except Exception:
            logger.exception("%s: its worker failed", self._key)
        finally:
            self._stop()
            if network:
                network.close()
            shutil.rmtree(self._folder / "volumes", ignore_errors=True)
            with suppress(ApiError):
                self._api.delete(self._path, grace=0, uid=self.uid)
            logger.info("%s: gone", self._key)

    def _run(self, network: PodNetwork) -> None:
        owner = user_of(self._pod, self._pod["spec"]["containers"][0])
        volumes = {
            one["name"]: Volume(self._api, self._pod, one, self._folder / "volumes" / one["name"], owner)
            for one in self._pod["spec"].get("volumes", [])
        }
        refreshed = -_REFRESH
        mounted = False
        while not self._ending.is_set():
            now = time.monotonic()
            if now - refreshed >= _REFRESH:
                refreshed = now
                mounted = self._refresh(volumes) or mounted
            for one in self._running if mounted else ():
                self._look_after(one, network, volumes)
            self._tell(network.address)
            self._ending.wait(TICK)

    def _refresh(self, volumes: dict[str, Volume]) -> bool:
        try:
            for volume in volumes.values():
                volume.refresh()
        except (VolumeError, ApiError) as error:
            logger.warning("%s: FailedMount: %s", self._key, error)
            return False
        return True

    def _look_after(self, one: Running, network: PodNetwork, volumes: dict[str, Volume]) -> None:
        if one.container is not None and (code := one.container.poll()) is not None:
            logger.warning("%s: container %s ended with %d", self._key, one.spec["name"], code)
            self._will_restart(one, code)
        if one.container is None:
            if time.monotonic() >= one.start_at:
                self._start(one, network, volumes)
            return
        for kind, probe in one.probes.items():
            if kind == "startup" or one.started:
                before = probe.succeeded
                probe.due()
                if before and not probe.succeeded:
                    logger.warning("%s: %s probe fails: %s", self._key, kind, probe.reason)
            if kind in ("startup", "liveness") and probe.failed:
                logger.warning("%s: %s probe failed: %s", self._key, kind, probe.reason)
                self._end_container(one)
                self._will_restart(one, 137)
                return

    def _start(self, one: Running, network: PodNetwork, volumes: dict[str, Volume]) -> None:
        spec = one.spec
        variables = environment(self._api, self._pod, spec)
        mounts = [
            Mount(volumes[said["name"]].folder, said["mountPath"], said.get("readOnly", False))
            for said in spec.get("volumeMounts", [])
        ]
        expanded = {key: [expand(text, variables) for text in spec.get(key, [])] for key in ("command", "args")}
        one.container = Container(
            self._pod, {**spec, **expanded}, network, environment=variables, mounts=mounts, folder=self._folder
        )
        ports = {said["name"]: said["containerPort"] for said in spec.get("ports", []) if "name" in said}
        one.probes = {
            kind: Probe(spec[f"{kind}Probe"], network.address, ports, one.container.run)
            for kind in ("startup", "readiness", "liveness")
            if f"{kind}Probe" in spec
        }
        logger.info("%s: container %s started at %s", self._key, spec["name"], network.address)

    def _will_restart(self, one: Running, code: int) -> None:
        first, longest = _BACK_OFF
        one.start_at = time.monotonic() + min(longest, first * 2**one.restarts)
        one.container, one.probes, one.last_exit = None, {}, code
        one.restarts += 1

    def _stop(self) -> None:
        for one in self._running:
            self._end_container(one)

    def _end_container(self, one: Running) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace period is over; the hook's time counts (container_manager)."""
        if one.container is None:
            return
        grace = self._pod["metadata"].get("deletionGracePeriodSeconds")
        if grace is None:
            grace = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        end = time.monotonic() + grace
        hook = one.spec.get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            one.container.wait(hook["sleep"]["seconds"])
        elif "exec" in hook:
            one.container.run(hook["exec"]["command"], grace)
        one.container.terminate()
        if not one.container.wait(max(0.0, end - time.monotonic())):
            logger.warning("%s: container %s did not end within %d s: killed", self._key, one.spec["name"], grace)
            one.container.kill()

    def _tell(self, address: str) -> None:
        started = all(one.container is not None or one.restarts for one in self._running)
        ready = all(one.ready for one in self._running)
        status = {
            "phase": "Running" if started else "Pending",
            "hostIP": NODE,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                self._condition("PodScheduled", True),
                self._condition("Initialized", True),
                self._condition("ContainersReady", ready),
                self._condition("Ready", ready),
            ],
            "containerStatuses": [self._container_status(one) for one in self._running],
        }
        if status == self._told:
            return
        try:
            self._api.patch(f"{self._path}/status", {"status": status})
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            self._ending.set()
        self._told = status

    def _condition(self, kind: str, holds: bool) -> dict[str, str]:
        status = str(holds)
        if self._since.get(kind, ("", ""))[0] != status:
            self._since[kind] = (status, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return {"type": kind, "status": status, "lastTransitionTime": self._since[kind][1]}

    def _container_status(self, one: Running) -> dict[str, Any]:
        if one.container is not None:
            state: dict[str, Any] = {"running": {}}
        elif one.restarts:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"ended with {one.last_exit}"}}
        else:
            state = {"waiting": {"reason": "ContainerCreating"}}
        return {
            "name": one.spec["name"],
            "image": one.spec["image"],
            "imageID": "this checkout",
            "ready": one.ready,
            "started": one.started,
            "restartCount": one.restarts,
            "state": state,
        }
