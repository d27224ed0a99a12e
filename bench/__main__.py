"""The command line of the measurements."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import layers, rungs
from bench.machine import Machine
from bench.peers import PEERS, RAW, BuildError, build
from bench.processes import Cores, WorkerError
from bench.report import as_json, peers_table, table
from bench.rounds import Plan, Result, measure
from bench.rows import POLICY_ROWS, QUICK, ROWS, TLS_QUICK, TLS_ROWS
from bench.stacks import make_material

_DEFAULT_ROUNDS = 7
_QUICK_SECONDS = 38.0

_ROW_NAMES = "\n".join(("  * " if row in (*QUICK, *TLS_QUICK) else "    ") + row.name for row in (*ROWS, *TLS_ROWS))
_EXAMPLES = f"""
examples:
  python -m bench rpc                                     everything: about five minutes
  python -m bench rpc --quick --json                      the main rows in less than 45 s, a JSON list last
  python -m bench rpc --tls                               over mutual TLS, and what it leaves of plaintext
  python -m bench rpc --peers                             tonic, grpc-go and a raw socket beside ours and grpcio
  python -m bench rpc --profile                           where the time of our calls goes: about three minutes
  python -m bench rpc --rows unary_p50_sync,cpu_per_call --rounds 15

rows (* also with --quick):
{_ROW_NAMES}

Every row runs ours and grpcio by turns, both ends the same stack unless its name says otherwise, client and server in
processes of their own, each on its core. Shown are medians of the rounds; the ratio is the median of each round's.
Ratios above 1: ours is better. Sync servers run handlers in a ThreadPoolExecutor(16), both stacks; aio rows run on
uvloop at both ends, stock_loop rows on asyncio's own. Messages are protobuf with a payload of 100 bytes. Rows that end
in _tls have mutual TLS at both ends; those that end in _tls_of_plaintext are ours over TLS beside ours in plaintext.

--peers adds, in the same rounds and on the same cores, other implementations as they come (sources in bench/peers,
built into .build/peers; that needs Go and Rust): as many goroutines or tasks as the row has callers, stubs of the same
hello.proto. The raw socket is what is left without a protocol: as many bytes as our calls have on the wire, by blocking
calls (sync rows) or epoll (aio rows). Their JSON entries are called ROW_vs_tonic, ROW_vs_grpc-go, ROW_vs_raw; one that
could not be built has "ratio": null and says why in "absent".

--profile measures ours alone: how many microseconds of a call are in the kernel, in Rust, at the crossing, in Python,
at the client and at the server, for blocking and asyncio calls. It prints how that is measured; docs/performance.md
says what it means. Its JSON entries are name, client, server, p50, unit.
"""


_POLICY = """
Ours on a port whose filter chain has a policy, beside ours on a port that has none (the column of the rival, which is
called grpcio), for callers who send the same: client and server in processes of their own. The ratio is what the policy
leaves: 1 would be all of it. rules-N: an AuthorizationPolicy of so many rules, the last of which lets the call in.
tokens: RequestAuthentication, one rule, each call with a token that was met before.
"""


def main() -> int:
    asked = _arguments()
    plan = Plan(asked.rounds or _DEFAULT_ROUNDS, seconds=1.0, warm_up=1.0)
    if asked.quick:
        share = _QUICK_SECONDS / len(asked.rows) * (1 + len(PEERS) / 2 if asked.peers else 1)
        plan = Plan(asked.rounds or 5, seconds=0.3, warm_up=0.3, row_seconds=None if asked.rounds else share)
    if asked.profile:
        return _profile(plan, as_list=asked.json)
    failures: list[str] = []
    absent = _built(failures) if asked.peers else dict.fromkeys(PEERS, "not asked for")
    beside = [name for name in PEERS if name not in absent]
    cores = Cores.choose()
    machine = Machine(cores)
    _say(machine.name)
    results: list[Result] = []
    try:
        with tempfile.TemporaryDirectory(prefix="proxyless-bench-") as folder:
            make_material(Path(folder))
            for row in asked.rows:
                try:
                    results.append(measure(row, plan, cores, _say, beside))
                except WorkerError as error:
                    failures.append(f"{row.name} FAILED: {error}")
                    _say(failures[-1])
    except KeyboardInterrupt:
        failures.append("interrupted: rows that were not finished are missing")
    print(f"{machine.name}\n{machine.others()}\nratio above 1: ours is better\n")
    print(table(results), flush=True)
    if asked.peers:
        print(f"\n{peers_table(results, absent)}", flush=True)
    for failure in failures:
        print(failure)
    if asked.json:
        print(json.dumps(as_json(results, absent if asked.peers else {})), flush=True)
    return 1 if failures else 0


def _profile(plan: Plan, *, as_list: bool) -> int:
    cores = Cores.choose()
    machine = Machine(cores)
    accounts: list[layers.Account] = []
    failure = RAW.missing()
    try:
        if failure is None:
            build(RAW, _say)
            apart = rungs.once(_say)
            machine = Machine(cores)
            with tempfile.TemporaryDirectory(prefix="proxyless-bench-") as folder:
                for shape in layers.SHAPES:
                    accounts += [rungs.account(shape, apart, plan, cores, Path(folder), _say)]
    except (BuildError, WorkerError) as error:
        failure = str(error)
    if accounts:
        print(f"{machine.name}\n{machine.others()}\n\n{layers.METHOD}\n\n{layers.text(accounts)}", flush=True)
    if failure:
        print(f"--profile FAILED: {failure}")
    if as_list:
        print(json.dumps(layers.as_json(accounts)), flush=True)
    return 1 if failure else 0


def _built(failures: list[str]) -> dict[str, str]:
    """Which peers are absent and why. That a tool is not on this machine is no failure of the run."""
    absent = {name: reason for name, peer in PEERS.items() if (reason := peer.missing())}
    for peer in PEERS.values():
        if peer.name not in absent:
            try:
                build(peer, _say)
            except BuildError as error:
                absent[peer.name] = str(error)
                failures.append(f"{peer.title}: {error}")
    return absent


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours beside others.")
    commands = parser.add_subparsers(required=True, metavar="rpc")
    command = commands.add_parser(
        "rpc",
        help="our RPC beside grpcio's",
        description="Our channels and servers beside grpcio's, in the same run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--json", action="store_true", help="print, last, a JSON list of name, ours, rival, unit, ratio"
    )
    command.set_defaults(policy=False)
    command.add_argument("--quick", action="store_true", help="short rounds; ends within 45 s for the rows marked *")
    command.add_argument("--tls", action="store_true", help="the rows over mutual TLS")
    command.add_argument("--peers", action="store_true", help="tonic, grpc-go and a raw socket beside them")
    command.add_argument("--profile", action="store_true", help="instead: where the time of our calls goes")
    command.add_argument("--rows", metavar="NAME,...", help="only these")
    command.add_argument("--rounds", type=int, metavar="N", help=f"default {_DEFAULT_ROUNDS}; with --quick 5")
    _policy_command(commands)
    asked = parser.parse_args()
    rows = POLICY_ROWS if asked.policy else (*ROWS, *TLS_ROWS)
    by_name = {row.name: row for row in rows}
    quick, every = (TLS_QUICK, TLS_ROWS) if asked.tls else (QUICK, ROWS)
    every = POLICY_ROWS if asked.policy else every
    names = asked.rows.split(",") if asked.rows else [row.name for row in (quick if asked.quick else every)]
    if unknown := [name for name in names if name not in by_name]:
        command.error(f"no row {', '.join(unknown)}; there are {', '.join(by_name)}")
    if asked.profile and (asked.rows or asked.peers or asked.tls):
        command.error("--profile has rows of its own: not with --rows, --peers, --tls")
    if asked.rounds is not None and asked.rounds < 1:
        command.error("--rounds is 1 or more")
    asked.rows = [by_name[name] for name in names]
    if asked.peers and not any(row.beside_peers for row in asked.rows):
        command.error("--peers has nothing for these rows: " + ", ".join(names))
    return asked


def _policy_command(commands: Any) -> None:
    command = commands.add_parser(
        "policy",
        help="what policies of the mesh cost a call",
        description="Ports with policies beside ports without.",
        epilog=_POLICY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print, last, a JSON list as `rpc` does")
    command.add_argument("--rounds", type=int, metavar="N", help=f"default {_DEFAULT_ROUNDS}")
    command.add_argument("--rows", metavar="NAME,...", help="only these: " + ", ".join(row.name for row in POLICY_ROWS))
    command.set_defaults(policy=True, quick=False, tls=False, peers=False, profile=False)


if __name__ == "__main__":
    sys.exit(main())
