"""What happens in the demo, in order: each step changes something, watches the calls, and checks what it expects."""

from __future__ import annotations

import time
from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING

import grpc

from examples.demo.consumer import NAME
from examples.demo.mesh_folder import CHANGES
from examples.demo.pod import NAMESPACE
from examples.demo.processes import ROOT
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.demo.consumer import Answer, Consumer
    from examples.demo.mesh_folder import MeshFolder
    from examples.demo.processes import Process
    from examples.demo.report import Report
    from examples.demo.who_may_call import WhoMayCall

SETTLE = 2.0  # seconds within which an edit has moved the calls
OUTAGE = 6.0
IDENTITY = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{NAME}"
REFUSED_WITHIN = 2.0
REACH_LIMIT = 15.0  # seconds until a control plane that is back is heard: the client's longest back-off, and some


class Steps:
    """``pace``: for how many seconds each step is watched."""

    def __init__(
        self,
        mesh: MeshFolder,
        control_plane: Process,
        consumer: Consumer,
        who_may_call: WhoMayCall,
        report: Report,
        pace: float,
    ) -> None:
        self._mesh = mesh
        self._control_plane = control_plane
        self._consumer = consumer
        self._who_may_call = who_may_call
        self._report = report
        self._pace = pace

    def play(self) -> None:
        self._first_answer()
        self._weights_as_written()
        self._weights_changed()
        self._header_match()
        self._control_plane_dies()
        self._control_plane_returns()
        self._who_may_call.play_the_intruder()
        self._who_may_call.play_the_tokens()
        answers = list(self._consumer.answers)  # calls go on: the rows are to judge the same ones
        failed = [answer.error for answer in answers if answer.error]
        seen = f"{len(failed)} of {len(answers)} failed"
        self._report.say()
        self._report.row("8 from start to end", "no call failed", seen, ok=not failed)
        for error, count in Counter(failed).most_common(3):
            self._report.say(f"   {count} x {error}")
        self._expect_identity("9 who called", answers)
        self._plaintext_is_refused()

    def _first_answer(self) -> None:
        began = time.monotonic()
        while not self._consumer.answers:
            time.sleep(0.01)  # not for ever: a call that finds nobody ends too
        self._report.say(f"first answer after {time.monotonic() - began:.1f} s")

    def _weights_as_written(self) -> None:
        self._title("1  The VirtualService says: 80 % to v1, 20 % to v2")
        answers = self._watch(self._pace)
        self._expect_split("1 weights as in the YAML", answers, v2=20)
        servers = Counter(answer.server for answer in answers)
        seen = ", ".join(f"{name} {servers[name]}" for name in ("v1a", "v1b", "v2"))
        everybody = all(servers[name] for name in ("v1a", "v1b", "v2"))
        self._report.row("  both localities", "v1a, v1b and v2 answer", seen, everybody)

    def _weights_changed(self) -> None:
        self._title("2  The weights change to 30/70, calls go on")
        self._apply("weights.yaml")
        self._watch(SETTLE)
        self._expect_split("2 weights changed", self._watch(self._pace), v2=70)

    def _header_match(self) -> None:
        self._title("3  Calls with the metadata x-user: tester (one in four) go to v2, all others to v1")
        self._apply("testers.yaml")
        self._watch(SETTLE)
        self._expect_testers("3 header match", self._watch(self._pace))

    def _control_plane_dies(self) -> None:
        self._title(f"4  The control plane is killed (SIGKILL) and stays away for {OUTAGE:g} s")
        self._control_plane.kill()
        self._expect_testers("4 control plane killed", self._watch(OUTAGE))

    def _control_plane_returns(self) -> None:
        self._title("5  It comes back with another change: everything to v2. The consumer is not restarted")
        self._apply("all-v2.yaml")
        self._control_plane.start()
        began = time.monotonic()
        while not (moved := self._all_v2(self._watch(1.0))) and time.monotonic() - began < REACH_LIMIT:
            pass
        seconds = time.monotonic() - began
        seen = f"after {seconds:.0f} s" if moved else f"not within {seconds:.0f} s"
        expected = f"all on v2 within {REACH_LIMIT:g} s"
        self._report.row("5 control plane back", expected, seen, moved)

    def _plaintext_is_refused(self) -> None:
        """A program that knows the address of a provider, and not the mesh."""
        with grpc.insecure_channel(self._mesh.address(1)) as channel:
            try:
                seen = GreeterStub(channel).SayHello(HelloRequest(), timeout=REFUSED_WITHIN).message
            except grpc.RpcError as error:
                seen = error.code().name
        refused = seen in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        self._report.row("10 plaintext, past the mesh", "refused (STRICT)", seen, refused)

    # What the steps are made of

    def _title(self, text: str) -> None:
        self._report.say(f"\n{text}")

    def _apply(self, change: str) -> None:
        self._report.say(f"   {(CHANGES / change).relative_to(ROOT)} replaces routing.yaml")
        self._mesh.apply(change)

    def _watch(self, seconds: float) -> Sequence[Answer]:
        """Let calls go on, printing every second; the answers of that time."""
        first = len(self._consumer.answers)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            shown = len(self._consumer.answers)
            time.sleep(min(1.0, left))
            self._report.second(self._consumer.answers[shown:])
        return self._consumer.answers[first:]

    def _expect_split(self, step: str, answers: Sequence[Answer], v2: int) -> None:
        count = len(answers) or 1
        tolerance = 400 * sqrt(v2 / 100 * (1 - v2 / 100) / count)  # four standard deviations, in points
        answered = Counter(answer.version for answer in answers)
        v1_share, share = 100 * answered["v1"] / count, 100 * answered["v2"] / count
        expected = f"v1 {100 - v2} %, v2 {v2} % (+-{tolerance:.0f})"
        seen = f"v1 {v1_share:.1f} %, v2 {share:.1f} % of {len(answers)} calls"
        self._report.row(step, expected, seen, ok=bool(answers) and not answered[""] and abs(share - v2) <= tolerance)

    def _expect_testers(self, step: str, answers: Sequence[Answer]) -> None:
        testers = [answer.version for answer in answers if answer.tester]
        others = [answer.version for answer in answers if not answer.tester]
        seen = f"{testers.count('v2')} of {len(testers)} on v2, {others.count('v1')} of {len(others)} on v1"
        ok = bool(testers and others) and set(testers) == {"v2"} and set(others) == {"v1"}
        self._report.row(step, "testers on v2, others on v1", seen, ok)

    def _expect_identity(self, step: str, answers: Sequence[Answer]) -> None:
        callers = Counter(answer.caller for answer in answers if not answer.error)
        seen = ", ".join(f"{caller} on {count} calls" for caller, count in callers.items()) or "nobody"
        self._report.row(step, IDENTITY, seen, set(callers) == {IDENTITY})

    def _all_v2(self, answers: Sequence[Answer]) -> bool:
        return bool(answers) and {answer.version for answer in answers} == {"v2"}
