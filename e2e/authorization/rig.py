"""The servers that the table is about, under whichever policies, and the callers that ask them.

A case is one request on a connection of its own; a set of policies is one push of the control plane.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

from e2e.authorization.callers import Answer, Callers
from e2e.authorization.cases import CALLERS, GUARDED, audit, rule
from e2e.cluster.network import PREFIX, SWITCH
from e2e.envoy import netlink
from e2e.envoy.pods import TARGETS
from e2e.envoy.village import until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.authorization.cases import Case, Policies
    from e2e.envoy.village import Village

ENVOY, SYNC, AIO = "envoy", "sync", "aio"
SERVERS = (ENVOY, SYNC, AIO)

_SETTLED = 3.0  # seconds within which a server that has heard of policies obeys them


class Guarded:
    """``envoy``: a plain gRPC server behind a real Envoy sidecar; ``sync`` and ``aio``: servers of ours, without one.

    All carry the labels `GUARDED`, and have one service account.
    """

    def __init__(self, village: Village, folder: Path) -> None:
        self.village = village
        self._numbers = itertools.count(1)
        self._mesh: dict[str, object] = {}
        for caller in CALLERS:
            netlink.assign(SWITCH, caller.address, PREFIX)
        for name in SERVERS:
            village.add(name, sidecar=name == ENVOY, labels=GUARDED)
        village.start()
        village.pods[ENVOY].serve("grpcio")
        village.pods[SYNC].serve("rpc")
        village.pods[AIO].serve("rpc.aio")
        self._callers = Callers(village.mesh.ca, folder)

    def apply(self, policies: Policies) -> None:
        """Put these in force, and no others, on all servers; returns when each has been told."""
        if policies.mesh != self._mesh:
            self.village.mesh.configure(**policies.mesh)
            self._mesh = policies.mesh
        # An AUDIT policy decides nothing. Its name tells this push from all others.
        sign = f"push-{next(self._numbers)}"
        self.village.apply(*policies.documents, audit(rule(), name=sign))
        for name in SERVERS:
            until(lambda name=name: self.is_told(name, f"policy[{sign}]"), True, f"{name} is told {policies}", 20.0)

    def is_told(self, name: str, words: str) -> bool:
        pod = self.village.pods[name]
        if pod.sidecar is None:
            return bool(pod.ask({"mentions": words}))
        dumped = json.loads(pod.sidecar.ask("/config_dump?resource=dynamic_listeners&name_regex=virtualInbound"))
        [listener] = dumped["configs"]
        return "warming_state" not in listener and words in json.dumps(listener.get("active_state", {}))

    def ask(self, server: str, case: Case) -> Answer:
        pod = self.village.pods[server]
        return self._callers.send(pod.address, TARGETS[case.request.port], case.request)

    def differences(self, server: str, policies: Policies, limit: float = _SETTLED) -> dict[str, str]:
        """What this server does otherwise than the table says, by case; it has ``limit`` seconds to come round."""
        end = time.monotonic() + limit
        while True:
            found = dict(self._differing(server, policies))
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def _differing(self, server: str, policies: Policies) -> list[tuple[str, str]]:
        answers = (
            (case.name, case.expected if server == ENVOY else case.expected_of_ours, self.ask(server, case))
            for case in policies.cases
        )
        return [
            (name, f"{answer.outcome} instead of {expected}: {answer.head} {answer.body[:60]!r}")
            for name, expected, answer in answers
            if answer.outcome != expected
        ]
