"""The nodes of a cluster without containers: every pod that the API server has is run here, as processes.

python -m e2e.cluster.kubelet --kubeconfig FILE --folder FOLDER [--host IP=NAME]... [--node NAME=REGION/ZONE]...

It schedules too, each pod on the next node. SIGTERM ends the program, and all pods with it. `pod.py` is a pod's life.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster.api import Api, ApiError
from e2e.cluster.network import NODE
from e2e.cluster.pod import Pod

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger(__name__)


class Kubelet:
    """All nodes in one: they share this machine."""

    def __init__(self, api: Api, folder: Path, nodes: dict[str, str], hosts: str) -> None:
        self._api = api
        self._folder = folder
        self._nodes = nodes
        self._hosts = hosts
        self._next_node = itertools.cycle(nodes)
        self._numbers = itertools.count(1)
        self._pods: dict[str, Pod] = {}

    def join(self) -> None:
        """Make the nodes known."""
        for name, place in self._nodes.items():
            region, _, zone = place.partition("/")
            labels = {"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            self._api.apply(node)
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
            addresses = [{"type": "InternalIP", "address": NODE}]
            self._api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [ready], "addresses": addresses}})

    def watch(self) -> None:
        """Follow all pods, until the process ends."""
        while True:
            try:
                for kind, pod in self._api.events("/api/v1/pods"):
                    self._observe(kind, pod)
            except Exception:
                logger.exception("the watch on pods broke; it is begun anew")
                time.sleep(1.0)

    def stop(self) -> None:
        for pod in list(self._pods.values()):
            pod.crash()
        for pod in list(self._pods.values()):
            pod.join()

    def _observe(self, kind: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            if known := self._pods.pop(uid, None):
                known.crash()
        elif uid in self._pods:
            self._pods[uid].observe(pod)
        elif not pod["spec"].get("nodeName"):
            self._bind(pod)
        else:
            number = next(self._numbers)
            self._pods[uid] = Pod(
                self._api, pod, number, self._folder / f"{number}-{pod['metadata']['name']}", self._hosts
            )
            self._pods[uid].start()

    def _bind(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            return
        node = next(self._next_node)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            self._api.create(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding", binding)
        except ApiError as error:
            logger.info("%s/%s is not bound: %s", meta["namespace"], meta["name"], error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--folder", required=True, type=Path, help="for logs, volumes and root file systems of pods")
    parser.add_argument(
        "--host", action="append", default=[], metavar="IP=NAME", help="a line of every pod's /etc/hosts"
    )
    parser.add_argument("--node", action="append", metavar="NAME=REGION/ZONE")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    nodes = dict(text.split("=", 1) for text in given.node or ("node-a=e2e/a", "node-b=e2e/b"))
    hosts = "".join(f"{text.replace('=', ' ')}\n" for text in given.host)
    kubelet = Kubelet(Api.load(given.kubeconfig), given.folder, nodes, hosts)
    kubelet.join()
    threading.Thread(target=kubelet.watch, name="watch", daemon=True).start()
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print("ready", flush=True)
    ended.wait()
    kubelet.stop()


if __name__ == "__main__":
    main()
