"""Where the time of a unary call goes: what each layer has more than the one below. `bench.rungs` measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

METHOD = """\
How this is measured. The same calls (100 bytes, both ends ours, a core each) are made through ever fewer layers, by
turns, and the kernel says how much user and system time each process took; nothing is traced or slowed down. The best
round of each counts, for others on the machine only add:
    ours            stubs and messages, the servicer in a ThreadPoolExecutor(16) (asyncio: in a task)
    bytes           without protobuf, stubs and servicer: a handler that echoes bytes
    bytes-inline    blocking only: no pool, the handler runs on the thread that reads
    engine          the engine's methods alone: none of rpc's Python, no tasks, no futures
    raw             as many bytes over a socket, blocking or by epoll, without a protocol (bench/peers)
CPU: a line is what a layer's user time is above that of the layer below; the kernel's is the system time of the whole,
and the part of it that a raw socket has too. HTTP/2 and gRPC: native/core/examples/calls.rs, both ends in memory, half
for each. A crossing is a call of an engine's method that gives the GIL away and takes it back, timed by itself, as
often as Python code makes one (counted in another run). The rest of the engine's user time is the driver's: sockets,
locks, whose turn it is. An end works on while the other has its turn already, so both together can be above the p50.
p50, of a lone caller: what each layer adds to that of the layer below, the system calls and the waking of cores that it
is the cause of included; at the bottom is the raw socket's.
Where many callers wait the layers batch differently, and a line can be below zero: less Python can be smaller batches.
perf's samples, where perf may be used, are a second opinion: whose code ran, by library, while everything ran."""


class Cost(NamedTuple):
    """CPU of one call at one end, in µs."""

    user: float
    system: float


class Shape(NamedTuple):
    """Calls as somebody makes them."""

    name: str
    title: str
    mode: str
    concurrency: int

    @property
    def rungs(self) -> tuple[str, ...]:
        """From below."""
        return ("raw", "engine", *(["bytes-inline"] if self.mode == "sync" else []), "bytes", "ours")


SHAPES = (
    Shape("unary_sync", "blocking, one caller", "sync", 1),
    Shape("unary_aio", "asyncio on uvloop, one caller", "aio", 1),
    Shape("calls_sync_16", "blocking, 16 threads", "sync", 16),
    Shape("calls_aio_64", "asyncio on uvloop, 64 tasks", "aio", 64),
)


@dataclass(frozen=True)
class Rung:
    """What calls through one set of layers cost. ``p50``, in µs, is of a lone caller; ``rate`` is calls a second."""

    client: Cost
    server: Cost
    rate: float
    p50: float | None = None


class Once(NamedTuple):
    """What is measured apart, in µs: ``core`` for both ends by number of callers, ``crossing`` each."""

    core: Mapping[int, float]
    crossing: float


class Line(NamedTuple):
    """µs of CPU of a call at each end, and of a lone caller's p50."""

    key: str
    client: float
    server: float
    p50: float | None

    @property
    def together(self) -> float:
        return self.client + self.server


_TITLES = {
    "kernel": "in the kernel",
    "kernel_raw_socket": "   a raw socket's share of it",
    "rust_http2_grpc": "in Rust: HTTP/2 and gRPC",
    "rust_driver": "in Rust: the driver",
    "crossing": "at the crossing",
    "python_rpc": "in Python: rpc",
    "python_pool": "in Python: the pool",
    "protobuf": "protobuf, stub, servicer",
    "all": "in all",
}


@dataclass(frozen=True)
class Account:
    """All of one shape. ``crossings`` are a call's, at client and server; ``samples`` perf's, or why there are none."""

    shape: Shape
    rungs: Mapping[str, Rung]
    crossings: tuple[float, float]
    lines: tuple[Line, ...]
    samples: Mapping[str, Mapping[str, float]] | str = "not taken"


def derive(
    shape: Shape, rungs: Mapping[str, Rung], crossings: Mapping[str, tuple[float, float]], once: Once
) -> tuple[Line, ...]:
    """``crossings`` a call, client's and server's, of the rungs "engine" and "ours"."""
    core = once.core[shape.concurrency]
    crossed, crossed_below = ([each * once.crossing for each in crossings[rung]] for rung in ("ours", "engine"))
    ends = [
        _cpu({name: rung.client for name, rung in rungs.items()}, core / 2, crossed[0], crossed_below[0]),
        _cpu({name: rung.server for name, rung in rungs.items()}, core / 2, crossed[1], crossed_below[1]),
    ]
    p50s = {name: rung.p50 for name, rung in rungs.items() if rung.p50 is not None}
    latency = _latency(p50s, core, sum(crossed), sum(crossed_below)) if p50s else {}
    return tuple(Line(key, *(end[key] for end in ends), latency.get(key)) for key in _TITLES if key in ends[0])


def _cpu(at: Mapping[str, Cost], core: float, crossing: float, crossing_below: float) -> dict[str, float]:
    """Of one end."""
    user = {name: cost.user for name, cost in at.items()}
    return {
        "kernel": at["ours"].system,
        "kernel_raw_socket": at["raw"].system,
        **_steps(user, user["engine"], core, crossing, crossing_below),
        "all": sum(at["ours"]),
    }


def _latency(p50s: Mapping[str, float], core: float, crossing: float, crossing_below: float) -> dict[str, float]:
    """What a layer costs in system calls and in cores that it wakes is its own here."""
    return {
        "kernel": p50s["raw"],
        **_steps(p50s, p50s["engine"] - p50s["raw"], core, crossing, crossing_below),
        "all": p50s["ours"],
    }


def _steps(
    at: Mapping[str, float], engine: float, core: float, crossing: float, crossing_below: float
) -> dict[str, float]:
    inline = at.get("bytes-inline", at["bytes"])
    steps = {
        "rust_http2_grpc": core,
        "rust_driver": engine - core - crossing_below,
        "crossing": crossing,
        "python_rpc": inline - at["engine"] - (crossing - crossing_below),
        "python_pool": at["bytes"] - inline,
        "protobuf": at["ours"] - at["bytes"],
    }
    if "bytes-inline" not in at:
        del steps["python_pool"]
    return steps


def text(accounts: Iterable[Account]) -> str:
    return "\n\n".join(map(_text, accounts))


def _text(account: Account) -> str:
    lines = [("µs of a call", "CPU: client", "server", "together", "of the p50")]
    for line in account.lines:
        numbers = (line.client, line.server, line.together, line.p50)
        lines.append((_TITLES[line.key], *("" if number is None else f"{number:.1f}" for number in numbers)))
    rates = ", ".join(_rung(name, rung) for name, rung in account.rungs.items())
    client, server = account.crossings
    said = [account.shape.title, aligned(lines, left={0}), f"by layers: {rates}"]
    said.append(f"calls of the engine's methods by Python: {client:.1f} at the client, {server:.1f} at the server")
    if isinstance(account.samples, str):
        said.append(f"perf's samples: none, {account.samples}")
    else:
        for end, shares in account.samples.items():
            said.append(
                f"perf's samples, {end}: " + ", ".join(f"{whose} {share:.0%}" for whose, share in shares.items())
            )
    return "\n".join(said)


def _rung(name: str, rung: Rung) -> str:
    return f"{name} {rung.rate:,.0f} calls/s" if rung.p50 is None else f"{name} p50 {rung.p50:.1f} µs"


def as_json(accounts: Iterable[Account]) -> list[dict[str, Any]]:
    """A line each: ``name`` is that of the shape and the line's."""
    return [
        {
            "name": f"{account.shape.name}_{line.key}",
            "client": round(line.client, 3),
            "server": round(line.server, 3),
            "p50": None if line.p50 is None else round(line.p50, 3),
            "unit": "µs",
        }
        for account in accounts
        for line in account.lines
    ]
