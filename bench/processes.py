"""Starting measured processes on their cores, asking them, reading what they cost, and ending them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.measured import Done, Sample, Usage
from bench.peers import PEERS

if TYPE_CHECKING:
    from bench.rows import Row

ROOT = Path(__file__).parent.parent
_START_SECONDS = 30.0
_SLACK_SECONDS = 20.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


# Of the caller's environment: proxies, which no stack is to call through, and what tunes or traces grpcio alone.
_NOT_FOR_WORKERS = re.compile(r"(?i).*_proxy|grpc_.*")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _NOT_FOR_WORKERS.fullmatch(name)}


class WorkerError(Exception):
    """A worker ended or said nothing; its standard error went to ours."""


@dataclass(frozen=True)
class Cores:
    """Where clients and servers run; None: wherever the system puts them, there is one core only."""

    client: int | None
    server: int | None

    @classmethod
    def choose(cls) -> Cores:
        """Two that this process may use, not two threads of one core if that can be had."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) == 1:
            return cls(None, None)
        first = usable[0]
        others = [core for core in usable[1:] if core not in _siblings(first)] or usable[1:]
        return cls(first, others[0])

    @property
    def used(self) -> set[str]:
        """Their numbers; all that this process may use when nothing is pinned."""
        pinned = [core for core in (self.client, self.server) if core is not None]
        return {str(core) for core in pinned or os.sched_getaffinity(0)}

    def __str__(self) -> str:
        if self.client is None:
            return "NOT PINNED: there is one core only, client and server share it"
        shared = ", two hardware threads of ONE core" if self.server in _siblings(self.client) else ""
        return f"clients on core {self.client}, servers on core {self.server}{shared}"


def _siblings(core: int) -> set[int]:
    try:
        listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return set()
    siblings = set()
    for part in listed.split(","):
        low, _, high = part.partition("-")
        siblings.update(range(int(low), int(high or low) + 1))
    return siblings


class Program:
    """One process, a module of ours. Ends when its standard input does, at the latest with `end`."""

    def __init__(self, *command: str) -> None:
        # A session of its own: Ctrl-C reaches the parent only, which then ends its workers in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._name = " ".join(command)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"{self._name}: ended") from error

    def hear(self, within: float) -> str:
        """Its next line; one answer is outstanding at a time, so nothing hides in the buffer."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within)[0]:
            raise WorkerError(f"{self._name}: no answer within {within:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._name}: ended")
        return line.strip()

    def last_word(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.hear(_SLACK_SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usage(self) -> Usage:
        """So far. Linux: a process's CPU clock can be read by its number."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        exactly = time.clock_gettime((~self.pid << 3) | 2)
        return Usage(exactly, int(fields[11]) / _TICKS_PER_SECOND, int(fields[12]) / _TICKS_PER_SECOND)

    @property
    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def end(self) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            if self._process.poll() is None:  # interrupted while it was waited for
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


class Worker(Program):
    """A client or a server."""

    def __init__(self, role: str, core: int | None, stack: str, *arguments: str) -> None:
        """``stack`` names one in Python (`bench.stacks`) or a program of `bench.peers`."""
        if peer := PEERS.get(stack):
            super().__init__("bench.pinned", "-" if core is None else str(core), str(peer.program), role, *arguments)
        else:
            pinned = () if core is None else ("--core", str(core))
            super().__init__("bench.worker", role, "--stack", stack, *arguments, *pinned)


class Pair:
    """A server and a client of one row, each on its core."""

    def __init__(self, row: Row, client: str, server: str, cores: Cores, *arguments: str) -> None:
        """``client`` and ``server`` name stacks; ``arguments`` are for both workers."""
        self._ends = contextlib.ExitStack()
        with self._ends:
            mode = ["--mode", row.mode, *([] if client in PEERS else ["--loop", row.loop]), *arguments]
            self._server = self._started(Worker("server", cores.server, server, *mode))
            self._client_arguments = [client, *mode]
            self._load = row.client_arguments
            self._one_way_ms = row.one_way_ms
            self._core = cores.client
            self._ends = self._ends.pop_all()

    def _started(self, worker: Worker) -> Worker:
        self._ends.callback(worker.end)
        return worker

    def connect(self) -> None:
        """Start the client. Apart from `__init__`, so that both servers of a row start at the same time."""
        port = self._server.hear(_START_SECONDS)
        if self._one_way_ms:
            line = Program("bench.relay", port, "--one-way-ms", str(self._one_way_ms))
            self._ends.callback(line.end)
            port = line.hear(_START_SECONDS)
        self._client = self._started(Worker("client", self._core, *self._client_arguments, "--port", port, *self._load))

    def run(self, seconds: float) -> Sample:
        both = self._client, self._server
        resident = sum(each.resident_bytes for each in both)
        client, server = (each.usage for each in both)
        self._client.tell(str(seconds))
        done = Done(**json.loads(self._client.hear(seconds + _START_SECONDS + _SLACK_SECONDS)))
        return Sample(
            done,
            self._client.usage.since(client),
            self._server.usage.since(server),
            sum(each.resident_bytes for each in both) - resident,
        )

    def last_words(self) -> tuple[str, str]:
        """What client and server say when their standard input ends; they end."""
        return self._client.last_word(), self._server.last_word()

    @property
    def pids(self) -> dict[str, int]:
        return {"client": self._client.pid, "server": self._server.pid}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()
