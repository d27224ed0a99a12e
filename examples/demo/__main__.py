"""`python -m examples.demo`: sets the stage, plays the steps, ends everything."""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from examples.demo.consumer import CALLS_PER_SECOND, NAME, TARGET, Consumer
from examples.demo.mesh_folder import CHANGES, YAML, MeshFolder
from examples.demo.pod import pod_environment
from examples.demo.processes import ROOT, Process, StartError
from examples.demo.report import PROVIDERS, Report
from examples.demo.steps import Steps
from examples.demo.who_may_call import INTRUDER, WhoMayCall

INTRODUCTION = f"""\
Three providers of the service reviews (two of version v1, one of v2, in two localities), one consumer, and localmesh
as the control plane. Each gets a certificate from it, and they speak mutual TLS with one another. The consumer calls
{TARGET} {CALLS_PER_SECOND} times a second with the stub that protoc generated; Istio YAML decides who answers,
and in the end who may call. It takes half a minute, and some seconds before that to start everything.

   {YAML.relative_to(ROOT)}/      the YAML that is served first
   {CHANGES.relative_to(ROOT)}/   the edits that follow
   examples/demo/steps.py   what happens, in order; who may call is in who_may_call.py beside it

Each line is one second: who answered how often, and how the calls split between v1 (.) and v2 (#).
"""


TOLD = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class ToldToEnd(BaseException):
    """A signal of `TOLD` came. Like KeyboardInterrupt it is no `Exception`: nothing takes it for a failed call."""

    def __init__(self, number: int) -> None:
        super().__init__(TOLD[signal.Signals(number)])
        self.number = number


def free_ports(count: int) -> list[int]:
    """For the control plane, which has to come back to them: below the ephemeral ports, which others get by chance."""
    found = []
    for port in random.sample(range(15_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise StartError("no free ports on 127.0.0.1 between 15000 and 30000")


def run(folder: Path, report: Report, pace: float, stage: ExitStack) -> None:
    """Start everything on the stage, and play."""
    mesh = MeshFolder(folder / "mesh")
    ca = folder / "ca"
    address, secure = (f"127.0.0.1:{port}" for port in free_ports(2))
    listen = ("--listen", address, "--secure-listen", secure, "--ca", str(ca))
    control_plane = Process(
        "localmesh", "localmesh", str(mesh.path), *listen, log=folder / "localmesh.log", ready="serving"
    )
    stage.enter_context(control_plane)
    report.say(f"localmesh serves {mesh.path} on {secure}")
    providers: list[Process] = []
    for number, name in enumerate(PROVIDERS, start=1):
        where = mesh.address(number)
        account = f"reviews-{name[:2]}"
        environment = pod_environment(folder / name, ca, secure, account, where.partition(":")[0])
        provider = Process(
            name, "examples.demo.provider", name, where, log=folder / f"{name}.log", environment=environment
        )
        providers.append(stage.enter_context(provider))
        report.say(provider.said.removeprefix("ready: "))
    os.environ |= pod_environment(folder / NAME, ca, secure, NAME, "127.0.0.1")
    consumer = stage.enter_context(Consumer())
    intruder = pod_environment(folder / INTRUDER, ca, secure, INTRUDER, "127.0.0.1")
    who_may_call = stage.enter_context(WhoMayCall(mesh, providers, report, TARGET, intruder))
    Steps(mesh, control_plane, consumer, who_may_call, report, pace).play()


def main() -> int:
    """Returns the exit status: 0 when all that was expected was seen."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="The demo; it ends by itself.")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="how long each step is watched (default: %(default)s)"
    )
    options = parser.parse_args()
    for number in TOLD:
        signal.signal(number, _end)
    report = Report()
    report.say(INTRODUCTION)
    try:
        with tempfile.TemporaryDirectory(prefix="proxyless-demo-") as folder, ExitStack() as stage:
            try:
                run(Path(folder), report, options.seconds, stage)
            finally:  # a second signal does not stop the tidying
                for number in TOLD:
                    signal.signal(number, signal.SIG_IGN)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except ToldToEnd as told:
        sys.stderr.write(f"\n{told}; everything that the demo had started has ended\n")
        return 128 + told.number
    report.say("\nWhat was expected, and what was seen:\n")
    report.table()
    return 0 if report.ok else 1


def _end(number: int, _: object) -> NoReturn:
    raise ToldToEnd(number)


if __name__ == "__main__":
    sys.exit(main())
