"""What is measured: one `Row` a line of the table. A new row is an entry here, with a new load perhaps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measured import Sample

_MIB = 1 << 20
_PIECE = 64 << 10


def p50(sample: Sample) -> float:
    assert sample.done.p50 is not None
    return sample.done.p50 * 1e6


def rate(sample: Sample) -> float:
    return sample.done.calls / sample.done.seconds


def _cpu(sample: Sample) -> float:
    return sample.cpu_seconds / sample.done.calls * 1e6


def _megabytes_of_1mib_echoes(sample: Sample) -> float:
    return 2 * _MIB * rate(sample) / 1e6


def _megabytes_of_pieces(sample: Sample) -> float:
    return _PIECE * rate(sample) / 1e6


def _kib_per_connection(sample: Sample) -> float:
    return sample.grown_bytes / sample.done.calls / 1024


@dataclass(frozen=True)
class Row:
    """``ours`` names the stacks of our run's client and server; the rival's are both grpcio. ``one_way_ms``: how far
    they are apart.
    """

    name: str
    unit: str
    value: Callable[[Sample], float]
    mode: str = "sync"
    loop: str = "uvloop"
    load: str = "unary"
    concurrency: int = 1
    payload: int = 100
    one_way_ms: float = 0.0
    more_is_better: bool = False
    ours: tuple[str, str] = field(default=("ours", "ours"))
    rival: tuple[str, str] = field(default=("grpcio", "grpcio"))

    @property
    def client_arguments(self) -> list[str]:
        return ["--load", self.load, "--concurrency", str(self.concurrency), "--payload", str(self.payload)]

    @property
    def beside_peers(self) -> bool:
        """Whether others beside grpcio have its shape: tonic, grpc-go, a raw socket."""
        whole = (self.ours, self.rival) == (("ours", "ours"), ("grpcio", "grpcio"))
        near = not self.one_way_ms
        return whole and near and self.loop == "uvloop" and self.load in ("unary", "stream")

    def ratio(self, ours: float, rival: float) -> float:
        """Above 1: ours is better."""
        return ours / rival if self.more_is_better else rival / ours


def _calls_per_s(name: str, mode: str, concurrency: int, loop: str = "uvloop") -> Row:
    return Row(name, "calls/s", rate, mode, loop, concurrency=concurrency, more_is_better=True)


QUICK = (
    Row("unary_p50_sync", "µs", p50),
    Row("unary_p50_aio", "µs", p50, "aio"),
    _calls_per_s("calls_per_s_sync_16", "sync", 16),
    _calls_per_s("calls_per_s_aio_64", "aio", 64),
    Row("unary_p50_aio_stock_loop", "µs", p50, "aio", "stock"),
    _calls_per_s("calls_per_s_aio_64_stock_loop", "aio", 64, "stock"),
)

_BUSY_POLL = Row("unary_p50_sync_busy_poll", "µs", p50, ours=("ours-busy", "ours-busy"))

ROWS = (
    *QUICK,
    Row("server_stream_msgs_per_s", "msgs/s", rate, load="stream", more_is_better=True),
    Row("server_stream_msgs_per_s_aio", "msgs/s", rate, "aio", load="stream", more_is_better=True),
    Row("unary_1mib_mb_per_s", "MB/s", _megabytes_of_1mib_echoes, payload=_MIB, more_is_better=True),
    Row(
        "stream_mb_per_s_at_50ms",
        "MB/s",
        _megabytes_of_pieces,
        load="stream",
        payload=_PIECE,
        one_way_ms=25.0,
        more_is_better=True,
    ),
    Row("client_only_p50_sync", "µs", p50, ours=("ours", "grpcio")),
    Row(
        "server_only_calls_per_s_sync_16",
        "calls/s",
        rate,
        concurrency=16,
        more_is_better=True,
        ours=("grpcio", "ours"),
    ),
    _BUSY_POLL,
    Row("cpu_per_call", "µs CPU", _cpu, concurrency=16),
    Row("rss_per_idle_connection", "KiB", _kib_per_connection, load="connect"),
)


def _over_tls(row: Row) -> Row:
    """The same with mutual TLS at both ends, ours and the rival's alike."""
    ours, rival = (tuple(f"{stack}-tls" for stack in stacks) for stacks in (row.ours, row.rival))
    return replace(row, name=f"{row.name}_tls", ours=(ours[0], ours[1]), rival=(rival[0], rival[1]))


def _kept(row: Row) -> Row:
    """What mutual TLS leaves of our own plaintext: 1 would be all of it."""
    return replace(row, name=f"{row.name}_tls_of_plaintext", ours=("ours-tls", "ours-tls"), rival=("ours", "ours"))


_BY_NAME = {row.name: row for row in ROWS}
_KEPT = ("calls_per_s_sync_16", "calls_per_s_aio_64", "calls_per_s_aio_64_stock_loop")

TLS_QUICK = (*(_kept(_BY_NAME[name]) for name in _KEPT), *map(_over_tls, QUICK))
TLS_ROWS = (*TLS_QUICK, *(_over_tls(row) for row in ROWS if row not in (*QUICK, _BUSY_POLL)))


def _with(policy: str, *rows: Row) -> tuple[Row, ...]:
    """What is left of the same row on a port that has no policy, for the same callers; 1 would be all of it."""
    return tuple(
        replace(row, name=f"{policy}_{row.name}", ours=(policy, policy), rival=("open", "open")) for row in rows
    )


_CALLS = tuple(_BY_NAME[name] for name in ("calls_per_s_sync_16", "calls_per_s_aio_64", "unary_p50_sync"))
POLICY_ROWS = tuple(row for policy in ("rules-1", "rules-20", "rules-1000", "tokens") for row in _with(policy, *_CALLS))
