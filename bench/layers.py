"""Where the time of a unary call goes: what each layer has more than the one below. `bench.rungs` measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

METHOD = """\
How this is measured. The same calls (100 bytes, both ends ours, a core each) are made through ever fewer layers, by
turns, and the kernel says how much user and system time each process took; nothing is traced or slowed down:
    ours            stubs and messages, the servicer in a ThreadPoolExecutor(16) (asyncio: in a task)
    bytes           without protobuf, stubs and servicer: a handler that echoes bytes
    bytes-inline    blocking only: no pool, the handler runs on the thread that reads
    engine          the engine's methods alone: none of rpc's Python, no tasks, no futures
    raw             as many bytes over a socket, blocking or by epoll, without a protocol (bench/peers)
A line of the account is what a layer's user time is above that of the layer below. System time is that of the whole;
the part of it that a raw socket has too is shown. HTTP/2 and gRPC: native/core/examples/calls.rs, both ends in memory,
half for each. A crossing is a call of an engine's method that gives the GIL away and takes it back, timed by itself,
as often as Python code makes one (counted in another run). The rest of the engine's user time is the driver's: the
sockets, the locks, whose turn it is. Waiting is what is left of a lone caller's p50: cores that wake, the scheduler.
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
    """µs of a call at each end, or what has no end: ``together``."""

    key: str
    title: str
    client: float | None
    server: float | None
    together: float


_TITLES = {
    "kernel": "in the kernel",
    "kernel_raw_socket": "   a raw socket's share of it",
    "rust_http2_grpc": "in Rust: HTTP/2 and gRPC",
    "rust_driver": "in Rust: the driver",
    "crossing": "at the crossing",
    "python_rpc": "in Python: rpc",
    "python_pool": "in Python: the pool",
    "protobuf": "protobuf, stub, servicer",
    "cpu": "CPU in all",
    "waiting": "waiting",
    "p50": "p50",
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
    client = _one_end(
        shape, {name: rung.client for name, rung in rungs.items()}, crossings["ours"][0], crossings["engine"][0], once
    )
    server = _one_end(
        shape, {name: rung.server for name, rung in rungs.items()}, crossings["ours"][1], crossings["engine"][1], once
    )
    lines = [Line(key, _TITLES[key], client[key], server[key], client[key] + server[key]) for key in client]
    p50 = rungs["ours"].p50
    if p50 is not None:
        lines += [
            Line("waiting", _TITLES["waiting"], None, None, p50 - lines[-1].together),
            Line("p50", _TITLES["p50"], None, None, p50),
        ]
    return tuple(lines)


def _one_end(
    shape: Shape, at: Mapping[str, Cost], crossed: float, crossed_below: float, once: Once
) -> dict[str, float]:
    core = once.core[shape.concurrency] / 2
    crossing, crossing_below = crossed * once.crossing, crossed_below * once.crossing
    inline = at.get("bytes-inline", at["bytes"]).user
    above_engine = inline - at["engine"].user
    pool = {"python_pool": at["bytes"].user - inline} if "bytes-inline" in at else {}
    return {
        "kernel": at["ours"].system,
        "kernel_raw_socket": at["raw"].system,
        "rust_http2_grpc": core,
        "rust_driver": at["engine"].user - core - crossing_below,
        "crossing": crossing,
        "python_rpc": above_engine - (crossing - crossing_below),
        **pool,
        "protobuf": at["ours"].user - at["bytes"].user,
        "cpu": at["ours"].user + at["ours"].system,
    }


def text(accounts: Iterable[Account]) -> str:
    return "\n\n".join(map(_text, accounts))


def _text(account: Account) -> str:
    lines = [("µs of a call", "client", "server", "together")]
    lines += [
        (line.title, _number(line.client), _number(line.server), _number(line.together)) for line in account.lines
    ]
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


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def as_json(accounts: Iterable[Account]) -> list[dict[str, Any]]:
    """A line each: ``name`` is that of the shape and the line's."""
    return [
        {
            "name": f"{account.shape.name}_{line.key}",
            "client": None if line.client is None else round(line.client, 3),
            "server": None if line.server is None else round(line.server, 3),
            "together": round(line.together, 3),
            "unit": "µs",
        }
        for account in accounts
        for line in account.lines
    ]
