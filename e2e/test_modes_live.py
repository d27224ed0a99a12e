"""PeerAuthentication flipped while everybody calls: no call that is legal before and after may fail."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from e2e.envoy.load import RATE, Calls
from e2e.envoy.pods import DECLARED
from e2e.envoy.village import CALLERS, peer_authentication, until

if TYPE_CHECKING:
    from e2e.envoy.pods import Answer
    from e2e.envoy.village import Village

pytestmark = pytest.mark.timeout(300)

STAY = 5.0  # seconds in each mode: longer than Envoy drains (sidecar.DRAIN), so that connections of before are gone
# Each kind of client, and the modes in which its calls are legal.
LEGAL = {
    "ours": {"STRICT", "PERMISSIVE", "DISABLE"},
    "envoy": {"STRICT", "PERMISSIVE", "DISABLE"},
    "ours-plain": {"PERMISSIVE", "DISABLE"},
    "grpcio": {"PERMISSIVE", "DISABLE"},
}
MODES = ["PERMISSIVE", "STRICT", "PERMISSIVE", "DISABLE", "PERMISSIVE"]


@dataclass(frozen=True, slots=True)
class Stay:
    """From one flip to the next, in seconds of the monotonic clock, which the pods' programs share."""

    before: str
    mode: str
    begin: float
    end: float

    def calls(self, answers: list[Answer]) -> list[Answer]:
        """Those that happened wholly within it."""
        return [one for one in answers if self.begin <= one.started and one.ended <= self.end]

    def __str__(self) -> str:
        return f"{self.before} -> {self.mode}"


def flip_through(town: Village, running: list[Calls]) -> list[Stay]:
    stays = []
    for before, mode in itertools.pairwise(MODES):
        begin = time.monotonic()
        town.apply(peer_authentication("all", mode))
        town.settle({DECLARED: mode})
        for calls in running:
            settle(town, mode, calls)
        time.sleep(max(0.0, begin + STAY - time.monotonic()))
        stays.append(Stay(before, mode, begin, time.monotonic()))
    return stays


def settle(town: Village, mode: str, calls: Calls) -> None:
    """Connections of before do not outlast a mode that would not let them in; who was refused comes back by itself."""
    kind, last = calls.kind, lambda: calls.answers[-1]
    if mode == "STRICT" and mode in LEGAL[kind]:
        identity = town.pods[CALLERS[kind]].identity
        until(lambda: last().identity, identity, f"under STRICT, the identity of {kind}", 20.0)
    else:
        until(lambda: last().accepted, mode in LEGAL[kind], f"under {mode}, calls of {kind} are let in", 20.0)


def test_flips_under_load(town: Village, server: str) -> None:
    town.apply(peer_authentication("all", MODES[0]))
    town.settle({DECLARED: MODES[0]})
    with ExitStack() as calling:
        running = [
            calling.enter_context(Calls(kind, lambda kind=kind: town.call(kind, server, DECLARED, fresh=False)))
            for kind in LEGAL
        ]
        for calls in running:
            until(lambda calls=calls: len(calls.answers) > RATE, True, f"{calls.kind} calls", 30.0)
        stays = flip_through(town, running)
    for calls in running:
        # The control: where one push comes before the other, Envoy speaks TLS to a plain port.
        between_envoys = calls.kind == "envoy" and server == "shop"
        for stay in stays:
            made = stay.calls(calls.answers)
            failed = [one for one in made if not one.accepted]
            print(f"{calls.kind:>10} {stay!s:>24}: {len(made)} calls, {len(failed)} failed")
            if {stay.before, stay.mode} <= LEGAL[calls.kind] and not between_envoys:
                assert not failed, f"{calls.kind}, {stay}: {len(failed)} of {len(made)} failed, first {failed[0]}"
                assert len(made) > RATE, f"{calls.kind}, {stay}: only {len(made)} calls, which shows nothing"
