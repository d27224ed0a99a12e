"""Our side of the control plane's stream: one exchanger per mesh, introduced as a workload of the namespace demo."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from xds_client.bootstrap import Bootstrap
from xds_client.exchanger import PilotExchanger
from xds_client.model import Locality, Target, TargetConfig, TargetMissing
from xds_client.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.mesh import Mesh

NODE = Node(ip="127.0.0.9", pod="e2e-client", namespace="demo", labels=(("app", "e2e-client"),))
NODE_ID = NODE.id

Told = TargetConfig | TargetMissing


def open_exchanger(mesh: Mesh, locality: str = "") -> PilotExchanger:
    """``locality`` as Istio writes it: ``region/zone/sub_zone``."""
    node = replace(NODE, locality=Locality(*locality.split("/"))) if locality else NODE
    return PilotExchanger(Bootstrap(node, mesh.address, "plaintext"))


def target_configs(exchanger: PilotExchanger, targets: Iterable[str], limit: float = 10.0) -> dict[str, Told]:
    """What each target's configuration is once all are told and nothing has changed for a third of a second."""
    told: dict[str, Told] = {}
    changed = threading.Event()
    names = list(targets)

    def keep(name: str, config: Told) -> None:
        told[name] = config
        changed.set()

    handles = [
        exchanger.observe_target(Target.parse(name), lambda config, name=name: keep(name, config)) for name in names
    ]
    try:
        end = time.monotonic() + limit
        while changed.wait(0.33) or len(told) < len(names):
            changed.clear()
            if time.monotonic() > end:
                untold = [name for name in names if name not in told]
                raise TimeoutError(f"after {limit} s {untold or 'something'} is not settled: {exchanger.status()}")
        return told
    finally:
        for handle in handles:
            handle.close()
